/* KILL [db], KILL USER name, KILL_CLIENT id: sessions that an operator ends (COMPAT 5.4). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

/* The session asks, and may be among those that are ended. */
static void start(struct console_session *session, const struct kill_order *order,
                  void (*done)(void *argument, int ended))
{
    console_begin_wait(session);
    if (control_kill(session->workers, session->client->set->loop, order, done, session))
        return;
    session->is_waiting = false;
    console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    console_go_on(session);
}

static void database_is_killed(void *argument, int ended)
{
    struct console_session *session = argument;
    (void)ended;
    if (!console_end_wait(session))
        return;
    console_tag(session, "KILL");
    console_go_on(session);
}

void console_kill_database(struct console_session *session, const char *database)
{
    struct registry *registry = session->workers->shared.registry;
    const struct kill_order order = {.kind = KILL_DATABASE, .name = database};
    if (!database &&
        (registry_is_paused(registry, NULL) || atomic_load(&session->workers->shared.is_suspended)))
        console_error(session, SQLSTATE_PROTOCOL_VIOLATION, "already suspended/paused");
    else if (!registry_kill(registry, database))
        console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    else
        start(session, &order, database_is_killed);
}

static void user_is_killed(void *argument, int ended)
{
    struct console_session *session = argument;
    char text[64];
    if (!console_end_wait(session))
        return;
    snprintf(text, sizeof(text), "sessions ended: %d", ended);
    console_notice_tag(session, text, "KILL");
    console_go_on(session);
}

void console_kill_user(struct console_session *session, const struct command *command,
                       const char *query)
{
    const struct kill_order order = {
        .kind = KILL_USER, .name = command->value, .id = session->client->id};
    (void)query;
    log_info(NULL, "KILL USER '%s' command issued", command->value);
    start(session, &order, user_is_killed);
}

static void client_is_killed(void *argument, int ended)
{
    struct console_session *session = argument;
    if (!console_end_wait(session))
        return;
    if (ended > 0)
        console_tag(session, "KILL_CLIENT");
    else
        console_error(session, SQLSTATE_PROTOCOL_VIOLATION, "client not found");
    console_go_on(session);
}

void console_kill_client(struct console_session *session, const struct command *command,
                         const char *query)
{
    char *end;
    errno = 0;
    uint64_t id = strtoull(command->argument, &end, 10);
    (void)query;
    if (end == command->argument || *end || id == 0 || errno != 0) {
        console_error(session, SQLSTATE_PROTOCOL_VIOLATION, "invalid client pointer supplied");
        return;
    }
    const struct kill_order order = {.kind = KILL_CLIENT, .id = id};
    log_info(NULL, "KILL_CLIENT '%" PRIu64 "' command issued", id);
    start(session, &order, client_is_killed);
}
