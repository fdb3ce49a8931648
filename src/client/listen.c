/* LISTEN in transaction and statement mode (DESIGN §5, MECHANISMS §4.13).
 *
 * What a client listens to is a part of its session. While it has a server, that server listens to
 * the same channels, so that every text means what it says there; behind a transaction that may
 * have changed them the server is asked what they are, and one connection of the pool listens to
 * them from then on (server/subscription). The client's ReadyForQuery waits for it, so that nothing
 * that happens after a LISTEN is missed.
 *
 * Notifications come to the client from that connection alone, in order, when the client is idle or
 * in front of its ReadyForQuery, never inside its transaction. What its server hears has two uses:
 * of channels that are new, it is told what came before the pool's connection listened to them; and
 * what the client's transaction has itself notified makes the ReadyForQuery wait until that has
 * come, as PostgreSQL says it. Its process is then the one that the client knows as its own.
 */
#include <string.h>

#include "base/memory.h"
#include "client_private.h"
#include "ledger/notifications.h"
#include "ledger/session_settings.h"
#include "requests.h"
#include "server/subscription.h"
#include "wire/answer.h"
#include "wire/build.h"

/* Of the names of channels, doubled quotes and all. */
#define NAMES_MAX (1024 * 1024)
#define ASK_SIZE  256
#define HEAD      5 /* of a message: type and length */
#define CHANNELS_Q                                                                                 \
    "SET LOCAL statement_timeout = 0; SELECT pg_catalog.pg_listening_channels(); COMMIT"

/* What a ReadyForQuery waits for. */
enum listen_step {
    LISTEN_REST,
    LISTEN_ASKING,   /* the server, what it listens to */
    LISTEN_SYNCING,  /* the pool's connection listens to it, and has said what was on its way */
    LISTEN_DRAINING, /* the server, too, has said what was on its way */
    LISTEN_SETTLING, /* and so has the pool's connection once more, which may be behind it */
};

struct client_listening {
    struct client *client;
    struct pool *pool; /* whose connection listens; a reference */
    struct subscription subscription;
    struct notification_queue queue; /* what is to be told */
    /* Of the server, during a transaction: what came of channels that are new, and what the
     * transaction itself has sent, which comes in the queue too. */
    struct notification_queue early, own;
    struct bytes channels; /* the names that the server has, zero-terminated */
    int channel_count;
    enum listen_step step;
    uint8_t answers_left;
    bool is_growing; /* channels are new */
    bool was_open;   /* its transaction has had several ReadyForQuery: much may have come */
    bool is_over;    /* there was no memory for something */
    struct loop_task task;
};

static struct client_listening *of_subscription(struct subscription *subscription)
{
    return (struct client_listening *)((char *)subscription -
                                       offsetof(struct client_listening, subscription));
}

bool listen_is_busy(const struct client *client)
{
    return client->listening && client->listening->step != LISTEN_REST;
}

bool listen_is_asking(const struct client *client)
{
    return client->listening && client->listening->step == LISTEN_ASKING;
}

/* The state of the server's session is not known, or cannot be told: both end. */
static void give_up(struct client *client, const struct error *why)
{
    if (client->server)
        client->server->must_close = true;
    client_refuse(client, why);
}

static void no_memory(struct client *client)
{
    struct error why;
    error_set(&why, SQLSTATE_OUT_OF_MEMORY, "out of memory for LISTEN");
    give_up(client, &why);
}

/* -- telling ------------------------------------------------------------------------------------
 */

static bool put_missed(struct client *client)
{
    uint8_t memory[512];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_notice(&out, SQLSTATE_WARNING,
                 "notifications may have been missed: the connection that listens was lost",
                 "It listens again. What the notifications are about has to be looked at anew.");
    return bytes_ok(&out) && stream_put(&client->stream, out.data, out.size);
}

/* What the client's own transaction has sent comes from the process that it knows as its own. */
static bool put(struct client *client, const struct notification *notification, bool is_own)
{
    const uint8_t *message = notification->message;
    if (!is_own || client->cancel_key_size < 4)
        return stream_put(&client->stream, message, notification->size);
    return stream_put(&client->stream, message, HEAD) &&
           stream_put(&client->stream, client->cancel_key, 4) &&
           stream_put(&client->stream, message + HEAD + 4, notification->size - HEAD - 4);
}

static bool is_of_server(const struct client *client, const struct notification *notification)
{
    return client->server && notification_process(notification) == client->server->process;
}

static bool put_next(struct client *client, struct notification *notification)
{
    struct client_listening *listening = client->listening;
    if (!notification)
        return put_missed(client);
    bool is_own = is_of_server(client, notification) &&
                  notification_queue_take(&listening->own, notification);
    return put(client, notification, is_own);
}

