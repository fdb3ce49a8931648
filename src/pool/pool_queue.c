#include <assert.h>

#include "pool_private.h"

/* Where a waiter stands. Always in the list of its own shard. In the pool's list too, unless its
 * worker is the only home: then all members become free on this very worker, and the mutex is not
 * needed ("local-only"). When a second worker joins, the local-only waiters are registered by their
 * own worker, which is asked for that (find_unregistered in pool_growth.c).
 *
 * No wake-up is lost, by three pairs, all seq_cst:
 *   waiter: remote_waiters++, then looks at idle counts;  releaser: stores the count, then looks at
 *   remote_waiters.
 *   waiter: waiting++, then "is it full?";  who ends a member: publishes the size, then looks at
 *   waiting.
 *   waiter: waiting++, then "am I alone?";  newcomer on another worker: adds its home, then
 * compares waiting with remote_waiters. */

static bool is_alone(struct pool *pool, int worker)
{
    return atomic_load(&pool->homes) == worker_bit(worker);
}

static bool is_full(struct pool *pool)
{
    return atomic_load(&pool->published_size) >= atomic_load(&pool->published_limit);
}

/* Written by one thread, read by others. */
static void add_local_only(struct pool_shard *shard, int difference)
{
    int count = atomic_load_explicit(&shard->local_only, memory_order_relaxed);

    atomic_store_explicit(&shard->local_only, count + difference, memory_order_relaxed);
}

/* ---- into the lists and out of them ---- */

static void publish_first(struct pool_shard *shard)
{
    struct pool_waiter *first = TAILQ_FIRST(&shard->waiters);

    atomic_store_explicit(&shard->oldest_waiter, first != NULL ? first->since : 0,
                          memory_order_relaxed);
}

static void link_local(struct pool *pool, struct pool_waiter *waiter)
{
    struct pool_shard *shard = &pool->shards[waiter->worker];

    waiters_insert_local(&shard->waiters, waiter);
    waiter->in_local = true;
    waiter->is_local_only = true;
    shard->waiter_count++;
    publish_first(shard);
    add_local_only(shard, 1);
    atomic_store_explicit(&waiter->state, WAITER_QUEUED, memory_order_release);
    atomic_fetch_add(&pool->waiting, 1);
}

static void unlink_local(struct pool *pool, struct pool_waiter *waiter)
{
    struct pool_shard *shard;

    if (!waiter->in_local)
        return;
    shard = &pool->shards[waiter->worker];
    TAILQ_REMOVE(&shard->waiters, waiter, local_link);
    waiter->in_local = false;
    shard->waiter_count--;
    publish_first(shard);
    if (waiter->is_local_only)
        add_local_only(shard, -1);
}

/* Under the mutex. */
static void publish_oldest(struct pool *pool)
{
    struct pool_waiter *first = TAILQ_FIRST(&pool->remote);

    atomic_store_explicit(&pool->oldest_remote, first != NULL ? first->since : INT64_MAX,
                          memory_order_relaxed);
}

/* Under the mutex, by who claimed the waiter. */
static void unlink_remote(struct pool *pool, struct pool_waiter *waiter)
{
    TAILQ_REMOVE(&pool->remote, waiter, remote_link);
    waiter->in_remote = false;
    atomic_fetch_sub(&pool->remote_waiters, 1);
    publish_oldest(pool);
}

void pool_register_waiters(struct pool *pool, int worker)
{
    struct pool_shard *shard = &pool->shards[worker];
    struct pool_waiter *waiter;

    if (atomic_load_explicit(&shard->local_only, memory_order_relaxed) == 0 ||
        is_alone(pool, worker))
        return;
    TAILQ_FOREACH (waiter, &shard->waiters, local_link) {
        if (!waiter->is_local_only)
            continue;
        waiter->is_local_only = false;
        waiter->in_remote = true;
        waiters_insert_remote(&pool->remote, waiter);
        atomic_fetch_add(&pool->remote_waiters, 1);
    }
    atomic_store_explicit(&shard->local_only, 0, memory_order_relaxed);
    publish_oldest(pool);
}

/* Without locks. Nobody is left to wait: then the pool does not stand in line at limits either, or
 * others would close idle members for it. */
