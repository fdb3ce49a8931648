#include "pool/pool.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pool_private.h"

#define SERVERS_PER_HOME 10

/* ---- life ---- */

static void init_shards(struct pool *pool)
{
    for (int worker = 0; worker < pool->worker_count; worker++) {
        TAILQ_INIT(&pool->shards[worker].idle);
        TAILQ_INIT(&pool->shards[worker].waiters);
        TAILQ_INIT(&pool->shards[worker].refused);
    }
}

char *pool_key(const char *database, const char *user, enum pool_purpose purpose, size_t *size)
{
    size_t database_size = strlen(database) + 1, user_size = strlen(user) + 1;
    char *key = memory_zalloc(database_size + user_size + 1);

    if (key == NULL)
        return NULL;
    memcpy(key, database, database_size);
    memcpy(key + database_size, user, user_size);
    key[database_size + user_size] = (char)purpose;
    *size = database_size + user_size + 1;
    return key;
}

static bool set_names(struct pool *pool, const char *database, const char *user)
{
    pool->key = pool_key(database, user, pool->purpose, &pool->key_size);
    pool->user_name = memory_strdup(user);
    if (pool->key == NULL || pool->user_name == NULL) {
        memory_free(pool->key);
        memory_free(pool->user_name);
        return false;
    }
    return true;
}

struct pool *pool_create(struct limits *limits, const char *database, const char *user,
                         enum pool_purpose purpose, int worker_count, int number)
{
    size_t size = sizeof(struct pool) + (size_t)worker_count * sizeof(struct pool_shard);
    /* Shards are aligned to cache lines, which memory_zalloc does not promise. */
    struct pool *pool = aligned_alloc(_Alignof(struct pool), size);

    if (pool == NULL)
        return NULL;
    memset(pool, 0, size);
    pool->purpose = purpose;
    if (!set_names(pool, database, user)) {
        free(pool);
        return NULL;
    }
    pool->worker_count = worker_count;
    pool->number = number;
    pool->limits = limits;
    (void)pthread_mutex_init(&pool->mutex, NULL);
    TAILQ_INIT(&pool->remote);
    TAILQ_INIT(&pool->wishes);
    init_shards(pool);
    atomic_init(&pool->references, 1);
    atomic_init(&pool->oldest_remote, INT64_MAX);
    atomic_init(&pool->epoch, 1);
    return pool;
}

static void destroy(struct pool *pool)
{
    limits_detach(pool->limits, pool);
    database_release(pool->database);
    user_release(pool->user);
    user_release(pool->proven);
    pool_welcome_release(pool->welcome);
    (void)pthread_mutex_destroy(&pool->mutex);
    memory_free(pool->key);
    memory_free(pool->user_name);
    free(pool);
}

struct pool *pool_acquire_reference(struct pool *pool)
{
    atomic_fetch_add_explicit(&pool->references, 1, memory_order_relaxed);
    return pool;
}

void pool_release_reference(struct pool *pool)
{
    if (atomic_fetch_sub_explicit(&pool->references, 1, memory_order_acq_rel) == 1)
        destroy(pool);
}

/* ---- configuration ---- */

static uint64_t choose_placement(const struct pool *pool, int pool_size)
{
    int count =
        pool_size > 0 ? (pool_size + SERVERS_PER_HOME / 2) / SERVERS_PER_HOME : pool->worker_count;
    uint64_t placement = 0;

    if (count < 1)
        count = 1;
    if (count > pool->worker_count)
        count = pool->worker_count;
    /* Worker 0 accepts for all: others come first. */
    for (int i = 0; i < count; i++)
        placement |= worker_bit((pool->number + 1 + i) % pool->worker_count);
    return placement;
}

/* A few servers that are opened as they are needed. */
static void limit_servers(struct effective *effective, int most)
{
    if (effective->pool_size <= 0 || effective->pool_size > most)
        effective->pool_size = most;
    effective->min_pool_size = 0;
    effective->reserve_pool_size = 0;
}

void pool_configure(struct pool *pool, const struct config *config, struct database_entry *database,
                    struct user_entry *user)
{
    struct database_entry *old_database = pool->database;
    struct user_entry *old_user = pool->user;
    struct effective effective;
    uint64_t placement;

