/* What worker 0 does from time to time: pools whose waiters need a new attempt, closing what is of
 * an old epoch, the watchdog, ticks. */
#include "base/memory.h"
#include "worker_private.h"

#define UPKEEP_PERIOD  (100 * USEC_PER_MSEC)
#define SWEEP_PERIOD   USEC_PER_SEC
#define WATCHDOG_LIMIT (2 * USEC_PER_SEC)

static void reconsider_pools(struct workers *workers)
{
    size_t count;
    struct pool **pools = registry_list(workers->shared.registry, &count);
    usec_t now = loop_now(workers->array[0].loop);
    for (size_t i = 0; pools && i < count; i++) {
        struct pool_advice advice = {.order = POOL_NOTHING};
        if (atomic_load(&pools[i]->waiting) > 0 || atomic_load(&pools[i]->wished) > 0)
            pool_reconsider(pools[i], now, &advice);
        server_follow(&workers->array[0].servers, &advice);
        pool_release_reference(pools[i]);
    }
    memory_free(pools);
}

/* Pools whose login is in the configuration have their min_pool_size from the start. */
static void make_pool(struct database_entry *database, void *argument)
{
    struct workers *workers = argument;
    struct effective effective;
    struct pool *pool;
    if (database->is_console || !database->user)
        return;
    config_effective(workers->config, &(struct config_subject){.database = database}, &effective);
    if (effective.min_pool_size <= 0)
        return;
    pool = registry_pool(workers->shared.registry, workers->config, database, database->user);
    if (pool)
        pool_release_reference(pool);
}

static void fill_pools(struct workers *workers)
{
    size_t count;
    usec_t now = loop_now(workers->array[0].loop);
    if (workers->pools_generation != workers->config->generation)
        config_each_database(workers->config, make_pool, workers);
    workers->pools_generation = workers->config->generation;
    struct pool **pools = registry_list(workers->shared.registry, &count);
    for (size_t i = 0; pools && i < count; i++) {
        struct pool_advice advice = {.order = POOL_NOTHING};
        if (atomic_load(&pools[i]->published_minimum) > atomic_load(&pools[i]->published_size))
            pool_fill(pools[i], now, &advice);
        server_follow(&workers->array[0].servers, &advice);
        pool_release_reference(pools[i]);
    }
    memory_free(pools);
}

static void forget_idle(struct workers *workers)
{
    const struct settings *settings = &workers->config->settings;
    const struct registry_idle_limits limits = {.pool = settings->pool_idle_timeout,
                                                .automatic = settings->autodb_idle_timeout};
    usec_t now = loop_now(workers->array[0].loop);
    registry_forget_idle(workers->shared.registry, &limits, now);
    config_forget_autos(workers->config, settings->autodb_idle_timeout, now);
}

static void forget_passwords(struct workers *workers)
{
    password_cache_sweep(workers->password_cache, workers->config->settings.auth_cache_ttl,
                         loop_now(workers->array[0].loop));
}

static void often(void *argument)
{
    struct workers *workers = argument;
    reconsider_pools(workers);
    fill_pools(workers);
    waits_look(workers, false);
    suspend_look(workers);
    control_look(workers);
}

struct sweep {
    struct mail mail;
    struct worker *worker;
};

static void sweep_worker(struct mail *mail, struct loop *loop)
{
    struct sweep *sweep = (struct sweep *)((char *)mail - offsetof(struct sweep, mail));
    (void)loop;
    server_set_sweep(&sweep->worker->servers);
    atomic_store(&sweep->worker->placed, sweep->worker->clients.count);
    memory_free(sweep);
}

static void watch(struct worker *worker, usec_t now)
{
    static struct log_limit limit;
    uint32_t held_back;
    usec_t late = now - atomic_load(&worker->loop->last_turn);
    if (late > WATCHDOG_LIMIT + SWEEP_PERIOD && log_allow(&limit, 1, &held_back))
        log_warning(NULL, "worker %d has not turned for %lld s", worker->index,
                    (long long)(late / USEC_PER_SEC));
}

/* On worker 1: who watches the others is watched, too. */
static void watch_first(void *argument)
{
    struct workers *workers = argument;
    watch(&workers->array[0], loop_now(workers->array[1].loop));
}

void control_sweep(struct workers *workers)
{
    if (workers->array[0].clients.is_finished) /* the loops take no mail any more */
        return;
    for (int i = 0; i < workers->count; i++) {
        struct sweep *sweep = memory_zalloc(sizeof(*sweep));
        if (!sweep)
            continue;
        *sweep = (struct sweep){.mail.deliver = sweep_worker, .worker = &workers->array[i]};
        loop_post(workers->array[i].loop, &sweep->mail);
    }
}

static void seldom(void *argument)
{
    struct workers *workers = argument;
    usec_t now = loop_now(workers->array[0].loop);
    for (int i = 1; i < workers->count; i++)
        watch(&workers->array[i], now);
    control_sweep(workers);
    forget_idle(workers);
    forget_passwords(workers);
    resolver_watch_zones(workers->resolver, workers->array[0].loop,
                         workers->config->settings.dns_zone_check_period);
    stats_look(workers);
}

bool upkeep_start(struct workers *workers)
{
    struct loop *loop = workers->array[0].loop;
    if (workers->count > 1 &&
        !loop_add_periodic(workers->array[1].loop, SWEEP_PERIOD, watch_first, workers))
        return false;
    return loop_add_periodic(loop, UPKEEP_PERIOD, often, workers) &&
           loop_add_periodic(loop, SWEEP_PERIOD, seldom, workers);
}
