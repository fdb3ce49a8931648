#include <assert.h>

#include "base/clock.h"
#include "pool/wish.h"
#include "pool_private.h"

/* ---- the list. Under the mutex ---- */

static void insert(struct pool *pool, struct pool_wish *wish)
{
    struct pool_wish *before = TAILQ_LAST(&pool->wishes, pool_wishes);

    while (before != NULL && before->since > wish->since)
        before = TAILQ_PREV(before, pool_wishes, link);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&pool->wishes, before, wish, link);
    else
        TAILQ_INSERT_HEAD(&pool->wishes, wish, link);
}

static void unlink_wish(struct pool *pool, struct pool_wish *wish)
{
    TAILQ_REMOVE(&pool->wishes, wish, link);
    wish->pool = NULL;
}

static void change_wished(struct pool *pool, int difference)
{
    atomic_fetch_add(&pool->wished, difference);
    pool_publish_size(pool);
}

static struct pool_wish *first_without_place(const struct pool *pool)
{
    struct pool_wish *wish;

    TAILQ_FOREACH (wish, &pool->wishes, link)
        if (!wish->is_promised)
            return wish;
    return NULL;
}

/* What an ordinary login was answered says nothing of a replication's: only a server that cannot be
 * reached is given a pause. */
static bool is_in_pause(const struct pool *pool, usec_t now)
{
    return pool->failure == POOL_FAILURE_PASSING && now < pool->retry_at;
}

/* ---- for growth. Under the mutex ---- */

bool pool_wishes_may_open(struct pool *pool, usec_t now)
{
    return atomic_load(&pool->wished) > 0 && pool->size < atomic_load(&pool->published_limit) &&
           !is_in_pause(pool, now) && !atomic_load(&pool->is_paused) &&
           !atomic_load(&pool->is_draining);
}

bool pool_wishes_need_room(struct pool *pool)
{
    int wished = atomic_load(&pool->wished);

    return wished > 0 && pool->size - pool->surplus + wished > atomic_load(&pool->published_limit);
}

int pool_wishes_promise(struct pool *pool)
{
    struct pool_wish *wish = first_without_place(pool);

    assert(wish != NULL);
    wish->is_promised = true;
    pool->size++;
    pool->dedicated++;
    change_wished(pool, -1);
    return wish->worker;
}

/* ---- doors ---- */

void pool_wish_make(struct pool *pool, struct pool_wish *wish, int worker, usec_t since, usec_t now,
                    struct pool_advice *advice)
{
    const struct pool_need need = {.now = now, .worker = -1};

    *wish = (struct pool_wish){.pool = pool, .worker = worker, .since = since};
    (void)pthread_mutex_lock(&pool->mutex);
    insert(pool, wish);
    change_wished(pool, 1);
    pool_advise(pool, &need, advice);
}

void pool_wish_leave(struct pool_wish *wish, usec_t now, struct pool_advice *advice)
{
    const struct pool_need need = {.now = now, .worker = -1};
    struct pool *pool = wish->pool;

    advice->order = POOL_NOTHING;
    if (pool == NULL)
        return;
    (void)pthread_mutex_lock(&pool->mutex);
    if (!wish->is_promised)
        change_wished(pool, -1);
    unlink_wish(pool, wish);
    pool_advise(pool, &need, advice);
    if (atomic_load(&pool->is_blocked))
        limits_forget(pool->limits, pool);
}

struct pool_wish *pool_wish_take(struct pool *pool, int worker)
{
    struct pool_wish *wish;

    (void)pthread_mutex_lock(&pool->mutex);
    TAILQ_FOREACH (wish, &pool->wishes, link)
        if (wish->is_promised && wish->worker == worker)
            break;
    if (wish != NULL)
        unlink_wish(pool, wish);
    (void)pthread_mutex_unlock(&pool->mutex);
    return wish;
}

void pool_dedicated_abandoned(struct pool *pool, struct pool_advice *advice)
{
    advice->order = POOL_NOTHING;
    (void)pthread_mutex_lock(&pool->mutex);
    pool->size--;
    pool->dedicated--;
    pool_publish_size(pool);
    (void)pthread_mutex_unlock(&pool->mutex);
    pool_pass_slot_on(pool, clock_monotonic(), advice);
}

void pool_dedicated_init(struct pool *pool, struct pool_member *member, int worker, usec_t now)
{
    *member = (struct pool_member){
        .pool = pool_acquire_reference(pool),
        .state = MEMBER_LENT,
        .worker = worker,
        .opened_at = now,
        .is_dedicated = true,
    };
    (void)pthread_mutex_lock(&pool->mutex);
    member->epoch = atomic_load(&pool->epoch);
    pool->current++;
    (void)pthread_mutex_unlock(&pool->mutex);
}