    const struct config_subject subject = {.database = database, .pool_user = user};
    config_effective(config, &subject, &effective);
    if (pool->purpose == POOL_OF_LOOKUPS)
        limit_servers(&effective, POOL_LOOKUP_SERVERS_MAX);
    else if (pool->purpose == POOL_OF_LISTENERS)
        limit_servers(&effective, 1);
    placement = choose_placement(pool, effective.pool_size);
    (void)pthread_mutex_lock(&pool->mutex);
    pool->database = database;
    pool->user = user;
    pool->effective = effective;
    (void)pthread_mutex_unlock(&pool->mutex);

    atomic_store(&pool->pool_mode, (int)effective.pool_mode);
    atomic_store(&pool->published_limit, effective.pool_size > 0 ? effective.pool_size : INT_MAX);
    atomic_store(&pool->published_reserve, effective.pool_size > 0 &&
                                                   config->settings.reserve_pool_timeout > 0 &&
                                                   effective.reserve_pool_size > 0
                                               ? effective.reserve_pool_size
                                               : 0);
    atomic_store(&pool->reserve_timeout, config->settings.reserve_pool_timeout);
    atomic_store(&pool->published_minimum, effective.min_pool_size);
    atomic_store(&pool->keeps_minimum, database->user != NULL);
    atomic_store(&pool->is_round_robin, config->settings.server_round_robin != 0);
    atomic_store(&pool->locality, config->settings.waiter_locality);
    atomic_store(&pool->placement, placement);
    atomic_fetch_or(&pool->homes, placement);
    if (old_database != NULL &&
        old_database->connection_fingerprint != database->connection_fingerprint)
        pool_raise_epoch(pool);
    database_release(old_database);
    user_release(old_user);
}

void pool_effective(struct pool *pool, struct effective *effective)
{
    (void)pthread_mutex_lock(&pool->mutex);
    *effective = pool->effective;
    (void)pthread_mutex_unlock(&pool->mutex);
}

struct database_entry *pool_database_acquire(struct pool *pool)
{
    struct database_entry *database;

    (void)pthread_mutex_lock(&pool->mutex);
    database = database_acquire(pool->database);
    (void)pthread_mutex_unlock(&pool->mutex);
    return database;
}

struct user_entry *pool_user_acquire(struct pool *pool)
{
    struct user_entry *user;

    (void)pthread_mutex_lock(&pool->mutex);
    user = pool->user != NULL ? user_acquire(pool->user) : NULL;
    (void)pthread_mutex_unlock(&pool->mutex);
    return user;
}

void pool_set_proven(struct pool *pool, struct user_entry *user)
{
    struct user_entry *old;

    user = user_acquire(user);
    (void)pthread_mutex_lock(&pool->mutex);
    old = pool->proven;
    pool->proven = user;
    (void)pthread_mutex_unlock(&pool->mutex);
    user_release(old);
}

void pool_offer_proven(struct pool *pool, struct user_entry *user)
{
    (void)pthread_mutex_lock(&pool->mutex);
    if (pool->proven == NULL)
        pool->proven = user_acquire(user);
    (void)pthread_mutex_unlock(&pool->mutex);
}

void pool_forget_proven(struct pool *pool, const struct user_entry *user)
{
    struct user_entry *old = NULL;

    (void)pthread_mutex_lock(&pool->mutex);
    if (pool->proven == user) {
        old = pool->proven;
        pool->proven = NULL;
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    user_release(old);
}

struct user_entry *pool_proven_acquire(struct pool *pool)
{
    struct user_entry *user;

    (void)pthread_mutex_lock(&pool->mutex);
    user = user_acquire(pool->proven);
    (void)pthread_mutex_unlock(&pool->mutex);
    return user;
}

bool pool_is_failing(struct pool *pool, struct error *error)
{
    bool fails;

    (void)pthread_mutex_lock(&pool->mutex);
    fails = pool->failure != POOL_FAILURE_NONE && pool->size - pool->dedicated <= pool->opening;
    if (fails)
        *error = pool->failure_error;
    (void)pthread_mutex_unlock(&pool->mutex);
    return fails;
}

void pool_raise_epoch(struct pool *pool)
{
    struct pool_welcome *welcome;

    (void)pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->epoch, 1);
    pool->current = 0;
    welcome = pool->welcome;
    pool->welcome = NULL;
    pool->had_success = false;
    pool->failure = POOL_FAILURE_NONE;
    pool->retry_at = 0;
    pool->retry_delay = 0;
    (void)pthread_mutex_unlock(&pool->mutex);
    pool_welcome_release(welcome);
}

/* ---- homes ---- */

