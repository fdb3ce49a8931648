#include "config/describe.h"

#include <string.h>

#include "config/options.h"

bool describe_option(const struct config *config, int index, struct option_row *row)
{
    const struct config_option *option;

    if (index < 0 || index >= config_option_count)
        return false;
    option = &config_options[index];
    *row = (struct option_row){.key = option->name};
    row->value_is_null = !settings_text(&config->settings, option, row->value, sizeof row->value);
    if (strcmp(option->name, "conffile") == 0 && row->value_is_null) {
        (void)snprintf(row->value, sizeof row->value, "%s", config->file);
        row->value_is_null = false;
    }
    row->default_is_null = option->default_text == NULL;
    if (!row->default_is_null)
        (void)snprintf(row->default_value, sizeof row->default_value, "%s", option->default_text);
    row->changeable = option->changes != OPTION_START;
    return true;
}

/* ---- the manual ---- */

/* A hyphen is a minus (it is copied into files), a backslash is one, and no line starts with a
 * request. */
static void write_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '-')
            (void)fputs("\\-", out);
        else if (*text == '\\')
            (void)fputs("\\e", out);
        else
            (void)fputc(*text, out);
    }
}

static void write_head(FILE *out, const char *name)
{
    (void)fputs(".TP\n\\fB", out);
    write_text(out, name);
    (void)fputs("\\fR\n", out);
}

/* The help as a sentence; one that starts with the name of a key keeps it as it is. */
static void write_help(FILE *out, const char *help)
{
    size_t word = strspn(help, "abcdefghijklmnopqrstuvwxyz");

    if (word > 0 && help[word] != '_')
        (void)fputc(*help++ - 'a' + 'A', out);
    write_text(out, help);
    (void)fputs(".\n", out);
}

static void write_default(FILE *out, const struct config_option *option)
{
    if (option->default_text == NULL)
        (void)fputs("Default: not set", out);
    else if (*option->default_text == '\0')
        (void)fputs("Default: empty", out);
    else {
        (void)fputs("Default: ", out);
        write_text(out, option->default_text);
        if (*option->unit != '\0' && strcmp(option->unit, "0/1") != 0)
            (void)fprintf(out, " %s", option->unit);
    }
    if (option->changes == OPTION_START)
        (void)fputs("; read at start only", out);
    else if (option->changes == OPTION_FILE)
        (void)fputs("; not to be changed by SET", out);
    if (option->state == OPTION_NOT_YET)
        (void)fputs("; accepted, but without effect so far", out);
    else if (option->state == OPTION_NO_USE)
        (void)fputs("; accepted, and without effect", out);
    (void)fputs(".\n", out);
}

static void write_options(FILE *out, int from, int to)
{
    for (int i = from; i < to; i++) {
        const struct config_option *option = &config_options[i];

        write_head(out, option->name);
        write_help(out, option->help);
        write_default(out, option);
    }
}

static void write_keys(FILE *out, const struct entry_keys *keys)
{
    (void)fprintf(out, ".SS Keys in a line of [%s]\n", keys->section);
    for (int i = 0; i < keys->count; i++) {
        write_head(out, keys->keys[i].name);
        write_help(out, keys->keys[i].help);
        if (!keys->keys[i].is_built)
            (void)fputs("Accepted, but without effect so far.\n", out);
    }
}

void describe_manual(FILE *out)
{
    int own = (int)(config_option_find("worker_threads") - config_options);

    (void)fputs(".SS Options of [pgbouncer], as in PgBouncer\n", out);
    write_options(out, 0, own);
    (void)fputs(".SS Options of [pgbouncer] that only pgweir has\n", out);
    write_options(out, own, config_option_count);
    write_keys(out, &database_keys);
    write_keys(out, &user_keys);
    write_keys(out, &peer_keys);
    write_keys(out, &listener_keys);
    write_keys(out, &route_keys);
}