/* False: no memory. */
static bool tell_all(struct client *client)
{
    struct client_listening *listening = client->listening;
    struct notification *notification;
    bool ok = true;
    while (ok && !stream_is_blocked(&client->stream) &&
           notification_queue_shift(&listening->queue, &notification)) {
        ok = put_next(client, notification);
        notification_release(notification);
    }
    return ok;
}

/* Between its transactions, and at the end of a message. */
static bool may_be_told(const struct client *client)
{
    if (client->virtual_failure || client->skips_unit || client->pass > 0)
        return false;
    if (client->state == CLIENT_ACTIVE)
        return client->listening->step == LISTEN_REST && !client->is_in_request &&
               !client->is_in_transaction && !client->unit_has_begun;
    return client->state == CLIENT_IDLE || client->state == CLIENT_WAITING;
}

/* Judged when all was told that may be: what comes in one turn is no backlog. */
static bool has_too_much(const struct client_listening *listening)
{
    size_t limit = (size_t)listening->client->set->config->settings.listen_queue_size;
    return listening->queue.bytes + listening->early.bytes + listening->own.bytes > limit;
}

static void run_task(struct loop_task *task)
{
    struct client_listening *listening =
        (struct client_listening *)((char *)task - offsetof(struct client_listening, task));
    struct client *client = listening->client;
    struct error why;
    if (client->state == CLIENT_CLOSED)
        return;
    if (listening->is_over || (may_be_told(client) && !tell_all(client))) {
        no_memory(client);
    } else if (has_too_much(listening)) {
        error_set(&why, SQLSTATE_LIMIT_EXCEEDED,
                  "too many notifications wait for this client (listen_queue_size)");
        error_hint(&why, "A client that listens has to read, and must not stay in a transaction.");
        give_up(client, &why);
    }
}

void listen_tell_later(struct client *client)
{
    struct client_listening *listening = client->listening;
    if (listening->queue.count + listening->early.count + listening->own.count > 0 ||
        listening->is_over)
        loop_defer(client->set->loop, LOOP_GRANT, &listening->task);
}

static void keep(struct client_listening *listening, struct notification_queue *queue,
                 struct notification *notification)
{
    if (!listening->is_over && !notification_queue_push(queue, notification))
        listening->is_over = true;
    listen_tell_later(listening->client);
}

static void notified(struct subscription *subscription, struct notification *notification)
{
    struct client_listening *listening = of_subscription(subscription);
    keep(listening, &listening->queue, notification);
}

static void missed(struct subscription *subscription)
{
    struct client_listening *listening = of_subscription(subscription);
    keep(listening, &listening->queue, NULL);
}

void listen_hear(struct client *client, struct span body)
{
    struct client_listening *listening = client->listening;
    if (!client->holds_units || client->is_session_mode || listening->step == LISTEN_SETTLING)
        return;
    struct notification *notification = notification_create(body);
    if (!notification)
        listening->is_over = true;
    else if (!subscription_has(&listening->subscription, notification_channel(notification)) ||
             listening->is_growing)
        keep(listening, &listening->early, notification);
    else if (is_of_server(client, notification))
        keep(listening, &listening->own, notification);
    notification_release(notification);
    listen_tell_later(client);
}

/* -- the end of a transaction -------------------------------------------------------------------
 */

static void say_ready(struct client *client)
{
    struct server *server = client->server;
    uint8_t memory[BUFFER_SIZE];
    struct bytes out = bytes_over(memory, sizeof(memory));
    told_parameters_update(&client->told, &server->parameters, client->set->shared->parameter_names,
                           &out);
    build_ready_for_query(&out, server->ledger.status);
    if (bytes_ok(&out) && stream_put(&client->stream, out.data, out.size))
        attach_ready(client);
    else
        no_memory(client);
}

/* Both kinds came from the server, and are not on their way any more. */
static bool tell_rest(struct client *client, struct notification_queue *queue)
{
    struct notification *notification;
    bool ok = true;
    while (ok && notification_queue_shift(queue, &notification)) {
        ok = put(client, notification, is_of_server(client, notification));
        notification_release(notification);
    }
    return ok;
}

static void rest(struct client_listening *listening)
{
    listening->step = LISTEN_REST;
    listening->is_growing = listening->was_open = false;
    notification_queue_clear(&listening->early);
    notification_queue_clear(&listening->own);
    bytes_clear(&listening->channels);
    listening->channel_count = 0;
}

