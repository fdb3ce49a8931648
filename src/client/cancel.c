/* CancelRequest: from the connection that brings it to the worker that its key names, to the client
 * there, and back (COMPAT 9.7, PITFALLS §3).
 *
 * What travels is an object of its own, which refers to the connection that brought it by a pointer
 * that only that connection's loop looks at, and to the other client by its key. Whoever brought it
 * learns nothing but that it is over: the connection is closed. */
#include <string.h>

#include "base/memory.h"
#include "client_private.h"
#include "server/peer.h"
#include "server/server_set.h"
#include "wire/startup.h"

struct cancel {
    struct mail mail;
    struct loop *home;         /* of the connection that brought it */
    struct client *from;       /* there; NULL: it has gone */
    struct client_set *target; /* of the worker in the key */
    bool was_delivered;        /* somebody's key, and something to cancel */
    struct moat_origin origin; /* of who brought it */
    uint32_t key_size;
    uint8_t key[PEER_KEY_MAX];
};

/* ---- the connection that brings it ---- */

static void cancel_input(struct stream *stream)
{
    stream_consume(stream, stream_input(stream).size);
}

static void cancel_closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    client_close(client_of_stream(stream), NULL);
}

static const struct stream_events cancel_events = {
    .input = cancel_input,
    .closed = cancel_closed,
};

void cancel_leave(struct cancel *cancel)
{
    cancel->from = NULL;
}

static void forget(struct cancel *cancel)
{
    memory_wipe(cancel->key, sizeof(cancel->key));
    memory_free(cancel);
}

static void come_home(struct mail *mail, struct loop *loop)
{
    struct cancel *cancel = (struct cancel *)((char *)mail - offsetof(struct cancel, mail));
    struct client *from = cancel->from;
    bool was_delivered = cancel->was_delivered;

    (void)loop;
    forget(cancel);
    if (from == NULL)
        return;
    from->login->cancel = NULL;
    /* A missed one has no line: anybody can make thousands of them (THREATS §3.7). */
    client_close(from, was_delivered ? "successfully sent cancel request" : NULL);
}

/* ---- the worker that its key names ---- */

static void done(void *argument)
{
    struct cancel *cancel = argument;

    /* Sets are finished when all threads but one have ended: `from` may be looked at. Where its
     * set is finished too, nobody waits, and the turn in which the mail would arrive may be over.
     */
    if (cancel->target->is_finished && cancel->from == NULL) {
        forget(cancel);
        return;
    }
    cancel->mail.deliver = come_home;
    loop_post(cancel->home, &cancel->mail);
}

/* The table compares bytes only of keys whose seeded hash is the same, so its time says nothing
 * about other keys; what it finds is compared again in constant time. */
static struct client *find_client(const struct cancel *cancel)
{
    struct client *client;

    HASH_FIND(hh, cancel->target->by_key, cancel->key, cancel->key_size, client);
    if (client == NULL || client->cancel_key_size != cancel->key_size ||
        !memory_equal_constant_time(client->cancel_key, cancel->key, cancel->key_size))
        return NULL;
    return client;
}

static void arrive(struct mail *mail, struct loop *loop)
{
    struct cancel *cancel = (struct cancel *)((char *)mail - offsetof(struct cancel, mail));
    struct client *client = find_client(cancel);

    if (client == NULL)
        moat_cancel_missed(cancel->target->shared->moat, &cancel->origin, loop_now(loop));
    cancel->was_delivered =
        client != NULL && (client->state == CLIENT_WAITING || client->state == CLIENT_ACTIVE);
    if (!cancel->was_delivered) {
        done(cancel);
    } else if (client->state == CLIENT_ACTIVE) {
        attach_cancel(client, done, cancel);
    } else {
        requests_cancel_waiting(client);
        done(cancel);
    }
}

/* ---- the beginning ---- */

/* ---- peers: the number of a process in bytes 1 and 2 of a key, how often it may be passed on in
 * the two low bits of byte 7 ---- */

void cancel_key_for_peers(uint8_t *key, int peer_id)
{
    key[1] = (uint8_t)(peer_id & 0xff);
    key[2] = (uint8_t)(peer_id >> 8);
    key[7] |= CANCEL_KEY_TTL_BITS;
}

