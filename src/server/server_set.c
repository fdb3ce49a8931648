#include <string.h>

#include "base/memory.h"
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
        server_close(server, "reset query failed", NULL);
}

/* The entry's own, or the global one. */
static usec_t lifetime_of(const struct server *server)
{
    usec_t own = server->database->server_lifetime;
    return own > 0 ? own : server->set->config->settings.server_lifetime;
}

bool server_is_for_one_use(const struct server *server)
{
    return lifetime_of(server) == 0;
}

static bool is_over_age(const struct server *server, usec_t now)
{
    usec_t lifetime = lifetime_of(server);
    return lifetime > 0 && now - server->connect_time >= lifetime;
}

static void idle_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct server *server = server_of_deadline(deadline);
    usec_t now = loop_now(list->loop);
    if (server->state != SERVER_IDLE)
        return;
    server_close(server, is_over_age(server, now) ? "server lifetime over" : "server idle timeout",
                 NULL);
}

bool server_set_init(struct server_set *set)
{
    TAILQ_INIT(&set->servers);
    deadline_list_init(&set->connect_deadlines, set->loop, connect_expired, set);
    deadline_list_init(&set->idle_deadlines, set->loop, idle_expired, set);
    deadline_list_init(&set->cancel_deadlines, set->loop, server_cancel_expired, set);
    return true;
}

void server_set_finish(struct server_set *set)
{
    struct server *server;
    set->is_shutting_down = true;
    server_cancel_all(set);
    while ((server = TAILQ_FIRST(&set->servers))) {
        server_close(server, "server shutting down", NULL);
        if (server->state != SERVER_CLOSED)
            server_closing_expired(server);
    }
    deadline_list_finish(&set->connect_deadlines);
    deadline_list_finish(&set->idle_deadlines);
    deadline_list_finish(&set->cancel_deadlines);
}

void server_set_idle(struct server *server)
{
    struct server_set *set = server->set;
    usec_t now = loop_now(set->loop);
    usec_t idle = set->config->settings.server_idle_timeout;
    usec_t life = lifetime_of(server);
    usec_t at = idle > 0 ? now + idle : INT64_MAX;
    if (life > 0 && server->connect_time + life < at)
        at = server->connect_time + life > now ? server->connect_time + life : now + 1;
    if (at != INT64_MAX)
        deadline_set(&set->idle_deadlines, &server->deadline, at);
}

void server_set_not_idle(struct server *server)
{
    if (server->deadline.list == &server->set->idle_deadlines)
        deadline_clear(&server->deadline);
}

void server_set_sweep(struct server_set *set)
{
    struct server *server, *next;
    for (server = TAILQ_FIRST(&set->servers); server; server = next) {
        next = TAILQ_NEXT(server, link);
        if (server->state == SERVER_IDLE && !pool_member_is_current(&server->member))
            server_close(server, "database configuration changed", NULL);
    }
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
        server_release(server);
        return;
    }
    pool_reconsider(pool, loop_now(set->loop), &advice);
    if (advice.order == POOL_ASK &&
        advice.worker == set->worker) { /* nobody has one to give: not asked round in circles,
                                           upkeep looks again */
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

static void obey(struct server_set *set, enum pool_order order, struct pool *pool)
{
    struct pool_advice advice = {.order = POOL_NOTHING}; /* at shutdown nobody follows it */
    switch (order) {
    case POOL_NOTHING:
        break;
    case POOL_OPEN:
        if (set->is_shutting_down)
            pool_open_abandoned(pool, &advice);
        else
            server_open(set, pool);
        break;
    case POOL_ASK:
        give(set, pool);
        break;
    case POOL_EVICT:
        evict(set, pool);
        break;
    }
    if (advice.order != POOL_NOTHING)
        pool_release_reference(advice.pool);
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
        struct pool_advice advice = {.order = POOL_NOTHING};
        if (order == POOL_OPEN)
            pool_open_abandoned(pool, &advice);
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