static void count_off(struct pool *pool)
{
    if (atomic_fetch_sub(&pool->waiting, 1) == 1 && atomic_load(&pool->is_blocked))
        limits_forget(pool->limits, pool);
}

/* This worker's own waiter, claimed by this worker: out of all lists. */
static void unlink_claimed(struct pool *pool, struct pool_waiter *waiter)
{
    bool is_registered = !waiter->is_local_only;

    unlink_local(pool, waiter);
    count_off(pool);
    if (!is_registered)
        return;
    (void)pthread_mutex_lock(&pool->mutex);
    unlink_remote(pool, waiter);
    (void)pthread_mutex_unlock(&pool->mutex);
}

/* The oldest of this worker that nobody has claimed; claimed ones are taken off on the way. */
static struct pool_waiter *first_local(struct pool *pool, struct pool_shard *shard)
{
    struct pool_waiter *waiter;

    while ((waiter = TAILQ_FIRST(&shard->waiters)) != NULL && !waiter_is_queued(waiter))
        unlink_local(pool, waiter);
    return waiter;
}

static void take_refused(struct pool *pool, struct pool_waiter *waiter)
{
    TAILQ_REMOVE(&pool->shards[waiter->worker].refused, waiter, local_link);
    waiter->in_refused = false;
}

/* ---- waiting ---- */

/* Under the mutex, which it releases. */
static void look_around(struct pool *pool, const struct pool_need *need, struct pool_advice *advice)
{
    pool->last_active = need->now;
    pool_register_waiters(pool, need->worker);
    pool_advise(pool, need, advice);
}

/* Nothing but a release on this worker can help, and none is idle here: the mutex is not needed. */
static bool can_wait_here(struct pool *pool, int worker)
{
    return is_alone(pool, worker) && is_full(pool) && TAILQ_EMPTY(&pool->shards[worker].idle);
}

static void begin_wait(struct pool_waiter *waiter, struct pool *pool, int worker, usec_t now)
{
    assert(atomic_load_explicit(&waiter->state, memory_order_relaxed) == WAITER_NONE);
    waiter->worker = worker;
    waiter->pool = pool;
    if (waiter->is_over || waiter->since == 0)
        waiter->since = now;
    waiter->is_over = false;
    if ((atomic_load(&pool->homes) & worker_bit(worker)) == 0)
        atomic_fetch_or(&pool->homes, worker_bit(worker));
}

/* In both of its doors, for one of them is where each transaction of a busy pool comes in. */
static inline __attribute__((always_inline)) enum pool_verdict
queue(struct pool *pool, struct pool_waiter *waiter, const struct pool_need *need,
      struct pool_advice *advice, struct error *error)
{
    begin_wait(waiter, pool, need->worker, need->now);
    if (can_wait_here(pool, need->worker)) {
        link_local(pool, waiter);
        if (can_wait_here(pool, need->worker))
            return POOL_WAIT;
        (void)pthread_mutex_lock(&pool->mutex);
    } else {
        (void)pthread_mutex_lock(&pool->mutex);
        if (pool_refuses(pool, need->now, error)) {
            (void)pthread_mutex_unlock(&pool->mutex);
            waiter->is_over = true;
            waiter->pool = NULL;
            return POOL_REFUSED;
        }
        link_local(pool, waiter);
    }
    look_around(pool, need, advice);
    return POOL_WAIT;
}

enum pool_verdict pool_wait(struct pool *pool, int worker, struct pool_waiter *waiter, usec_t now,
                            struct pool_advice *advice, struct error *error)
{
    const struct pool_need need = {.now = now, .worker = worker, .is_arrival = true};

    return queue(pool, waiter, &need, advice, error);
}

enum pool_verdict pool_wait_for_check(struct pool *pool, int worker, struct pool_waiter *waiter,
                                      usec_t now, struct pool_advice *advice, struct error *error)
{
    const struct pool_need need = {.now = now, .worker = worker};

    return queue(pool, waiter, &need, advice, error);
}

void pool_grant_failed(struct pool *pool, struct pool_waiter *waiter, usec_t now,
                       struct pool_advice *advice)
{
    const struct pool_need need = {.now = now, .worker = waiter->worker};

