/* A client's life: accepted, moved from state to state by one door, ended once. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "client_private.h"
#include "net/transport_memory.h"

/* As SHOW CLIENTS has them; clients in login are not shown there. */
static const char *const state_names[] = {
    [CLIENT_FIRST_BYTES] = "login", [CLIENT_FRONT] = "login",     [CLIENT_LOGIN] = "login",
    [CLIENT_MOVING] = "login",      [CLIENT_WELCOME] = "waiting", [CLIENT_IDLE] = "idle",
    [CLIENT_WAITING] = "waiting",   [CLIENT_ACTIVE] = "active",   [CLIENT_CONSOLE] = "idle",
    [CLIENT_CLOSED] = "closed",
};

#define M(name) (1u << CLIENT_##name)
static const unsigned successors[] = {
    [CLIENT_FIRST_BYTES] = M(FRONT) | M(LOGIN) | M(CLOSED),
    [CLIENT_FRONT] = M(FIRST_BYTES) | M(CLOSED),
    [CLIENT_LOGIN] = M(MOVING) | M(WELCOME) | M(CONSOLE) | M(CLOSED),
    [CLIENT_MOVING] = M(WELCOME) | M(CLOSED),
    [CLIENT_WELCOME] = M(IDLE) | M(ACTIVE) | M(CLOSED),
    [CLIENT_IDLE] = M(WAITING) | M(ACTIVE) | M(CLOSED),
    [CLIENT_WAITING] = M(ACTIVE) | M(IDLE) | M(CLOSED),
    [CLIENT_ACTIVE] = M(IDLE) | M(WAITING) | M(CLOSED),
    [CLIENT_CONSOLE] = M(CLOSED),
    [CLIENT_CLOSED] = 0,
};
#undef M

const char *client_state_name(enum client_state state)
{
    return state_names[state];
}

void client_move_state(struct client *client, enum client_state next)
{
    if (client->state == next)
        return;
    assert(successors[client->state] & (1u << next));
    client->state = next;
}

/* ---- the beginning ---- */

static void run_free_task(struct loop_task *task);

/* "127.0.0.1:5432"; of a Unix socket "unix(123):6432", with the port of its listener. */
static void peer_text(int fd, const struct address *peer, int port, char *text, size_t size)
{
    int64_t pid, uid;

    if (!address_is_local(peer))
        address_text(peer, text, size);
    else if (address_peer_credentials(fd, &pid, &uid))
        snprintf(text, size, "unix(%lld):%d", (long long)pid, port);
    else
        snprintf(text, size, "unix:%d", port);
}

static struct client *make_empty(struct client_set *set)
{
    struct client *client = memory_zalloc(sizeof(*client));
    struct client_login *login = memory_zalloc(sizeof(*login));

    if (client == NULL || login == NULL) {
        memory_free(client);
        memory_free(login);
        return NULL;
    }
    client->set = set;
    client->id = atomic_fetch_add(&set->shared->ids, 1);
    client->state = CLIENT_FIRST_BYTES;
    client->connect_time = loop_now(set->loop);
    client->free_task.run = run_free_task;
    client->route_mode = CONFIG_UNSET;
    client->login = login;
    return client;
}

static struct client *make_client(struct client_set *set, const struct client_arrival *arrival)
{
    struct client *client = make_empty(set);

    if (client == NULL)
        return NULL;
    client->guest = arrival->guest;
    client->listener = arrival->listener;
    client->listener_count = arrival->listener_count;
    client->login->awaits_proxy_header = listener_is_proxied(arrival->listener, &arrival->peer);
    peer_text(arrival->fd, &arrival->peer, arrival->listener->port, client->login->address,
              sizeof(client->login->address));
    notice_subject(client, NULL, NULL);
    return client;
}

void client_accept(struct client_set *set, const struct client_arrival *arrival)
{
    struct client *client = make_client(set, arrival);
    struct error error;

    if (client == NULL) {
        close(arrival->fd);
        client_counts_end_login(set->shared->counts);
        moat_leave(set->shared->moat, arrival->guest);
        atomic_fetch_sub(&arrival->listener_count->open, 1);
        listener_entry_release(arrival->listener);
        return;
    }
    TAILQ_INSERT_TAIL(&set->clients, client, link);
    set->count++;
    if (stream_open(&client->stream, set->loop, arrival->fd, NULL, &error) && !set->is_finished &&
        place_take(client))
        first_bytes_start(client);
    else
        client_close(client, NULL);
}

struct client *client_open_within(struct client *carrier, struct memory_peer *peer)
{
    struct client_set *set = carrier->set;
    struct client *client = make_empty(set);
    struct error error;

    if (client == NULL)
        return NULL;
    client->carrier = carrier;
    client->listener = listener_entry_acquire(carrier->listener);
    client->listener_count = carrier->listener_count;
    client->login->is_inside = true;
    memcpy(client->login->address, carrier->login->address, sizeof(client->login->address));
    notice_subject(client, NULL, NULL);
    TAILQ_INSERT_TAIL(&set->clients, client, link);
    set->count++;
    if (stream_open_memory(&client->stream, set->loop, peer, NULL, &error)) {
        first_bytes_start(client);
        return client;
    }
    client_close(client, NULL);
    return NULL;
}

