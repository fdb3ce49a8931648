/* What a reload changed, for the log and the audit: each key with its old and its new value, and
 * the databases and users that came, went or are others now. */
#include <stdio.h>
#include <string.h>

#include "base/audit.h"
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

/* NULL as values: a secret. */
static void audit_setting(const char *name, const char *before, const char *after)
{
    struct audit_line line;

    if (!audit_enabled())
        return;
    audit_begin(&line, "setting");
    audit_text(&line, "key", name);
    audit_text(&line, "old", before);
    audit_text(&line, "new", before != NULL ? after : "changed");
    audit_send(&line);
}

static void tell(const struct config *from, const struct config *to,
                 const struct config_option *option)
{
    char before[VALUE_MAX_SIZE], after[VALUE_MAX_SIZE];

    if (option->type == OPTION_SECRET) {
        log_info(NULL, "setting changed: %s", option->name);
        audit_setting(option->name, NULL, NULL);
        return;
    }
    value_of(&from->settings, option, before);
    value_of(&to->settings, option, after);
    log_info(NULL, "setting changed: %s: '%s' -> '%s'", option->name, before, after);
    audit_setting(option->name, before, after);
}

/* ---- databases and users ---- */

struct comparison {
    const struct config *other;
    bool is_new; /* what is walked over is the newer one */
};

static void audit_entry(const char *event, const char *name, const char *what)
{
    struct audit_line line;

    audit_begin(&line, event);
    audit_text(&line, "name", name);
    audit_text(&line, "change", what);
    audit_send(&line);
}

static bool texts_differ(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

static void compare_database(struct database_entry *entry, void *argument)
{
    const struct comparison *comparison = argument;
    const struct database_entry *other = config_peek_database(comparison->other, entry->name);

    if (entry->is_auto || entry->is_console)
        return;
    if (other == NULL || strcmp(other->name, entry->name) != 0)
        audit_entry("database", entry->name, comparison->is_new ? "added" : "removed");
    else if (comparison->is_new && entry->connection_fingerprint != other->connection_fingerprint)
        audit_entry("database", entry->name, "connection changed");
    else if (comparison->is_new && texts_differ(entry->password, other->password))
        audit_entry("database", entry->name, "password changed");
}

static void compare_user(struct user_entry *entry, void *argument)
{
    const struct comparison *comparison = argument;
    struct user_entry *other = config_find_user(comparison->other, entry->name);
    bool was_known = other != NULL && other->is_known;

    if (entry->is_known && !was_known)
        audit_entry("user", entry->name, comparison->is_new ? "added" : "removed");
    else if (entry->is_known && comparison->is_new &&
             texts_differ(entry->secret.text, other->secret.text))
        audit_entry("user", entry->name, "secret changed");
    user_release(other);
}

static void audit_entries(const struct config *from, const struct config *to)
{
    struct comparison newer = {.other = from, .is_new = true}, older = {.other = to};

    if (!audit_enabled())
        return;
    config_each_database(to, compare_database, &newer);
    config_each_database(from, compare_database, &older);
    config_each_user(to, compare_user, &newer);
    config_each_user(from, compare_user, &older);
}

void changes_log(const struct config *from, const struct config *to)
{
    for (int i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        if (!settings_equal(&from->settings, &to->settings, option))
            tell(from, to, option);
    }
    peers_log_dropped(from, to);
    audit_entries(from, to);
}