int pool_choose_home(struct pool *pool)
{
    uint64_t left = atomic_load(&pool->placement);
    int chosen = 0, fewest = INT_MAX;

    for (; left != 0; left &= left - 1) {
        int worker = __builtin_ctzll(left);
        int clients = atomic_load_explicit(&pool->shards[worker].clients, memory_order_relaxed);

        if (clients < fewest) {
            chosen = worker;
            fewest = clients;
        }
    }
    return chosen;
}

void pool_client_arrived(struct pool *pool, int worker)
{
    atomic_fetch_add_explicit(&pool->shards[worker].clients, 1, memory_order_relaxed);
}

void pool_client_left(struct pool *pool, int worker)
{
    atomic_fetch_sub_explicit(&pool->shards[worker].clients, 1, memory_order_relaxed);
}

/* ---- welcome ---- */

struct pool_welcome *pool_welcome_create(const void *pairs, size_t size)
{
    struct pool_welcome *welcome = memory_zalloc(sizeof *welcome + size);

    if (welcome == NULL)
        return NULL;
    atomic_init(&welcome->references, 1);
    welcome->size = size;
    if (size > 0)
        memcpy(welcome->data, pairs, size);
    return welcome;
}

void pool_welcome_release(struct pool_welcome *welcome)
{
    if (welcome != NULL &&
        atomic_fetch_sub_explicit(&welcome->references, 1, memory_order_acq_rel) == 1)
        memory_free(welcome);
}

struct pool_welcome *pool_welcome_acquire(struct pool *pool)
{
    struct pool_welcome *welcome;

    (void)pthread_mutex_lock(&pool->mutex);
    welcome = pool->welcome;
    if (welcome != NULL)
        atomic_fetch_add_explicit(&welcome->references, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&pool->mutex);
    return welcome;
}

/* ---- the idle list of a shard ---- */

/* The count is published last, and in the one order that all threads agree on: who stores it and
 * then finds no remote waiter is seen by the waiter that comes a moment later. */
void shard_put_idle(struct pool_shard *shard, struct pool_member *member, usec_t now)
{
    int count = atomic_load_explicit(&shard->idle_count, memory_order_relaxed);

    member->state = MEMBER_IDLE;
    member->idle_since = now;
    if (TAILQ_EMPTY(&shard->idle))
        atomic_store_explicit(&shard->oldest_idle, now, memory_order_relaxed);
    TAILQ_INSERT_HEAD(&shard->idle, member, idle_link);
    atomic_store(&shard->idle_count, count + 1);
}

void shard_take_idle(struct pool_shard *shard, struct pool_member *member)
{
    int count = atomic_load_explicit(&shard->idle_count, memory_order_relaxed);

    if (TAILQ_NEXT(member, idle_link) == NULL) {
        struct pool_member *next = TAILQ_PREV(member, pool_members, idle_link);

        atomic_store_explicit(&shard->oldest_idle, next != NULL ? next->idle_since : 0,
                              memory_order_relaxed);
    }
    TAILQ_REMOVE(&shard->idle, member, idle_link);
    member->state = MEMBER_LENT;
    atomic_store_explicit(&shard->idle_count, count - 1, memory_order_release);
}

/* ---- acquire and release ---- */

/* An idle member that may be used. Those of an older epoch stay in the list, behind all others,
 * until they are closed. */
static struct pool_member *find_current(struct pool *pool, struct pool_shard *shard)
{
    uint64_t epoch = atomic_load_explicit(&pool->epoch, memory_order_acquire);
    struct pool_member *member;

    if (!atomic_load_explicit(&pool->is_round_robin, memory_order_relaxed)) {
        member = TAILQ_FIRST(&shard->idle);
        return member != NULL && member->epoch == epoch ? member : NULL;
    }
    member = TAILQ_LAST(&shard->idle, pool_members);
    while (member != NULL && member->epoch != epoch)
        member = TAILQ_PREV(member, pool_members, idle_link);
    return member;
}

/* A struct of arguments would be filled for each query: seven in registers cost less. */
enum pool_verdict pool_acquire(/* NOLINT(readability-function-size) */
                               struct pool *pool, int worker, struct pool_waiter *waiter,
                               usec_t now, struct pool_member **member, struct pool_advice *advice,
                               struct error *error)
{
    struct pool_shard *shard = &pool->shards[worker];