/* ---- the end ---- */

static void free_client(struct client *client)
{
    client_statements_clear(&client->statements, &client->set->statements);
    unnamed_finish(client);
    replication_finish(client);
    wanted_parameters_finish(&client->wanted);
    session_profile_release(client->startup_profile);
    session_profile_release(client->profile);
    session_profile_release(client->unmended);
    wanted_parameters_finish(&client->startup_wanted);
    session_follow_finish(client);
    listen_finish(client);
    memory_wipe(client->cancel_key, sizeof(client->cancel_key));
    if (client->pool != NULL)
        pool_release_reference(client->pool);
    database_release(client->database);
    user_release(client->user);
    listener_entry_release(client->listener);
    memory_free(client->real_address);
    memory_free(client->asked_host);
    memory_free(client->server_user);
    memory_free(client->user_name);
    memory_free(client->database_name);
    memory_free(client);
}

/* A granted server that is still on its way refers to the waiter: attach_granted frees the client
 * then. */
static void run_free_task(struct loop_task *task)
{
    struct client *client = (struct client *)((char *)task - offsetof(struct client, free_task));

    if (!waiter_is_waiting(&client->waiter))
        free_client(client);
}

void client_free_if_closed(struct client *client)
{
    if (client->state == CLIENT_CLOSED)
        loop_defer(client->set->loop, LOOP_FREE, &client->free_task);
}

static void uncount_connection(struct client *client)
{
    struct client_counts *counts = client->set->shared->counts;

    if (client->is_counted)
        client_counts_left(counts);
    else
        client_counts_end_login(counts);
    atomic_fetch_sub(&client->listener_count->open, 1);
    moat_leave(client->set->shared->moat, client->guest);
    client->guest = NULL;
}

/* Counts that hold others up are given back now, not when the memory is. */
static void uncount(struct client *client)
{
    struct client_counts *counts = client->set->shared->counts;

    if (client->carrier == NULL)
        uncount_connection(client);
    client_count_release(counts, client->database_count);
    client_count_release(counts, client->user_count);
    client->database_count = client->user_count = NULL;
    if (client->pool != NULL)
        pool_client_left(client->pool, client->set->worker);
}

static void leave_set(struct client *client)
{
    struct client_set *set = client->set;

    if (client->cancel_key_size > 0)
        HASH_DEL(set->by_key, client);
    client->cancel_key_size = 0;
    deadline_clear(&client->deadline);
    loop_cancel_task(set->loop, &client->grant_task);
    TAILQ_REMOVE(&set->clients, client, link);
    set->count--;
}

/* Port scanners and health checks send nothing: not a line for each. */
static bool was_heard(const struct client *client)
{
    /* A proxy that looks whether we are there says no more than its header. */
    if (client->login != NULL && client->login->has_no_address)
        return false;
    return client->state != CLIENT_FIRST_BYTES || client->stream.received > 0;
}

void client_close(struct client *client, const char *reason)
{
    if (client->state == CLIENT_CLOSED)
        return;
    if (reason != NULL && was_heard(client))
        notice_closing(client, reason);
    client_move_state(client, CLIENT_CLOSED);
    if (client->console != NULL)
        client->set->shared->console->closed(client);
    if (client->front != NULL)
        client->set->shared->front->closed(client);
    attach_leave(client, reason != NULL ? reason : "");
    login_finish(client);
    leave_set(client);
    stream_close(&client->stream);
    uncount(client);
    loop_defer(client->set->loop, LOOP_FREE, &client->free_task);
}

/* Bytes that nobody has read turn a close into a reset, which can take our last message away from
 * the client: what has arrived by now is read, within reason. */
static void read_what_is_there(struct stream *stream)
{
    if (stream->is_connecting || stream->is_handshaking || stream->peer_closed ||
        stream->closed_told)
        return;
    stream_consume(stream, stream_input(stream).size);
    for (int i = 0; i < 4 && stream_read_rest(stream); i++)
        stream_consume(stream, stream_input(stream).size);
}

/* In the middle of a message of the server's the client would take ours for a part of it. */
static bool may_speak(const struct client *client)
{
    const struct server *server = client->server;

    return server == NULL || server->pass == 0 || !server->pass_to_client;
}

void client_refuse(struct client *client, const struct error *error)
{
    /* By way of a copy: the caller's may belong to what ends with the client. */
    struct error why = *error;

    if (client->state == CLIENT_CLOSED)
        return;
    if (may_speak(client) && notice_error(client, "FATAL", &why)) {
        stream_flush(&client->stream);
        read_what_is_there(&client->stream);
    }
    login_audit_refused(client, &why);
    bool is_said = was_heard(client);
    client_close(client, why.message);
    if (is_said)
        notice_pooler_error(client, why.message);
}

void client_refuse_text(struct client *client, const char *sqlstate, const char *text)
{
    struct error error;

    error_set(&error, sqlstate, "%s", text);
    client_refuse(client, &error);
}