static void finish(struct client *client)
{
    struct client_listening *listening = client->listening;
    notification_queue_drop_overlap(&listening->queue, &listening->early);
    bool ok = tell_rest(client, &listening->early) && tell_all(client) &&
              tell_rest(client, &listening->own);
    rest(listening);
    client->touched &= ~(uint32_t)(SESSION_LISTEN | SESSION_LISTENS);
    if (subscription_is_open(&listening->subscription) && listening->subscription.count == 0) {
        subscription_close(&listening->subscription);
        client->holds_units = client->is_statement_mode;
        client->server->ready_watch &= (uint8_t)~READY_WATCH_ALL;
    }
    if (ok)
        say_ready(client);
    else
        no_memory(client);
}

/* False: the client is closed. */
static bool put_queries(struct client *client, const char *const *queries, uint8_t count)
{
    struct server *server = client->server;
    uint8_t memory[ASK_SIZE];
    struct bytes out = bytes_over(memory, sizeof(memory));
    for (int i = 0; i < count; i++)
        build_query(&out, queries[i]);
    if (!bytes_ok(&out) || !ledger_has_room(&server->ledger, count) ||
        !stream_put(&server->stream, out.data, out.size)) {
        no_memory(client);
        return false;
    }
    for (int i = 0; i < count; i++)
        ledger_expect(&server->ledger, LEDGER_QUERY, LEDGER_SWALLOW, 0, NULL);
    server->ledger.error_in_swallowed = false;
    client->listening->answers_left = count;
    return true;
}

static void ask(struct client *client)
{
    static const char *const queries[] = {SESSION_BEGIN, CHANNELS_Q};
    if (put_queries(client, queries, 2))
        client->listening->step = LISTEN_ASKING;
}

/* All that was notified up to now is in the queue behind it. */
static void sync_with_pool(struct client *client, enum listen_step step)
{
    struct client_listening *listening = client->listening;
    listening->step = step;
    if (!subscription_sync(&listening->subscription, listening->is_growing))
        no_memory(client);
}

void listen_ready(struct client *client)
{
    struct client_listening *listening = client->listening;
    if (!ledger_is_free(&client->server->ledger)) { /* inside of a transaction */
        listening->was_open = true;
        say_ready(client);
    } else if (client->touched & SESSION_LISTEN) {
        ask(client);
    } else if ((listening->own.count > 0 || listening->was_open) &&
               subscription_is_open(&listening->subscription)) {
        sync_with_pool(client, LISTEN_SYNCING);
    } else {
        finish(client);
    }
}

/* -- what it listens to -------------------------------------------------------------------------
 */

static void synced(struct subscription *subscription, const struct error *why);

static const struct subscription_events events = {
    .notified = notified,
    .missed = missed,
    .synced = synced,
};

static bool open_subscription(struct client_listening *listening)
{
    struct server_set *servers = listening->client->set->servers;
    return subscription_is_open(&listening->subscription) ||
           subscription_open(&listening->subscription, servers, listening->pool, &events);
}

static bool has_channel(const void *argument, const char *channel)
{
    return subscription_has(argument, channel);
}

/* What came of channels that it does not listen to any more is not told, as PostgreSQL does. */
static void forget_others(struct client_listening *listening)
{
    notification_queue_keep(&listening->queue, has_channel, &listening->subscription);
    notification_queue_keep(&listening->early, has_channel, &listening->subscription);
    notification_queue_keep(&listening->own, has_channel, &listening->subscription);
}

static void take_channels(struct client *client)
{
    struct client_listening *listening = client->listening;
    struct error why;
    if (listening->channel_count > client->set->config->settings.max_client_channels) {
        error_set(&why, SQLSTATE_LIMIT_EXCEEDED,
                  "this client listens to too many channels (max_client_channels)");
        give_up(client, &why);
        return;
    }
    if (!bytes_ok(&listening->channels) || !open_subscription(listening)) {
        no_memory(client);
        return;
    }
    switch (subscription_set(&listening->subscription, bytes_span(&listening->channels))) {
    case SUBSCRIPTION_NO_MEMORY:
        no_memory(client);
        return;
    case SUBSCRIPTION_GREW:
        listening->is_growing = true;
        break;
    case SUBSCRIPTION_SAME:
        break;
    }
    forget_others(listening);
    if (listening->is_growing || listening->own.count > 0)
        sync_with_pool(client, LISTEN_SYNCING);
    else
        finish(client);
}

void listen_take_row(struct client *client, struct span body)
{
    struct client_listening *listening = client->listening;
    struct span name;
    if (!data_row_column(body, 0, &name) || !name.data || memchr(name.data, 0, name.size))
        return;
    bytes_put(&listening->channels, name.data, name.size);
    bytes_u8(&listening->channels, 0);
    listening->channel_count++;
}

