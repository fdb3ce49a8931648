#include <limits.h>
#include <string.h>

#include "base/memory.h"
#include "server/lookup.h"
#include "server/peer.h"
#include "server/subscription.h"
#include "server_private.h"

static struct server *server_of_deadline(struct deadline *deadline)
{
    return (struct server *)((char *)deadline - offsetof(struct server, deadline));
}

/* Connecting and login took too long; or a reset query did; or a server's end does not come. */
static void connect_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct server *server = server_of_deadline(deadline);
    (void)list;
    if (server->state == SERVER_CLOSING)
        server_closing_expired(server);
    else if (server->login)
        server_login_expired(server);
    else
        server_close(server, server_test_failure(server), NULL);
}

/* The shortest time between two servers of a pool that are closed for their age, so that a pool
 * does not lose all at once. */
static usec_t lifetime_gap(const struct pool *pool, usec_t lifetime)
{
    int limit = atomic_load_explicit(&pool->published_limit, memory_order_relaxed);
    int size = atomic_load_explicit(&pool->published_size, memory_order_relaxed);
    int count = limit == INT_MAX ? size : limit;
    int homes = __builtin_popcountll(atomic_load_explicit(&pool->homes, memory_order_relaxed));
    return count > 0 ? lifetime * homes / count : 0;
}

/* The entry's own, or the global one. */
static usec_t lifetime_of(const struct server *server)
{
    usec_t own = server->database->server_lifetime;
    return own > 0 ? own : server->set->config->settings.server_lifetime;
}

/* When it is to be closed for its age; INT64_MAX: never. With a lifetime of 0 it is good for one
 * use. The entry is the one it was opened with: nothing is locked here. */
static usec_t end_of_life(const struct server *server)
{
    const struct pool *pool = server->member.pool;
    const struct server_pool_note *note = server_set_note(server->set, pool);
    usec_t lifetime = lifetime_of(server);
    if (lifetime == 0)
        return server->request_time > server->connect_time ? 0 : INT64_MAX;
    usec_t end = server->connect_time + lifetime;
    if (note->pool_number != pool->number || note->lifetime_closed == 0)
        return end;
    usec_t turn = note->lifetime_closed + lifetime_gap(pool, lifetime);
    return end > turn ? end : turn;
}

bool server_set_close_over_age(struct server *server)
{
    if (end_of_life(server) > loop_now(server->set->loop))
        return false;
    struct server_pool_note *note = server_set_note(server->set, server->member.pool);
    note->pool_number = server->member.pool->number;
    note->lifetime_closed = loop_now(server->set->loop);
    server_close(server, "server lifetime over", NULL);
    return true;
}

/* When it is to be closed for its idleness; INT64_MAX: never. */
static usec_t end_of_idleness(const struct server *server)
{
    usec_t timeout = server->set->config->settings.server_idle_timeout;
    return timeout > 0 ? server->member.idle_since + timeout : INT64_MAX;
}

/* server_idle_timeout is not for those that min_pool_size keeps. */
static bool is_of_minimum(const struct server *server)
{
    const struct pool *pool = server->member.pool;
    return atomic_load_explicit(&pool->published_size, memory_order_relaxed) <=
           atomic_load_explicit(&pool->published_minimum, memory_order_relaxed);
}

/* Looked at again after as long. */
static void rest_on(struct server *server)
{
    usec_t idle = loop_now(server->set->loop) + server->set->config->settings.server_idle_timeout;
    usec_t life = end_of_life(server);
    deadline_set(&server->set->idle_deadlines, &server->deadline, idle < life ? idle : life);
}

static void idle_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct server *server = server_of_deadline(deadline);
    if (server->state != SERVER_IDLE)
        return;
    if (server_set_close_over_age(server))
        return;
    if (end_of_idleness(server) <= loop_now(list->loop) && is_of_minimum(server))
        rest_on(server);
    else if (end_of_idleness(server) <= loop_now(list->loop))
        server_close(server, "server idle timeout", NULL);
    else
        server_set_idle(server); /* another of its pool was closed for its age just now, or a
                                    setting has changed */
}