static int peer_of_key(const struct cancel *cancel)
{
    return cancel->key[1] | cancel->key[2] << 8;
}

static void peer_done(void *argument, bool was_sent)
{
    struct cancel *cancel = argument;

    cancel->was_delivered = was_sent;
    come_home(&cancel->mail, cancel->home);
}

/* It is meant for another process. False: that is not known, or it was passed on too often. */
static bool pass_on(struct cancel *cancel)
{
    struct client_set *set = cancel->from->set;
    struct peer_request request = {
        .key_size = cancel->key_size, .done = peer_done, .argument = cancel};

    if ((cancel->key[7] & CANCEL_KEY_TTL_BITS) == 0)
        return false;
    request.peer = config_find_peer(set->config, peer_of_key(cancel));
    if (request.peer == NULL)
        return false;
    cancel->key[7]--;
    memcpy(request.key, cancel->key, cancel->key_size);
    peer_forward(set->servers, &request);
    memory_wipe(request.key, sizeof(request.key));
    return true;
}

/* The key as the client was told it: process id first. */
static bool copy_key(struct cancel *cancel, const struct cancel_request *request)
{
    cancel->key_size = (uint32_t)(sizeof(request->process) + request->key.size);
    if (cancel->key_size > sizeof(cancel->key))
        return false;
    struct bytes key = bytes_over(cancel->key, sizeof(cancel->key));
    bytes_u32(&key, request->process);
    bytes_put(&key, request->key.data, request->key.size);
    return bytes_ok(&key);
}

/* NULL: nobody here has such a key, or no memory. */
static struct cancel *make_cancel(struct client *from, const struct cancel_request *request)
{
    struct client_set *set = from->set;
    struct cancel *cancel = memory_zalloc(sizeof(*cancel));

    if (cancel == NULL)
        return NULL;
    cancel->home = set->loop;
    cancel->from = from;
    cancel->mail.deliver = arrive;
    if (copy_key(cancel, request))
        return cancel;
    memory_free(cancel);
    return NULL;
}

/* To the worker in its key. False: there is none with this number. */
static bool find_target(struct cancel *cancel)
{
    const struct client_set *set = cancel->from->set;
    int worker = cancel->key[0] & CANCEL_KEY_WORKER_BITS;

    if (worker >= set->worker_count)
        return false;
    cancel->target = set->siblings[worker];
    return true;
}

static bool may_come_this_way(const struct client *from)
{
    return from->set->config->settings.client_cancel_tls == CANCEL_TLS_ALLOW ||
           from->stream.is_local || stream_is_tls(&from->stream);
}

/* To the worker, or the peer, in its key. False: there is no such. */
static bool send_on(struct cancel *cancel)
{
    int peer_id = cancel->from->set->config->settings.peer_id;

    if (peer_id > 0 && cancel->key_size > 7) {
        if (peer_of_key(cancel) != peer_id)
            return pass_on(cancel);
        cancel->key[7] |= CANCEL_KEY_TTL_BITS;
    }
    if (!find_target(cancel))
        return false;
    loop_post(cancel->target->loop, &cancel->mail);
    return true;
}

void cancel_start(struct client *from, const struct cancel_request *request)
{
    struct client_set *set = from->set;
    usec_t timeout = set->config->settings.cancel_wait_timeout;
    struct moat_origin origin;

    if (!may_come_this_way(from) ||
        !moat_may_cancel(set->shared->moat, from->guest, loop_now(set->loop), &origin)) {
        client_close(from, NULL);
        return;
    }
    struct cancel *cancel = make_cancel(from, request);
    if (cancel == NULL) {
        moat_cancel_missed(set->shared->moat, &origin, loop_now(set->loop));
        client_close(from, NULL);
        return;
    }
    cancel->origin = origin;
    from->login->cancel = cancel;
    from->stream.events = &cancel_events;
    stream_consume(&from->stream, stream_input(&from->stream).size);
    if (timeout > 0)
        deadline_set(&set->login_deadlines, &from->deadline, loop_now(set->loop) + timeout);
    else
        deadline_clear(&from->deadline);
    if (send_on(cancel))
        return;
    moat_cancel_missed(set->shared->moat, &origin, loop_now(set->loop));
    cancel->was_delivered = false;
    come_home(&cancel->mail, set->loop);
}
