#include "pool/registry.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/table.h"
#include "pool_private.h"

struct registry {
    pthread_mutex_t mutex; /* guards all that follows */
    struct pool *pools;    /* by key; each with a reference */
    struct limits *limits;
    int worker_count;
    int created; /* pools so far: their running number */
    int removed; /* pools whose database is gone, and which somebody may still refer to */
    bool is_sorted, is_draining;
    bool is_paused;                /* all of them */
    struct database_state *states; /* of databases that an operator has paused or disabled */
};

struct database_state {
    UT_hash_handle hh;
    bool is_paused, is_disabled;
    char name[]; /* with its zero byte */
};

struct registry *registry_create(int worker_count)
{
    struct registry *registry = memory_zalloc(sizeof *registry);

    if (registry == NULL)
        return NULL;
    registry->limits = limits_create();
    if (registry->limits == NULL) {
        memory_free(registry);
        return NULL;
    }
    registry->worker_count = worker_count;
    (void)pthread_mutex_init(&registry->mutex, NULL);
    return registry;
}

struct limits *registry_limits(struct registry *registry)
{
    return registry->limits;
}

/* ---- the table. All of this is under the mutex ---- */

static void drop(struct registry *registry, struct pool *pool)
{
    assert(registry->pools != NULL);
    HASH_DEL(registry->pools, pool);
    pool_release_reference(pool);
}

/* New references come from this table or from who has one: a pool that only the table refers to
 * stays alone while the mutex is held. */
static void drop_removed(struct registry *registry)
{
    struct pool *pool, *next;

    if (registry->removed == 0)
        return;
    HASH_ITER (hh, registry->pools, pool, next) {
        if (!pool->is_removed || atomic_load_explicit(&pool->references, memory_order_acquire) > 1)
            continue;
        registry->removed--;
        drop(registry, pool);
    }
}

/* False: no memory to look it up. */
static bool find(struct registry *registry, const char *database, const char *user,
                 enum pool_purpose purpose, struct pool **pool)
{
    size_t size;
    char *key = pool_key(database, user, purpose, &size);

    if (key == NULL)
        return false;
    HASH_FIND(hh, registry->pools, key, size, *pool);
    memory_free(key);
    return true;
}

static struct database_state *find_state(const struct registry *registry, const char *database)
{
    struct database_state *state = NULL;

    HASH_FIND(hh, registry->states, database, strlen(database), state);
    return state;
}

/* NULL: no memory. */
static struct database_state *make_state(struct registry *registry, const char *database)
{
    struct database_state *state = find_state(registry, database);
    size_t size = strlen(database);

    if (state != NULL)
        return state;
    state = memory_zalloc(sizeof(*state) + size + 1);
    if (state == NULL)
        return NULL;
    memcpy(state->name, database, size + 1);
    HASH_ADD_KEYPTR(hh, registry->states, state->name, size, state);
    if (TABLE_ADDED(state))
        return state;
    memory_free(state);
    return NULL;
}

static void set_paused(const struct registry *registry, struct pool *pool)
{
    const struct database_state *state = find_state(registry, pool->key);

    atomic_store(&pool->is_paused, registry->is_paused || (state != NULL && state->is_paused));
}

static struct pool *create(struct registry *registry, const struct config *config,
                           struct database_entry *database, const char *pool_user,
                           enum pool_purpose purpose)
{
    struct pool *pool = pool_create(registry->limits, database->name, pool_user, purpose,
                                    registry->worker_count, registry->created);

    if (pool == NULL)
        return NULL;
    pool_configure(pool, config, database_acquire(database), config_find_user(config, pool_user));
    atomic_store(&pool->is_draining, registry->is_draining);
    set_paused(registry, pool);
    HASH_ADD_KEYPTR(hh, registry->pools, pool->key, pool->key_size, pool);
    if (!TABLE_ADDED(pool)) {
        pool_release_reference(pool);
        return NULL;
    }
    registry->created++;
    registry->is_sorted = false;
    return pool;
}