static void synced(struct subscription *subscription, const struct error *why)
{
    static const char *const queries[] = {""};
    struct client_listening *listening = of_subscription(subscription);
    struct client *client = listening->client;
    if (listening->step != LISTEN_SYNCING && listening->step != LISTEN_SETTLING)
        return; /* its server has gone */
    if (why && listening->is_growing) {
        struct error error = *why;
        error_prefix(&error, "LISTEN");
        give_up(client, &error);
    } else if (listening->is_growing && listening->step == LISTEN_SYNCING) {
        if (put_queries(client, queries, 1))
            listening->step = LISTEN_DRAINING;
    } else {
        finish(client);
    }
}

void listen_answered(struct client *client)
{
    struct client_listening *listening = client->listening;
    struct server *server = client->server;
    if (--listening->answers_left > 0)
        return;
    if (server->ledger.error_in_swallowed || server->ledger.status != 'I') {
        struct error why = server->swallowed_error;
        error_prefix(&why, "what it listens to could not be read");
        give_up(client, &why);
    } else if (listening->step == LISTEN_ASKING) {
        take_channels(client);
    } else if (listening->early.count > 0) {
        sync_with_pool(client, LISTEN_SETTLING);
    } else {
        finish(client);
    }
}

/* -- its server ---------------------------------------------------------------------------------
 */

static void watch(struct client *client)
{
    client->holds_units = true;
    client->server->ready_watch |= READY_WATCH_ALL;
}

static struct pool *find_pool(const struct client *client)
{
    struct pool *pool = registry_listen_pool(client->set->shared->registry, client->set->config,
                                             client->database, client->pool->user_name);
    struct user_entry *proven = pool_proven_acquire(client->pool);
    if (pool && proven)
        pool_set_proven(pool, proven);
    user_release(proven);
    return pool;
}

static struct client_listening *make(struct client *client)
{
    struct pool *pool = find_pool(client);
    struct client_listening *listening = pool ? memory_zalloc(sizeof(*listening)) : NULL;
    if (!listening) {
        if (pool)
            pool_release_reference(pool);
        return NULL;
    }
    listening->client = client;
    listening->pool = pool;
    listening->task.run = run_task;
    notification_queue_init(&listening->queue);
    notification_queue_init(&listening->early);
    notification_queue_init(&listening->own);
    bytes_init(&listening->channels, NAMES_MAX);
    client->listening = listening;
    return listening;
}

/* What only may listen (DO, CALL) is looked at where the client listens anyway. */
void listen_touch(struct client *client, uint32_t touches)
{
    bool listens = client->listening && subscription_is_open(&client->listening->subscription);
    if (!listens && !(touches & SESSION_LISTENS))
        return;
    if (client->listening || make(client)) /* else it is told that its LISTEN is lost */
        watch(client);
}

static void put_channel(const char *channel, void *argument)
{
    struct bytes *out = argument;
    bytes_text(out, "LISTEN \"");
    for (; *channel; channel++) {
        if (*channel == '"')
            bytes_u8(out, '"');
        bytes_u8(out, (uint8_t)*channel);
    }
    bytes_text(out, "\"; ");
}

bool listen_bring(struct client *client)
{
    struct client_listening *listening = client->listening;
    struct server *server = client->server;
    struct bytes out;
    rest(listening);
    if (client->is_session_mode || listening->subscription.count == 0)
        return true;
    watch(client);
    bytes_init(&out, 4 * NAMES_MAX);
    size_t mark = message_begin(&out, 'Q');
    subscription_each(&listening->subscription, put_channel, &out);
    bytes_u8(&out, 0);
    message_end(&out, mark);
    bool ok = bytes_ok(&out) && ledger_has_room(&server->ledger, 1) &&
              stream_put(&server->stream, out.data, out.size);
    bytes_finish(&out);
    if (!ok) {
        no_memory(client);
        return false;
    }
    ledger_expect(&server->ledger, LEDGER_QUERY, LEDGER_SWALLOW, 0, NULL);
    client->prefix_left++;
    server->dirt |= SESSION_LISTEN;
    return true;
}

/* -- the end ------------------------------------------------------------------------------------
 */

void listen_part(struct client *client)
{
    rest(client->listening);
}

void listen_leave(struct client *client)
{
    struct client_listening *listening = client->listening;
    if (!listening)
        return;
    rest(listening);
    subscription_close(&listening->subscription);
    notification_queue_clear(&listening->queue);
    loop_cancel_task(client->set->loop, &listening->task);
}

void listen_finish(struct client *client)
{
    struct client_listening *listening = client->listening;
    if (!listening)
        return;
    listen_leave(client);
    bytes_finish(&listening->channels);
    pool_release_reference(listening->pool);
    memory_free(listening);
    client->listening = NULL;
}
