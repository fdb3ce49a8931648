#include "pool/limits.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "base/table.h"
#include "pool/pool.h"

TAILQ_HEAD(limits_shares, limits_share);

/* One name's servers. */
struct limit {
    UT_hash_handle hh; /* by name */
    char *name;
    int references;               /* pools that have a share */
    int count;                    /* slots in use, reservations too */
    int coming;                   /* those that were called back and are being closed */
    struct limits_shares holders; /* pools with a slot */
    struct limits_shares blocked; /* pools that wait for one, in order of asking */
};

struct limits {
    pthread_mutex_t mutex;
    struct limit *tables[LIMIT_KINDS];
    uint64_t last_asked;
    _Atomic int blocked; /* pools; read without the mutex, seq_cst, before a member goes idle */
};

/* ---- life ---- */

struct limits *limits_create(void)
{
    struct limits *limits = memory_zalloc(sizeof *limits);

    if (limits != NULL)
        (void)pthread_mutex_init(&limits->mutex, NULL);
    return limits;
}

static void destroy_limit(struct limit *limit)
{
    memory_free(limit->name);
    memory_free(limit);
}

void limits_destroy(struct limits *limits)
{
    struct limit *limit, *next;

    if (limits == NULL)
        return;
    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        HASH_ITER (hh, limits->tables[kind], limit, next) {
            HASH_DEL(limits->tables[kind], limit);
            destroy_limit(limit);
        }
    }
    (void)pthread_mutex_destroy(&limits->mutex);
    memory_free(limits);
}

/* ---- one limit. All that follows is under the mutex ---- */

static struct limit *find_limit(struct limits *limits, int kind, const char *name)
{
    struct limit *limit;

    HASH_FIND(hh, limits->tables[kind], name, strlen(name), limit);
    return limit;
}

static struct limit *create_limit(struct limits *limits, int kind, const char *name)
{
    struct limit *limit = memory_zalloc(sizeof *limit);

    if (limit == NULL)
        return NULL;
    TAILQ_INIT(&limit->holders);
    TAILQ_INIT(&limit->blocked);
    limit->name = memory_strdup(name);
    if (limit->name != NULL) {
        HASH_ADD_KEYPTR(hh, limits->tables[kind], limit->name, strlen(limit->name), limit);
        if (TABLE_ADDED(limit))
            return limit;
    }
    destroy_limit(limit);
    return NULL;
}

static void drop_limit(struct limits *limits, int kind, struct limit *limit)
{
    if (limit == NULL || --limit->references > 0)
        return;
    assert(limit->count == 0);
    HASH_DEL(limits->tables[kind], limit);
    destroy_limit(limit);
}

/* Gives the pool its shares, at its first reservation. */
static bool attach(struct limits *limits, struct pool *pool)
{
    const char *names[LIMIT_KINDS] = {[LIMIT_DATABASE] = pool->key, [LIMIT_USER] = pool->user_name};

    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        struct limits_share *share = &pool->place.shares[kind];
        struct limit *limit = share->limit;

        if (limit != NULL)
            continue;
        limit = find_limit(limits, kind, names[kind]);
        if (limit == NULL)
            limit = create_limit(limits, kind, names[kind]);
        if (limit == NULL)
            return false;
        limit->references++;
        share->limit = limit;
        share->pool = pool;
    }
    return true;
}

/* ---- slots ---- */

static bool is_full(const struct limits_share *share)
{
    return share->max > 0 && share->limit->count >= share->max;
}

static bool fits(const struct limits_place *place)
{
    return !is_full(&place->shares[LIMIT_DATABASE]) && !is_full(&place->shares[LIMIT_USER]);
}

static void take_slot(struct limits_place *place)
{
    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        struct limits_share *share = &place->shares[kind];

        share->limit->count++;
        if (place->slots == 0)
            TAILQ_INSERT_TAIL(&share->limit->holders, share, holder_link);
    }
    place->slots++;
}

static void give_slot(struct limits_place *place)
{
    bool was_called_back = place->coming > 0;

    assert(place->slots > 0);
    place->slots--;
    place->coming -= was_called_back;
    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        struct limits_share *share = &place->shares[kind];

        share->limit->count--;
        share->limit->coming -= was_called_back;
        if (place->slots == 0)
            TAILQ_REMOVE(&share->limit->holders, share, holder_link);
    }
}