static void set_removed(struct registry *registry, struct pool *pool, bool is_removed)
{
    registry->removed += is_removed - pool->is_removed;
    pool->is_removed = is_removed;
}

static void set_killed(struct registry *registry, struct pool *pool, bool was_killed)
{
    pool->was_killed = was_killed;
    set_removed(registry, pool, was_killed);
}

static int compare(const struct pool *a, const struct pool *b)
{
    int order = strcmp(a->key, b->key); /* up to the end of the database's name */

    if (order == 0)
        order = strcmp(a->user_name, b->user_name);
    return order != 0 ? order : (int)a->purpose - (int)b->purpose;
}

static void sort(struct registry *registry)
{
    if (!registry->is_sorted)
        HASH_SORT(registry->pools, compare);
    registry->is_sorted = true;
}

/* ---- doors ---- */

void registry_destroy(struct registry *registry)
{
    struct pool *pool, *next;

    if (registry == NULL)
        return;
    struct database_state *state, *after;
    HASH_ITER (hh, registry->pools, pool, next)
        drop(registry, pool);
    HASH_ITER (hh, registry->states, state, after) {
        HASH_DEL(registry->states, state);
        memory_free(state);
    }
    limits_destroy(registry->limits);
    (void)pthread_mutex_destroy(&registry->mutex);
    memory_free(registry);
}

static struct pool *find_or_create(struct registry *registry, const struct config *config,
                                   struct database_entry *database, const char *pool_user,
                                   enum pool_purpose purpose)
{
    struct pool *pool = NULL;

    (void)pthread_mutex_lock(&registry->mutex);
    if (find(registry, database->name, pool_user, purpose, &pool) && pool == NULL)
        pool = create(registry, config, database, pool_user, purpose);
    if (pool != NULL && pool->was_killed)
        set_killed(registry, pool, false);
    if (pool != NULL)
        pool_acquire_reference(pool);
    (void)pthread_mutex_unlock(&registry->mutex);
    return pool;
}

struct pool *registry_pool(struct registry *registry, const struct config *config,
                           struct database_entry *database, const char *pool_user)
{
    return find_or_create(registry, config, database, pool_user, POOL_OF_CLIENTS);
}

struct pool *registry_lookup_pool(struct registry *registry, const struct config *config,
                                  struct database_entry *database, const char *pool_user)
{
    return find_or_create(registry, config, database, pool_user, POOL_OF_LOOKUPS);
}

struct pool *registry_probe_pool(struct registry *registry, const struct config *config,
                                 struct database_entry *database, const char *user)
{
    struct pool *pool = pool_create(registry->limits, database->name, user, POOL_OF_PROBES,
                                    registry->worker_count, 0);

    if (pool != NULL)
        pool_configure(pool, config, database_acquire(database), NULL);
    return pool;
}

struct pool *registry_listen_pool(struct registry *registry, const struct config *config,
                                  struct database_entry *database, const char *pool_user)
{
    return find_or_create(registry, config, database, pool_user, POOL_OF_LISTENERS);
}

void registry_configure(struct registry *registry, const struct config *config,
                        void (*removed)(struct pool *, void *), void *argument)
{
    struct pool *pool;

    (void)pthread_mutex_lock(&registry->mutex);
    sort(registry);
    for (pool = registry->pools; pool != NULL; pool = pool->hh.next) {
        struct database_entry *database = config_find_database(config, pool->key);

        if (database != NULL) {
            set_removed(registry, pool, pool->was_killed);
            pool_configure(pool, config, database, config_find_user(config, pool->user_name));
        } else if (!pool->is_removed) {
            set_removed(registry, pool, true);
            atomic_store(&pool->published_minimum, 0);
            pool_raise_epoch(pool);
            removed(pool, argument);
        }
    }
    drop_removed(registry);
    (void)pthread_mutex_unlock(&registry->mutex);
}