bool server_set_init(struct server_set *set)
{
    TAILQ_INIT(&set->servers);
    TAILQ_INIT(&set->cancels);
    TAILQ_INIT(&set->waiting_cancels);
    TAILQ_INIT(&set->lookups);
    TAILQ_INIT(&set->listenings);
    TAILQ_INIT(&set->boards);
    deadline_list_init(&set->connect_deadlines, set->loop, connect_expired, set);
    deadline_list_init(&set->idle_deadlines, set->loop, idle_expired, set);
    deadline_list_init(&set->cancel_deadlines, set->loop, server_cancel_expired, set);
    deadline_list_init(&set->recovery_deadlines, set->loop, server_recovery_expired, set);
    deadline_list_init(&set->lookup_deadlines, set->loop, lookup_expired, set);
    peer_forward_init(set);
    deadline_list_init(&set->listening_deadlines, set->loop, listening_expired, set);
    return true;
}

void server_set_finish(struct server_set *set)
{
    struct server *server;
    set->is_shutting_down = true;
    lookup_finish_all(set);
    listening_finish_all(set);
    while ((server = TAILQ_FIRST(&set->servers))) {
        server_close(server, "server shutting down", NULL);
        if (server->state != SERVER_CLOSED)
            server_closing_expired(server);
    }
    server_cancel_finish(set);
    peer_forward_finish(set);
    deadline_list_finish(&set->connect_deadlines);
    deadline_list_finish(&set->idle_deadlines);
    deadline_list_finish(&set->cancel_deadlines);
    deadline_list_finish(&set->recovery_deadlines);
    deadline_list_finish(&set->lookup_deadlines);
    deadline_list_finish(&set->listening_deadlines);
}

void server_set_idle(struct server *server)
{
    usec_t idle = end_of_idleness(server), life = end_of_life(server);
    usec_t at = idle < life ? idle : life;
    if (at != INT64_MAX)
        deadline_set(&server->set->idle_deadlines, &server->deadline, at);
}

void server_set_not_idle(struct server *server)
{
    if (server->deadline.list == &server->set->idle_deadlines)
        deadline_clear(&server->deadline);
}

/* server_fast_close: in session mode, between two transactions. */
static bool may_close_fast(const struct server *server)
{
    return server->set->config->settings.server_fast_close && server->is_session_owners &&
           server->state == SERVER_ACTIVE && server_is_clean(server);
}

/* Its client has no other: it is told why. */
static void close_outdated(struct server *server)
{
    struct error why;
    error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "database configuration changed");
    server_close(server, "database configuration changed", &why);
}

/* Its host's name does not lead to its address any more (COMPAT 9.11). Of a list of hosts one stays
 * as long as it works. */
static bool has_lost_address(struct server *server, uint64_t losses)
{
    if (server->losses_seen == losses)
        return false;
    server->losses_seen = losses;
    return server->host && server->database->host_count == 1 && server->address.size > 0 &&
           resolver_has_lost(server->set->resolver, server->host, &server->address);
}

static void outdate(struct server *server)
{
    log_info(&server->subject, "%s does not lead to this address any more", server->host);
    pool_member_outdate(&server->member);
}

void server_set_sweep(struct server_set *set)
{
    struct server *server, *next;
    uint64_t losses = resolver_losses(set->resolver);
    for (server = TAILQ_FIRST(&set->servers); server; server = next) {
        next = TAILQ_NEXT(server, link);
        if (atomic_load(&server->member.pool->is_draining)) {
            if (server->state == SERVER_IDLE || server->login || server->is_listening)
                server_close(server, "server shutting down", NULL);
            continue;
        }
        if (atomic_load(&server->member.pool->is_paused)) {
            if (server->state == SERVER_IDLE || server->login || server->is_listening)
                server_close(server, "pause mode", NULL);
            continue;
        }
        if (has_lost_address(server, losses))
            outdate(server);
        if (pool_member_is_current(&server->member))
            continue;
        if (server->state == SERVER_IDLE || server->is_listening)
            server_close(server, "database configuration changed", NULL);
        else if (server->owner && (server->is_dedicated || may_close_fast(server)))
            close_outdated(server);
        else if (server->login)
            server_close(server, "connect string changed", NULL);
    }
}

void server_set_kill_database(struct server_set *set, const char *name)
{
    struct server *server, *next;
    for (server = TAILQ_FIRST(&set->servers); server; server = next) {
        next = TAILQ_NEXT(server, link);
        if (!name || strcmp(server->member.pool->key, name) == 0)
            server_kill(server, "database removed");
    }
}

int server_set_unsent(struct server_set *set, bool close)
{
    struct server *server, *next;
    int unsent = 0;
    for (server = TAILQ_FIRST(&set->servers); server; server = next) {
        next = TAILQ_NEXT(server, link);
        if (server->login || server->state == SERVER_CLOSING || stream_is_flushed(&server->stream))
            continue;
        unsent++;
        if (close)
            server_close(server, "suspend_timeout", NULL);
    }
    return unsent;
}