/* ---- who is blocked ---- */

/* The line holds a reference to each pool in it. */
static void block(struct limits *limits, struct pool *pool)
{
    struct limits_place *place = &pool->place;

    if (atomic_load(&pool->is_blocked))
        return;
    pool_acquire_reference(pool);
    place->asked = ++limits->last_asked;
    for (int kind = 0; kind < LIMIT_KINDS; kind++)
        TAILQ_INSERT_TAIL(&place->shares[kind].limit->blocked, &place->shares[kind], blocked_link);
    atomic_fetch_add(&limits->blocked, 1);
    atomic_store(&pool->is_blocked, true);
}

/* The line's reference is the caller's now. */
static void unblock(struct limits *limits, struct pool *pool)
{
    struct limits_place *place = &pool->place;

    for (int kind = 0; kind < LIMIT_KINDS; kind++)
        TAILQ_REMOVE(&place->shares[kind].limit->blocked, &place->shares[kind], blocked_link);
    atomic_fetch_sub(&limits->blocked, 1);
    atomic_store(&pool->is_blocked, false);
}

/* The oldest that fits among those that wait for a slot such as `place` has just given. */
static struct pool *next_in_line(const struct limits_place *place)
{
    struct pool *oldest = NULL;

    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        struct limits_share *share;

        TAILQ_FOREACH (share, &place->shares[kind].limit->blocked, blocked_link) {
            if (!fits(&share->pool->place))
                continue;
            if (oldest == NULL || share->pool->place.asked < oldest->place.asked)
                oldest = share->pool;
            break;
        }
    }
    return oldest;
}

/* Where the member of another pool is that has been idle for longest, under a limit that is full.
 */
static struct pool *find_victim(const struct limits_place *place, int *victim_worker)
{
    int kind = is_full(&place->shares[LIMIT_DATABASE]) ? LIMIT_DATABASE : LIMIT_USER;
    const struct limits_share *own = &place->shares[kind], *share;
    struct pool *victim = NULL;
    int64_t longest = INT64_MAX;

    TAILQ_FOREACH (share, &own->limit->holders, holder_link) {
        for (int worker = 0; share != own && worker < share->pool->worker_count; worker++) {
            struct pool_shard *shard = &share->pool->shards[worker];
            int64_t since;

            if (atomic_load(&shard->idle_count) <= 0)
                continue;
            since = atomic_load_explicit(&shard->oldest_idle, memory_order_relaxed);
            if (since == 0 || since >= longest)
                continue;
            longest = since;
            victim = share->pool;
            *victim_worker = worker;
        }
    }
    return victim;
}

/* ---- doors ---- */

static void read_limits(struct pool *pool, int max[LIMIT_KINDS])
{
    (void)pthread_mutex_lock(&pool->mutex);
    max[LIMIT_DATABASE] = pool->effective.max_db_connections;
    max[LIMIT_USER] = pool->effective.max_user_connections;
    (void)pthread_mutex_unlock(&pool->mutex);
}

static void set_limits(struct pool *pool, const int max[LIMIT_KINDS])
{
    for (int kind = 0; kind < LIMIT_KINDS; kind++)
        pool->place.shares[kind].max = max[kind];
}

enum limits_verdict limits_reserve(struct limits *limits, struct pool *pool, struct pool **victim,
                                   int *victim_worker)
{
    enum limits_verdict verdict = LIMITS_NO_MEMORY;
    bool left_the_line = false;
    int max[LIMIT_KINDS];

    *victim = NULL;
    read_limits(pool, max);
    (void)pthread_mutex_lock(&limits->mutex);
    if (attach(limits, pool)) {
        set_limits(pool, max);
        if (fits(&pool->place)) {
            verdict = LIMITS_RESERVED;
            left_the_line = atomic_load(&pool->is_blocked);
            if (left_the_line)
                unblock(limits, pool);
            take_slot(&pool->place);
        } else {
            verdict = LIMITS_BLOCKED;
            block(limits, pool);
            *victim = find_victim(&pool->place, victim_worker);
            if (*victim != NULL)
                pool_acquire_reference(*victim);
        }
    }
    (void)pthread_mutex_unlock(&limits->mutex);
    if (left_the_line)
        pool_release_reference(pool);
    return verdict;
}

