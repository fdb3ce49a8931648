/* RELOAD and SET: what an operator changes of the configuration (COMPAT 1.5, 5.4). Both are built
 * on a helper thread and published to every worker by worker/control.
 *
 * SET may change what is neither a secret nor names a file or a program (THREATS §1): an admin of
 * the console is no operator of the machine.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/options.h"
#include "show.h"

static struct console_session *session_of(struct reload_request *request)
{
    return (struct console_session *)((char *)request - offsetof(struct console_session, reload));
}

/* -- RELOAD
 * ------------------------------------------------------------------------------------------------------------------
 */

static void reload_done(struct reload_request *request, bool ok, const char *first_problem)
{
    struct console_session *session = session_of(request);
    struct error error;
    if (!console_end_wait(session))
        return;
    if (ok) {
        console_tag(session, "RELOAD");
    } else {
        log_error(NULL, "RELOAD Failed, see logs for more details");
        error_set(&error, SQLSTATE_CONFIG_FILE_ERROR,
                  "RELOAD failed, see logs for additional details");
        if (first_problem[0])
            error_hint(&error, "%s", first_problem);
        console_refuse(session, &error);
    }
    console_go_on(session);
}

void console_reload(struct console_session *session, const struct command *command,
                    const char *query)
{
    (void)command;
    (void)query;
    log_info(NULL, "RELOAD command issued");
    console_begin_wait(session);
    session->reload =
        (struct reload_request){.done = reload_done, .loop = session->client->set->loop};
    control_reload(session->workers, &session->reload);
}

/* -- SET
 * ------------------------------------------------------------------------------------------------------------------
 */

static void refuse_set(struct console_session *session, const char *why)
{
    struct error error;
    error_set(&error, SQLSTATE_PROTOCOL_VIOLATION, "SET failed");
    error_hint(&error, "%s", why);
    console_refuse(session, &error);
}

static void say_set(struct console_session *session, const char *notice)
{
    char tag[8 + SET_KEY_MAX + SET_VALUE_MAX];
    snprintf(tag, sizeof(tag), "SET %s=%s", session->reload.key, session->reload.value);
    console_notice_tag(session, notice, tag);
}

/* The value itself was found right before: what failed is what is built from it. */
static void set_done(struct reload_request *request, bool ok, const char *first_problem)
{
    struct console_session *session = session_of(request);
    if (!console_end_wait(session))
        return;
    if (ok)
        say_set(session, NULL);
    else if (strstr(request->key, "_tls"))
        say_set(session, "TLS settings could not be applied, still using old configuration");
    else
        refuse_set(session, first_problem);
    console_go_on(session);
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* What an admin may not set, whenever it would take effect (THREATS §1). */
static bool is_for_the_operator(const struct config_option *option)
{
    return option->changes == OPTION_FILE || option->type == OPTION_SECRET ||
           ends_with(option->name, "_file") || ends_with(option->name, "_command") ||
           starts_with(option->name, "http_") || starts_with(option->name, "proxy_");
}

/* False: refused. The helper would find the same, but could not tell it from a certificate that it
 * cannot read. */
static bool check_value(struct console_session *session, const struct config_option *option,
                        const char *value)
{
    struct settings scratch;
    struct error error;
    if (!settings_init(&scratch)) {
        console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return false;
    }
    bool ok = settings_set(&scratch, option, value, &error);
    settings_finish(&scratch);
    if (!ok)
        refuse_set(session, error.message);
    return ok;
}

void console_set(struct console_session *session, const struct command *command, const char *query)
{
    char text[SET_KEY_MAX + 128];
    const struct config_option *option = config_option_find(command->argument);
    (void)query;
    if (!option) {
        log_error(NULL, "unknown parameter: pgbouncer/%s", command->argument);
        snprintf(text, sizeof(text), "unknown parameter: pgbouncer/%s", command->argument);
        refuse_set(session, text);
        return;
    }
    if (is_for_the_operator(option)) {
        snprintf(text, sizeof(text),
                 "%s is a secret, or names a file, a program or an address: "
                 "set it in the configuration file",
                 option->name);
        refuse_set(session, text);
        return;
    }
    if (!check_value(session, option, command->value))
        return;
    session->reload = (struct reload_request){.done = set_done, .loop = session->client->set->loop};
    memcpy(session->reload.key, command->argument, sizeof(command->argument));
    memcpy(session->reload.value, command->value, sizeof(command->value));
    log_info(NULL, "SET %s=%s command issued", command->argument, command->value);
    if (option->changes == OPTION_START) {
        snprintf(text, sizeof(text), "%s is read at start only: the old value stays", option->name);
        log_warning(NULL, "%s", text);
        say_set(session, text);
        return;
    }
    console_begin_wait(session);
    control_reload(session->workers, &session->reload);
}

/* The settings that drivers set at login: nothing happens, and everybody may. */
bool console_is_faked_setting(const char *name)
{
    static const char *const names[] = {"client_encoding", "default_transaction_isolation",
                                        "standard_conforming_strings", "datestyle", "timezone"};
    for (size_t i = 0; i < COLUMN_COUNT(names); i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}