void registry_each(struct registry *registry, void (*call)(struct pool *, void *), void *argument)
{
    struct pool *pool;

    (void)pthread_mutex_lock(&registry->mutex);
    drop_removed(registry);
    sort(registry);
    for (pool = registry->pools; pool != NULL; pool = pool->hh.next)
        call(pool, argument);
    (void)pthread_mutex_unlock(&registry->mutex);
}

struct pool **registry_list(struct registry *registry, size_t *count)
{
    struct pool **list, *pool;

    *count = 0;
    (void)pthread_mutex_lock(&registry->mutex);
    drop_removed(registry);
    sort(registry);
    list = memory_zalloc_array(HASH_COUNT(registry->pools), sizeof(struct pool *));
    if (list != NULL) {
        for (pool = registry->pools; pool != NULL; pool = pool->hh.next)
            list[(*count)++] = pool_acquire_reference(pool);
    }
    (void)pthread_mutex_unlock(&registry->mutex);
    return list;
}

void registry_drain(struct registry *registry)
{
    struct pool *pool;

    (void)pthread_mutex_lock(&registry->mutex);
    registry->is_draining = true;
    for (pool = registry->pools; pool != NULL; pool = pool->hh.next)
        atomic_store(&pool->is_draining, true);
    (void)pthread_mutex_unlock(&registry->mutex);
}

int registry_count(struct registry *registry)
{
    int count;

    (void)pthread_mutex_lock(&registry->mutex);
    drop_removed(registry);
    count = (int)HASH_COUNT(registry->pools);
    (void)pthread_mutex_unlock(&registry->mutex);
    return count;
}

/* ---- idle pools ---- */

static bool has_somebody(struct pool *pool)
{
    int left = atomic_load(&pool->published_size);

    for (int worker = 0; worker < pool->worker_count; worker++)
        left += atomic_load_explicit(&pool->shards[worker].clients, memory_order_relaxed);
    return left > 0 || atomic_load(&pool->waiting) > 0;
}

/* How long it has been idle, as far as was seen. */
static usec_t idle_time(struct pool *pool, usec_t now)
{
    if (has_somebody(pool))
        pool->idle_since = 0;
    else if (pool->idle_since == 0)
        pool->idle_since = now;
    return pool->idle_since != 0 ? now - pool->idle_since : 0;
}

static bool is_kept(const struct pool *pool)
{
    return atomic_load(&pool->keeps_minimum) && atomic_load(&pool->published_minimum) > 0;
}

static bool is_idle_enough(const struct pool *pool, const struct registry_idle_limits *limits,
                           usec_t idle)
{
    if (limits->pool > 0 && idle >= limits->pool && !is_kept(pool))
        return true;
    return limits->automatic > 0 && idle >= limits->automatic && pool->database->is_auto &&
           !atomic_load(&pool->is_paused);
}

void registry_forget_idle(struct registry *registry, const struct registry_idle_limits *limits,
                          usec_t now)
{
    struct pool *pool, *next;

    (void)pthread_mutex_lock(&registry->mutex);
    HASH_ITER (hh, registry->pools, pool, next) {
        usec_t idle = idle_time(pool, now);
        if (!is_idle_enough(pool, limits, idle) || pool->is_removed ||
            atomic_load_explicit(&pool->references, memory_order_acquire) > 1)
            continue;
        log_info(NULL,
                 "cleaning up idle pool for user %s on db %s because: pool idle timeout "
                 "(age= %llds)",
                 pool->user_name, pool->key, (long long)(idle / USEC_PER_SEC));
        if (pool->database->is_auto)
            pool->database->idle_since = pool->idle_since;
        drop(registry, pool);
    }
    (void)pthread_mutex_unlock(&registry->mutex);
}

/* ---- what operators order ---- */

static bool is_meant(const struct pool *pool, const char *database)
{
    return database == NULL || strcmp(pool->key, database) == 0;
}

enum registry_verdict registry_pause(struct registry *registry, const char *database, bool paused)
{
    enum registry_verdict verdict = REGISTRY_DONE;
    struct database_state *state = NULL;
    struct pool *pool;