enum limits_verdict limits_stand_in_line(struct limits *limits, struct pool *pool)
{
    int max[LIMIT_KINDS];
    bool is_attached;

    read_limits(pool, max);
    (void)pthread_mutex_lock(&limits->mutex);
    is_attached = attach(limits, pool);
    if (is_attached) {
        set_limits(pool, max);
        block(limits, pool);
    }
    (void)pthread_mutex_unlock(&limits->mutex);
    return is_attached ? LIMITS_BLOCKED : LIMITS_NO_MEMORY;
}

struct pool *limits_release(struct limits *limits, struct pool *pool)
{
    struct pool *next;

    (void)pthread_mutex_lock(&limits->mutex);
    give_slot(&pool->place);
    next = next_in_line(&pool->place);
    if (next != NULL) {
        unblock(limits, next);
        take_slot(&next->place);
    }
    (void)pthread_mutex_unlock(&limits->mutex);
    return next;
}

/* A waiter that comes meanwhile either finds the pool out of the line, and asks; or it began to
 * wait before the second look here. */
void limits_forget(struct limits *limits, struct pool *pool)
{
    bool left_the_line = false;

    (void)pthread_mutex_lock(&limits->mutex);
    if (atomic_load(&pool->is_blocked)) {
        atomic_store(&pool->is_blocked, false);
        left_the_line = atomic_load(&pool->waiting) == 0 && atomic_load(&pool->wished) == 0;
        if (left_the_line)
            unblock(limits, pool);
        else
            atomic_store(&pool->is_blocked, true);
    }
    (void)pthread_mutex_unlock(&limits->mutex);
    if (left_the_line)
        pool_release_reference(pool);
}

/* Does a blocked pool need more slots of this limit than are coming back already? Also when nobody
 * waits in it at the moment: who comes next relies on its place in the line, and asks for nothing.
 */
static bool needs_another(const struct limits_share *own)
{
    const struct limit *limit = own->limit;
    const struct limits_share *share;
    int ahead = 0;

    TAILQ_FOREACH (share, &limit->blocked, blocked_link) {
        if (share->pool == own->pool || share->max == 0)
            continue;
        if (limit->count - limit->coming + ahead >= share->max)
            return true;
        ahead++;
    }
    return false;
}

bool limits_wants_back(struct limits *limits, struct pool *pool)
{
    bool wanted = false;

    if (__builtin_expect(atomic_load(&limits->blocked) == 0, true))
        return false;
    (void)pthread_mutex_lock(&limits->mutex);
    if (pool->place.coming < pool->place.slots) {
        for (int kind = 0; kind < LIMIT_KINDS; kind++)
            wanted = wanted || needs_another(&pool->place.shares[kind]);
    }
    if (wanted) {
        pool->place.coming++;
        for (int kind = 0; kind < LIMIT_KINDS; kind++)
            pool->place.shares[kind].limit->coming++;
    }
    (void)pthread_mutex_unlock(&limits->mutex);
    return wanted;
}

void limits_detach(struct limits *limits, struct pool *pool)
{
    (void)pthread_mutex_lock(&limits->mutex);
    assert(pool->place.slots == 0);
    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        drop_limit(limits, kind, pool->place.shares[kind].limit);
        pool->place.shares[kind].limit = NULL;
    }
    (void)pthread_mutex_unlock(&limits->mutex);
}

static int count_of(struct limits *limits, int kind, const char *name)
{
    struct limit *limit;
    int count;

    (void)pthread_mutex_lock(&limits->mutex);
    limit = find_limit(limits, kind, name);
    count = limit != NULL ? limit->count : 0;
    (void)pthread_mutex_unlock(&limits->mutex);
    return count;
}

int limits_database_count(struct limits *limits, const char *database)
{
    return count_of(limits, LIMIT_DATABASE, database);
}

int limits_user_count(struct limits *limits, const char *user)
{
    return count_of(limits, LIMIT_USER, user);
}