    advice->order = POOL_NOTHING;
    assert(atomic_load_explicit(&waiter->state, memory_order_relaxed) == WAITER_GRANTED);
    unlink_local(pool, waiter); /* left there when another worker claimed it */
    if (atomic_load(&pool->is_draining)) {
        struct error why;

        error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "server shutting down");
        atomic_store_explicit(&waiter->state, WAITER_GONE, memory_order_relaxed);
        waiter->refused(waiter, &why);
        return;
    }
    (void)pthread_mutex_lock(&pool->mutex);
    link_local(pool, waiter);
    look_around(pool, &need, advice);
}

bool pool_waiter_leave(struct pool_waiter *waiter)
{
    if (atomic_load_explicit(&waiter->state, memory_order_relaxed) == WAITER_NONE)
        return true;
    if (waiter->in_refused)
        take_refused(waiter->pool, waiter);
    else if (waiter_claim(waiter, WAITER_GONE))
        unlink_claimed(waiter->pool, waiter);
    else
        return false;
    pool_waiter_done(waiter);
    return true;
}

void pool_waiter_done(struct pool_waiter *waiter)
{
    unlink_local(waiter->pool, waiter);
    waiter->pool = NULL;
    waiter->is_over = true;
    atomic_store_explicit(&waiter->state, WAITER_NONE, memory_order_relaxed);
}

/* All are taken out before the first is told: who is told may ask again at once, and is not to be
 * refused twice; another may leave before its turn. */
void pool_refuse_waiters(struct pool *pool, int worker, const struct error *why)
{
    struct pool_shard *shard = &pool->shards[worker];
    struct pool_waiter *waiter;

    pool_acquire_reference(pool);
    while ((waiter = first_local(pool, shard)) != NULL) {
        if (!waiter_claim(waiter, WAITER_GONE))
            continue;
        unlink_claimed(pool, waiter);
        TAILQ_INSERT_TAIL(&shard->refused, waiter, local_link);
        waiter->in_refused = true;
    }
    (void)pthread_mutex_lock(&pool->mutex);
    pool->telling &= ~worker_bit(worker);
    (void)pthread_mutex_unlock(&pool->mutex);
    while ((waiter = TAILQ_FIRST(&shard->refused)) != NULL) {
        take_refused(pool, waiter);
        waiter->refused(waiter, why);
    }
    pool_release_reference(pool);
}

/* ---- granting ---- */

/* May this one be served although others wait elsewhere? */
static bool is_preferred(struct pool *pool, const struct pool_waiter *local, usec_t now)
{
    int64_t oldest;

    if (atomic_load(&pool->remote_waiters) == 0)
        return true;
    oldest = atomic_load_explicit(&pool->oldest_remote, memory_order_relaxed);
    return local->since <= oldest ||
           now - oldest < atomic_load_explicit(&pool->locality, memory_order_relaxed);
}

struct pool_waiter *pool_claim_waiter(struct pool *pool, int worker, usec_t now)
{
    struct pool_shard *shard = &pool->shards[worker];
    struct pool_waiter *waiter;

    while ((waiter = first_local(pool, shard)) != NULL && is_preferred(pool, waiter, now)) {
        if (waiter_claim(waiter, WAITER_GRANTED)) {
            unlink_claimed(pool, waiter);
            return waiter;
        }
    }
    if (waiter == NULL && atomic_load(&pool->remote_waiters) == 0)
        return NULL;
    return pool_claim_remote(pool, worker);
}

struct pool_waiter *pool_claim_remote(struct pool *pool, int worker)
{
    struct pool_waiter *waiter;

    (void)pthread_mutex_lock(&pool->mutex);
    pool_register_waiters(pool, worker);
    TAILQ_FOREACH (waiter, &pool->remote, remote_link) {
        if (waiter_claim(waiter, WAITER_GRANTED)) {
            unlink_remote(pool, waiter);
            break;
        }
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    if (waiter == NULL)
        return NULL;
    count_off(pool);
    if (waiter->worker == worker)
        unlink_local(pool, waiter);
    return waiter;
}