    advice->order = POOL_NOTHING;
    if (__builtin_expect(atomic_load_explicit(&pool->is_draining, memory_order_acquire), false)) {
        error_set(error, SQLSTATE_ADMIN_SHUTDOWN, "server shutting down");
        return POOL_REFUSED;
    }
    if (__builtin_expect(!atomic_load_explicit(&pool->is_paused, memory_order_acquire), true)) {
        *member = find_current(pool, shard);
        if (*member != NULL) {
            shard_take_idle(shard, *member);
            return POOL_GOT;
        }
    }
    return pool_wait(pool, worker, waiter, now, advice, error);
}

#define NO_EPOCH UINT64_MAX

void pool_member_outdate(struct pool_member *member)
{
    struct pool *pool = member->pool;
    (void)pthread_mutex_lock(&pool->mutex);
    if (pool_member_is_current(member))
        pool->current--;
    member->epoch = NO_EPOCH;
    (void)pthread_mutex_unlock(&pool->mutex);
}

/* Why a member must not be used again; NULL: it may. */
static const char *reason_to_close(struct pool *pool, struct pool_member *member)
{
    if (!pool_member_is_current(member))
        return "close_needed";
    if (atomic_load_explicit(&pool->is_draining, memory_order_acquire))
        return "server shutting down";
    if (atomic_load_explicit(&pool->is_paused, memory_order_acquire))
        return "pause mode";
    if (atomic_load_explicit(&pool->published_size, memory_order_relaxed) >
            atomic_load_explicit(&pool->published_limit, memory_order_relaxed) &&
        pool_claim_surplus(pool, member))
        return "too many servers in the pool";
    return NULL;
}

static enum pool_release_verdict grant(struct pool_waiter *waiter, int worker,
                                       struct pool_member *member)
{
    if (waiter->worker == worker) {
        member->state = MEMBER_LENT;
        return RELEASE_GRANT;
    }
    member->state = MEMBER_MOVING;
    member->worker = waiter->worker;
    return RELEASE_MOVE;
}

/* Nobody waits, as far as was seen: into the idle list, and then one look more at those who must
 * look beyond their own worker. */
static enum pool_release_verdict rest(struct pool *pool, int worker, struct pool_member *member,
                                      usec_t now, struct pool_waiter **waiter, const char **why)
{
    struct pool_shard *shard = &pool->shards[worker];

    shard_put_idle(shard, member, now);
    if (atomic_load(&pool->remote_waiters) > 0) {
        *waiter = pool_claim_remote(pool, worker);
        if (*waiter != NULL) {
            shard_take_idle(shard, member);
            return grant(*waiter, worker, member);
        }
    }
    if (limits_wants_back(pool->limits, pool)) {
        shard_take_idle(shard, member);
        *why = "evicted";
        return RELEASE_CLOSE;
    }
    return RELEASE_IDLE;
}

enum pool_release_verdict pool_release(struct pool *pool, int worker, struct pool_member *member,
                                       usec_t now, struct pool_waiter **waiter, const char **why)
{
    member->worker = worker;
    member->state = MEMBER_LENT;
    *waiter = NULL;
    *why = reason_to_close(pool, member);
    if (__builtin_expect(*why != NULL, false))
        return RELEASE_CLOSE;
    *waiter = pool_claim_waiter(pool, worker, now);
    if (*waiter != NULL)
        return grant(*waiter, worker, member);
    return rest(pool, worker, member, now, waiter, why);
}

struct pool_member *pool_give(struct pool *pool, int worker)
{
    struct pool_shard *shard = &pool->shards[worker];
    struct pool_member *member;

    (void)pthread_mutex_lock(&pool->mutex);
    pool_register_waiters(pool, worker);
    (void)pthread_mutex_unlock(&pool->mutex);
    if (atomic_load(&pool->waiting) <= 0 || atomic_load(&pool->is_paused))
        return NULL;
    member = TAILQ_FIRST(&shard->idle);
    if (member != NULL)
        shard_take_idle(shard, member);
    return member;
}

struct pool_member *pool_take_idle(struct pool *pool, int worker)
{
    struct pool_shard *shard = &pool->shards[worker];
    struct pool_member *member = TAILQ_LAST(&shard->idle, pool_members);

    if (member == NULL)
        return NULL;
    shard_take_idle(shard, member);
    if (atomic_load(&pool->wished) > 0)
        (void)pool_claim_surplus(pool, member); /* so that no second one is closed for the wish */
    return member;
}

void pool_unlist(struct pool *pool, struct pool_member *member)
{
    if (member->state == MEMBER_IDLE)
        shard_take_idle(&pool->shards[member->worker], member);
}
