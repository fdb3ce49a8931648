/* Time limits of clients that are logged in: of waiting, of idling, of queries and transactions.
 *
 * What a client is told of its wait are numbers of its own pool, never who holds it up
 * (THREATS §5.2).
 */
#include <limits.h>
#include <stdio.h>

#include "client_private.h"
#include "wire/build.h"

/* How long the end of a cancelled query is waited for, before both are closed. */
#define CANCEL_GRACE (5 * USEC_PER_SEC)

static usec_t now_of(const struct client *client)
{
    return loop_now(client->set->loop);
}

/* Why it waits. */
static void describe_wait(const struct client *client, char *text, size_t size)
{
    const struct pool *pool = client->pool;
    int waiting = atomic_load_explicit(&pool->waiting, memory_order_relaxed);
    int servers = atomic_load_explicit(&pool->published_size, memory_order_relaxed);
    int limit = atomic_load_explicit(&pool->published_limit, memory_order_relaxed);
    int size_used = snprintf(text, size, "Pool %s/%s: servers: %d, clients that wait: %d",
                             client->database_name, client->user_name, servers, waiting);
    if (size_used < 0 || (size_t)size_used >= size)
        return;
    text += size_used;
    size -= (size_t)size_used;
    if (servers >= limit)
        snprintf(text, size, "; the limit is pool_size=%d.", limit);
    else
        snprintf(text, size,
                 "; it may open more, but a login or a limit above the pool holds it up.");
}

void expired_wait(struct deadline *deadline, struct deadline_list *list)
{
    struct client *client = client_of_deadline(deadline);
    char why[256];
    struct error error;
    (void)list;
    if (client->state != CLIENT_WAITING)
        return;
    describe_wait(client, why, sizeof(why));
    if (!pool_waiter_leave(&client->waiter))
        return;
    error_set(&error, SQLSTATE_PROTOCOL_VIOLATION, "query_wait_timeout");
    error_hint(&error, "%s", why);
    client_refuse(client, &error);
}

void expired_notify(struct deadline *deadline, struct deadline_list *list)
{
    struct client *client = client_of_deadline(deadline);
    uint8_t memory[512];
    struct bytes out = bytes_over(memory, sizeof(memory));
    char why[256];
    (void)list;
    if (client->state != CLIENT_WAITING)
        return;
    describe_wait(client, why, sizeof(why));
    build_notice(&out, SQLSTATE_SUCCESS,
                 "No server connection available in postgres backend, client being queued", why);
    client->was_notified = true;
    if (!bytes_ok(&out) || !stream_put(&client->stream, out.data, out.size)) {
        client_close(client, "out of memory");
        return;
    }
    usec_t timeout = client_effective(client)->query_wait_timeout;
    if (timeout > 0)
        deadline_set(&client->set->wait_deadlines, &client->deadline, client->wait_start + timeout);
}

void expired_idle(struct deadline *deadline, struct deadline_list *list)
{
    struct client *client = client_of_deadline(deadline);
    (void)list;
    bool is_pinned = client->state == CLIENT_ACTIVE && client->pins && !client->is_in_transaction;
    if (client->state == CLIENT_IDLE || is_pinned)
        client_refuse_text(client, SQLSTATE_ADMIN_SHUTDOWN, "client_idle_timeout");
}

static void forget_cancel(void *argument)
{
    (void)argument; /* the client may be gone by then */
}

/* What runs is cancelled as its client would do it, and lives on; what cannot be cancelled (a COPY
 * that waits for its data, a batch without its Sync) ends with its client a little later. */
static void cancel_query(struct client *client, const char *why)
{
    notice_pooler_error(client, why);
    client->over_time = why;
    deadline_set(&client->set->transaction_deadlines, &client->deadline,
                 now_of(client) + CANCEL_GRACE);
    attach_cancel(client, forget_cancel, NULL);
}

void expired_transaction(struct deadline *deadline, struct deadline_list *list)
{
    struct client *client = client_of_deadline(deadline);
    (void)list;
    if (client->state != CLIENT_ACTIVE)
        return;
    usec_t limit = client_effective(client)->transaction_timeout;
    bool is_over =
        limit > 0 && client->is_in_transaction && client->xact_start + limit <= now_of(client);
    if (client->is_in_request && !client->over_time)
        cancel_query(client, is_over ? "transaction timeout" : "query timeout");
    else if (client->is_in_request && is_over)
        client_refuse_text(client, SQLSTATE_TRANSACTION_TIMEOUT, "transaction timeout");
    else if (client->is_in_request)
        client_refuse_text(client, SQLSTATE_QUERY_CANCELED, "query timeout");
    else
        virtual_failure_begin(client, is_over ? VIRTUAL_FAILURE_AGE : VIRTUAL_FAILURE_IDLENESS);
}
