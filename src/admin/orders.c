/* PAUSE, RESUME, DISABLE, ENABLE, RECONNECT, WAIT_CLOSE, KILL: what an operator orders of databases
 * (COMPAT 5.4). What is ordered stands in the registry, which any worker may ask; waiting is
 * worker/control's. */
#include <stdio.h>
#include <string.h>

#include "show.h"

struct order {
    const char *word;
    const char *verb; /* in "cannot VERB admin db" */
    bool needs_database;
    void (*run)(struct console_session *session, const char *database);
};

static struct registry *registry_of(const struct console_session *session)
{
    return session->workers->shared.registry;
}

static void refuse(struct console_session *session, const char *text)
{
    console_error(session, SQLSTATE_PROTOCOL_VIOLATION, text);
}

static void wait_for_servers(struct console_session *session, const char *database, bool outdated,
                             const char *tag)
{
    session->wait = (struct control_wait){.outdated = outdated};
    snprintf(session->wait.database, sizeof(session->wait.database), "%s",
             database ? database : "");
    control_sweep(session->workers);
    console_wait(session, tag);
}

static bool is_suspended(const struct console_session *session)
{
    return atomic_load(&session->workers->shared.is_suspended);
}

void console_suspend(struct console_session *session, const struct command *command,
                     const char *query)
{
    (void)command;
    (void)query;
    log_info(NULL, "SUSPEND command issued");
    if (is_suspended(session) || registry_is_paused(registry_of(session), NULL)) {
        refuse(session, "already suspended/paused");
        return;
    }
    if (registry_has_paused(registry_of(session))) {
        refuse(session, "cannot suspend with paused databases");
        return;
    }
    console_prepare_wait(session, "SUSPEND");
    switch (control_suspend(session->workers, &session->wait)) {
    case SUSPEND_BEGUN:
        console_begin_wait(session);
        break;
    case SUSPEND_ALREADY:
        refuse(session, "already suspended/paused");
        break;
    case SUSPEND_NO_MEMORY:
        console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        break;
    }
}

static void pause_pools(struct console_session *session, const char *database)
{
    enum registry_verdict verdict = REGISTRY_ALREADY;
    if (!is_suspended(session) && (!database || !registry_is_paused(registry_of(session), NULL)))
        verdict = registry_pause(registry_of(session), database, true);
    switch (verdict) {
    case REGISTRY_DONE:
        wait_for_servers(session, database, false, "PAUSE");
        break;
    case REGISTRY_ALREADY:
        refuse(session, "already suspended/paused");
        break;
    case REGISTRY_NO_MEMORY:
        console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        break;
    }
}

static void resume_pools(struct console_session *session, const char *database)
{
    char text[128];
    if (atomic_load(&session->workers->shared.shutdown) != SHUTDOWN_NO) {
        refuse(session, "pooler is shutting down");
    } else if (!database && control_end_suspend(session->workers)) {
        console_tag(session, "RESUME");
    } else if (registry_pause(registry_of(session), database, false) == REGISTRY_DONE) {
        console_tag(session, "RESUME");
    } else if (database) {
        snprintf(text, sizeof(text), "database %s is not paused", database);
        refuse(session, text);
    } else {
        refuse(session, "pooler is not paused/suspended");
    }
}

static void set_disabled(struct console_session *session, const char *database, bool disabled)
{
    if (registry_disable(registry_of(session), database, disabled))
        console_tag(session, disabled ? "DISABLE" : "ENABLE");
    else
        console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
}

static void disable_database(struct console_session *session, const char *database)
{
    set_disabled(session, database, true);
}

static void enable_database(struct console_session *session, const char *database)
{
    set_disabled(session, database, false);
}

static void reconnect_pools(struct console_session *session, const char *database)
{
    registry_reconnect(registry_of(session), database);
    control_sweep(session->workers);
    console_tag(session, "RECONNECT");
}

static void wait_close(struct console_session *session, const char *database)
{
    wait_for_servers(session, database, true, "WAIT_CLOSE");
}

static const struct order orders[] = {
    {"PAUSE", "pause", false, pause_pools},
    {"RESUME", "resume", false, resume_pools},
    {"DISABLE", "disable", true, disable_database},
    {"ENABLE", "enable", true, enable_database},
    {"RECONNECT", "reconnect", false, reconnect_pools},
    {"WAIT_CLOSE", "wait in", false, wait_close},
    {"KILL", "kill", false, console_kill_database},
};

static const struct order *find(const char *word)
{
    for (size_t i = 0; i < COLUMN_COUNT(orders); i++)
        if (strcmp(orders[i].word, word) == 0)
            return &orders[i];
    return NULL;
}

bool console_order_is_known(const char *word)
{
    return find(word) != NULL;
}

/* False: it was refused. */
static bool check_database(struct console_session *session, const struct order *order,
                           const char *name)
{
    char text[128];
    struct database_entry *database;
    if (strcmp(name, "pgbouncer") == 0) {
        snprintf(text, sizeof(text), "cannot %s admin db: %s", order->verb, name);
        refuse(session, text);
        return false;
    }
    database = config_find_database(session->client->set->config, name);
    database_release(database);
    if (!database) {
        snprintf(text, sizeof(text), "no such database: %s", name);
        refuse(session, text);
    }
    return database != NULL;
}

void console_order(struct console_session *session, const struct command *command,
                   const char *query)
{
    (void)query;
    const struct order *order = find(command->word);
    const char *database = command->argument[0] ? command->argument : NULL;
    if (!database && order->needs_database) {
        refuse(session, "a database is required");
        return;
    }
    if (database && !check_database(session, order, database))
        return;
    if (database)
        log_info(NULL, "%s '%s' command issued", order->word, database);
    else
        log_info(NULL, "%s command issued", order->word);
    order->run(session, database);
}