/* -- orders to other workers
 * -----------------------------------------------------------------------------------------------
 */

struct order {
    struct mail mail;
    struct server_set *set;
    enum pool_order order;
    struct pool *pool; /* a reference */
    struct error why;
    bool is_refusal;
};

static void give(struct server_set *set, struct pool *pool)
{
    struct pool_member *member = pool_give(pool, set->worker);
    struct pool_advice advice = {.order = POOL_NOTHING};
    if (member) {
        struct server *server = server_of_member(member);
        server_set_not_idle(server);
        if (server_is_stale(server))
            server_check(server);
        else
            server_release(server);
        return;
    }
    pool_reconsider(pool, loop_now(set->loop), &advice);
    if (advice.order == POOL_ASK &&
        advice.worker == set->worker) { /* this one has none to give: upkeep looks again */
        pool_release_reference(advice.pool);
        return;
    }
    server_follow(set, &advice);
}

static void evict(struct server_set *set, struct pool *pool)
{
    struct pool_member *member = pool_take_idle(pool, set->worker);
    if (member)
        server_close(server_of_member(member), "evicted", NULL);
}

/* Opens one, and others where the pool wants more at once. */
static void open_some(struct server_set *set, struct pool *pool)
{
    struct pool_advice advice = {.order = POOL_NOTHING};
    uint64_t opened;
    do {
        opened = set->opened;
        server_open(set, pool);
        if (set->opened == opened)
            return; /* no memory: not tried again in circles */
        pool_reconsider(pool, loop_now(set->loop), &advice);
        if (advice.order != POOL_OPEN || advice.worker != set->worker || advice.pool != pool)
            break;
        pool_release_reference(pool); /* the advice's; the caller has one */
    } while (true);
    server_follow(set, &advice);
}

/* At shutdown no place is used: it is given back, and whoever gets it gives it back, too. */
static void give_back(enum pool_order order, struct pool *pool)
{
    struct pool_advice advice;
    pool_order_abandoned(pool, order, &advice);
    if (advice.order != POOL_NOTHING)
        pool_release_reference(advice.pool);
}

static void obey(struct server_set *set, enum pool_order order, struct pool *pool)
{
    if (set->is_shutting_down && (order == POOL_OPEN || order == POOL_DEDICATE)) {
        give_back(order, pool);
        return;
    }
    switch (order) {
    case POOL_NOTHING:
        break;
    case POOL_OPEN:
        open_some(set, pool);
        break;
    case POOL_DEDICATE:
        server_dedicated_place(set, pool);
        break;
    case POOL_ASK:
        give(set, pool);
        break;
    case POOL_EVICT:
        evict(set, pool);
        break;
    }
    pool_release_reference(pool);
}

static void deliver(struct mail *mail, struct loop *loop)
{
    struct order *order = (struct order *)((char *)mail - offsetof(struct order, mail));
    (void)loop;
    if (order->is_refusal) {
        pool_refuse_waiters(order->pool, order->set->worker, &order->why);
        pool_release_reference(order->pool);
    } else {
        obey(order->set, order->order, order->pool);
    }
    memory_free(order);
}

void server_set_order(struct server_set *set, enum pool_order order, int worker, struct pool *pool)
{
    if (worker == set->worker) {
        obey(set, order, pool);
        return;
    }
    struct order *sent = memory_zalloc(sizeof(*sent));
    if (!sent) {
        struct pool_advice advice;
        pool_order_abandoned(pool, order, &advice);
        pool_release_reference(pool);
        server_follow(set, &advice);
        return;
    }
    *sent = (struct order){
        .mail.deliver = deliver, .set = set->siblings[worker], .order = order, .pool = pool};
    loop_post(sent->set->loop, &sent->mail);
}

void server_set_refuse_all(struct server_set *set, struct pool *pool, const struct error *why)
{
    for (int worker = 0; worker < set->worker_count; worker++) {
        if (worker == set->worker)
            continue;
        struct order *sent = memory_zalloc(sizeof(*sent));
        if (!sent)
            continue; /* they wait on, and are told by the next failure */
        *sent = (struct order){
            .mail.deliver = deliver, .set = set->siblings[worker], .why = *why, .is_refusal = true};
        sent->pool = pool_acquire_reference(pool);
        loop_post(sent->set->loop, &sent->mail);
    }
    pool_refuse_waiters(pool, set->worker, why);
}
