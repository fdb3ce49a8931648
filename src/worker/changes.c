/* What a reload changed, for the log: each key with its old and its new value. */
#include <stdio.h>

#include "config/options.h"
#include "config/peers.h"
#include "worker_private.h"

#define VALUE_MAX_SIZE 256

static void value_of(const struct settings *settings, const struct config_option *option,
                     char *text)
{
    if (!settings_text(settings, option, text, VALUE_MAX_SIZE))
        snprintf(text, VALUE_MAX_SIZE, "(unset)");
}

void changes_log(const struct config *from, const struct config *to)
{
    peers_log_dropped(from, to);
    char before[VALUE_MAX_SIZE], after[VALUE_MAX_SIZE];
    for (int i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (settings_equal(&from->settings, &to->settings, option))
            continue;
        if (option->type == OPTION_SECRET) {
            log_info(NULL, "setting changed: %s", option->name);
            continue;
        }
        value_of(&from->settings, option, before);
        value_of(&to->settings, option, after);
        log_info(NULL, "setting changed: %s: '%s' -> '%s'", option->name, before, after);
    }
}
