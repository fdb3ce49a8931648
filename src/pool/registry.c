#include "pool/registry.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

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
                 struct pool **pool)
{
    size_t database_size = strlen(database) + 1, user_size = strlen(user) + 1;
    char *key = memory_zalloc(database_size + user_size);

    if (key == NULL)
        return false;
    memcpy(key, database, database_size);
    memcpy(key + database_size, user, user_size);
    HASH_FIND(hh, registry->pools, key, database_size + user_size, *pool);
    memory_free(key);
    return true;
}

static struct pool *create(struct registry *registry, const struct config *config,
                           struct database_entry *database, const char *pool_user)
{
    struct pool *pool = pool_create(registry->limits, database->name, pool_user,
                                    registry->worker_count, registry->created);

    if (pool == NULL)
        return NULL;
    pool_configure(pool, config, database_acquire(database), config_find_user(config, pool_user));
    atomic_store(&pool->is_draining, registry->is_draining);
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

static int compare(const struct pool *a, const struct pool *b)
{
    int order = strcmp(a->key, b->key); /* up to the end of the database's name */

    return order != 0 ? order : strcmp(a->user_name, b->user_name);
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
    HASH_ITER (hh, registry->pools, pool, next)
        drop(registry, pool);
    limits_destroy(registry->limits);
    (void)pthread_mutex_destroy(&registry->mutex);
    memory_free(registry);
}

struct pool *registry_pool(struct registry *registry, const struct config *config,
                           struct database_entry *database, const char *pool_user)
{
    struct pool *pool = NULL;

    (void)pthread_mutex_lock(&registry->mutex);
    if (find(registry, database->name, pool_user, &pool) && pool == NULL)
        pool = create(registry, config, database, pool_user);
    if (pool != NULL)
        pool_acquire_reference(pool);
    (void)pthread_mutex_unlock(&registry->mutex);
    return pool;
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
            set_removed(registry, pool, false);
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
