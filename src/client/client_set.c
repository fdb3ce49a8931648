#include "client/client_set.h"

#include <string.h>

#include "client/passthrough.h"
#include "client_private.h"

bool client_set_init(struct client_set *set)
{
    TAILQ_INIT(&set->clients);
    set->by_key = NULL;
    set->count = 0;
    set->statements = (struct statement_table){0};
    deadline_list_init(&set->first_byte_deadlines, set->loop, place_expired, set);
    deadline_list_init(&set->handshake_deadlines, set->loop, first_bytes_retry, set);
    deadline_list_init(&set->passthrough_deadlines, set->loop, passthrough_expired, set);
    deadline_list_init(&set->login_deadlines, set->loop, login_expired, set);
    deadline_list_init(&set->refusal_deadlines, set->loop, login_refusal_due, set);
    deadline_list_init(&set->wait_deadlines, set->loop, expired_wait, set);
    deadline_list_init(&set->notify_deadlines, set->loop, expired_notify, set);
    deadline_list_init(&set->idle_deadlines, set->loop, expired_idle, set);
    deadline_list_init(&set->transaction_deadlines, set->loop, expired_transaction, set);
    return true;
}

void client_set_finish(struct client_set *set)
{
    struct client *client;

    set->is_finished = true;
    while ((client = TAILQ_FIRST(&set->clients)) != NULL) {
        client_close(client, NULL);
        client_statements_clear(&client->statements, &set->statements);
    }
    statement_table_finish(&set->statements);
    startup_findings_finish(&set->findings);
    deadline_list_finish(&set->first_byte_deadlines);
    deadline_list_finish(&set->handshake_deadlines);
    deadline_list_finish(&set->passthrough_deadlines);
    deadline_list_finish(&set->login_deadlines);
    deadline_list_finish(&set->refusal_deadlines);
    deadline_list_finish(&set->wait_deadlines);
    deadline_list_finish(&set->notify_deadlines);
    deadline_list_finish(&set->idle_deadlines);
    deadline_list_finish(&set->transaction_deadlines);
}

static bool waits(const struct client *client)
{
    return client->state == CLIENT_WAITING || client->state == CLIENT_WELCOME;
}

/* Those whom SHOW CLIENTS shows. */
static bool is_logged_in(const struct client *client)
{
    return client->state >= CLIENT_WELCOME && client->state != CLIENT_CLOSED;
}

/* Only those who have proved who they are: others are not to learn which databases there are. */
static bool uses(const struct client *client, const char *database)
{
    return client->pool != NULL && client->state != CLIENT_CLOSED &&
           strcmp(client->database_name, database) == 0;
}

void client_set_close_pools(struct client_set *set, const struct error *why)
{
    struct client *client, *next;

    for (client = TAILQ_FIRST(&set->clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        if (client->pool != NULL)
            client_refuse(client, why);
    }
}

void client_set_close_database(struct client_set *set, const char *name, const struct error *why)
{
    struct client *client, *next;

    /* One that is closed may take others with it; all of them keep memory and link until the end of
     * the turn. */
    for (client = TAILQ_FIRST(&set->clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        if (name != NULL ? uses(client, name) : waits(client))
            client_refuse(client, why);
    }
}

int client_set_end_user(struct client_set *set, const char *name, uint64_t except,
                        const struct error *why)
{
    struct client *client, *next;
    int ended = 0;

    for (client = TAILQ_FIRST(&set->clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        if (!is_logged_in(client) || client->id == except || strcmp(client->user_name, name) != 0)
            continue;
        client_refuse(client, why);
        ended++;
    }
    return ended;
}

bool client_set_end_client(struct client_set *set, uint64_t id, const struct error *why)
{
    struct client *client;

    TAILQ_FOREACH (client, &set->clients, link) {
        if (client->id != id || !is_logged_in(client))
            continue;
        client_refuse(client, why);
        return true;
    }
    return false;
}

void client_set_hold(struct client_set *set)
{
    struct client *client;

    TAILQ_FOREACH (client, &set->clients, link)
        if (is_logged_in(client) && client->state != CLIENT_CONSOLE)
            stream_hold(&client->stream);
}

void client_set_let_go(struct client_set *set)
{
    struct client *client;

    TAILQ_FOREACH (client, &set->clients, link)
        stream_let_go(&client->stream);
}

int client_set_unsent(struct client_set *set, bool close)
{
    struct client *client, *next;
    int unsent = 0;

    for (client = TAILQ_FIRST(&set->clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        if (!is_logged_in(client) || client->state == CLIENT_CONSOLE ||
            stream_is_flushed(&client->stream))
            continue;
        unsent++;
        if (close)
            client_refuse_text(client, SQLSTATE_ADMIN_SHUTDOWN, "suspend_timeout");
    }
    return unsent;
}

void client_set_drain(struct client_set *set)
{
    struct error why;

    /* Those who hold no server are refused by their pool when they ask for one. */
    error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "server shutting down");
    client_set_close_database(set, NULL, &why);
}