    (void)pthread_mutex_lock(&registry->mutex);
    if (database != NULL)
        state = make_state(registry, database);
    bool *is_paused = database == NULL ? &registry->is_paused
                      : state != NULL  ? &state->is_paused
                                       : NULL;
    if (is_paused == NULL)
        verdict = REGISTRY_NO_MEMORY;
    else if (*is_paused == paused)
        verdict = REGISTRY_ALREADY;
    else
        *is_paused = paused;
    for (pool = registry->pools; verdict == REGISTRY_DONE && pool != NULL; pool = pool->hh.next)
        set_paused(registry, pool);
    (void)pthread_mutex_unlock(&registry->mutex);
    return verdict;
}

bool registry_kill(struct registry *registry, const char *database)
{
    struct pool *pool;

    (void)pthread_mutex_lock(&registry->mutex);
    struct database_state *state = database != NULL ? make_state(registry, database) : NULL;
    bool ok = database == NULL || state != NULL;
    if (state != NULL)
        state->is_paused = true;
    for (pool = registry->pools; ok && pool != NULL; pool = pool->hh.next) {
        if (!is_meant(pool, database))
            continue;
        state = make_state(registry, pool->key);
        ok = state != NULL;
        if (!ok)
            break;
        state->is_paused = true;
        set_paused(registry, pool);
        pool_raise_epoch(pool);
        /* One that min_pool_size keeps without clients would not come back by itself. */
        set_killed(registry, pool, !atomic_load(&pool->keeps_minimum));
    }
    (void)pthread_mutex_unlock(&registry->mutex);
    return ok;
}

bool registry_has_paused(struct registry *registry)
{
    struct database_state *state, *next;

    (void)pthread_mutex_lock(&registry->mutex);
    bool has = registry->is_paused;
    HASH_ITER (hh, registry->states, state, next)
        has = has || state->is_paused;
    (void)pthread_mutex_unlock(&registry->mutex);
    return has;
}

bool registry_is_paused(struct registry *registry, const char *database)
{
    (void)pthread_mutex_lock(&registry->mutex);
    const struct database_state *state = database != NULL ? find_state(registry, database) : NULL;
    bool is_paused = database == NULL ? registry->is_paused : state != NULL && state->is_paused;
    (void)pthread_mutex_unlock(&registry->mutex);
    return is_paused;
}

bool registry_disable(struct registry *registry, const char *database, bool disabled)
{
    (void)pthread_mutex_lock(&registry->mutex);
    struct database_state *state = make_state(registry, database);
    if (state != NULL)
        state->is_disabled = disabled;
    (void)pthread_mutex_unlock(&registry->mutex);
    return state != NULL;
}

bool registry_is_disabled(struct registry *registry, const char *database)
{
    (void)pthread_mutex_lock(&registry->mutex);
    const struct database_state *state = find_state(registry, database);
    bool is_disabled = state != NULL && state->is_disabled;
    (void)pthread_mutex_unlock(&registry->mutex);
    return is_disabled;
}

void registry_reconnect(struct registry *registry, const char *database)
{
    struct pool *pool;

    (void)pthread_mutex_lock(&registry->mutex);
    for (pool = registry->pools; pool != NULL; pool = pool->hh.next)
        if (is_meant(pool, database))
            pool_raise_epoch(pool);
    (void)pthread_mutex_unlock(&registry->mutex);
}

int registry_servers(struct registry *registry, const char *database, bool outdated)
{
    struct pool *pool;
    int count = 0;

    (void)pthread_mutex_lock(&registry->mutex);
    for (pool = registry->pools; pool != NULL; pool = pool->hh.next) {
        if (!is_meant(pool, database))
            continue;
        (void)pthread_mutex_lock(&pool->mutex);
        count += outdated ? pool->size - pool->current : pool->size;
        (void)pthread_mutex_unlock(&pool->mutex);
    }
    (void)pthread_mutex_unlock(&registry->mutex);
    return count;
}
