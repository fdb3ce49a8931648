#include "support/pool_fakes.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The entry is the fake's: the pool's references never end it. */
static void init_database(struct database_entry *database, const struct fake_pool_options *options)
{
    *database = (struct database_entry){
        .name = options->database != NULL ? options->database : "shop",
        .pool_mode = CONFIG_UNSET,
        .pool_size = options->pool_size,
        .min_pool_size = CONFIG_UNSET,
        .reserve_pool_size = CONFIG_UNSET,
        .query_wait_timeout = CONFIG_UNSET,
        .max_db_connections = options->max_db_connections,
    };
    atomic_init(&database->references, 1);
}

static void configure(struct fake_pool *fake)
{
    pool_configure(fake->pool, &fake->config, database_acquire(&fake->database), NULL);
}

void fake_pool_init(struct fake_pool *fake, struct limits *limits,
                    const struct fake_pool_options *options)
{
    memset(fake, 0, sizeof *fake);
    init_database(&fake->database, options);
    fake->config.settings.max_user_connections = options->max_user_connections;
    fake->config.settings.waiter_locality = options->locality;
    fake->config.settings.server_round_robin = options->round_robin;
    fake->pool =
        pool_create(limits, fake->database.name, options->user != NULL ? options->user : "anna",
                    POOL_OF_CLIENTS, options->workers > 0 ? options->workers : 1, options->number);
    assert(fake->pool != NULL);
    configure(fake);
}

void fake_pool_resize(struct fake_pool *fake, int pool_size)
{
    fake->database.pool_size = pool_size;
    configure(fake);
}

void fake_pool_limit(struct fake_pool *fake, int max_db_connections)
{
    fake->database.max_db_connections = max_db_connections;
    configure(fake);
}

void fake_pool_finish(struct fake_pool *fake)
{
    assert(atomic_load(&fake->pool->references) == 1);
    pool_release_reference(fake->pool);
    assert(atomic_load(&fake->database.references) == 1);
}

static struct fake_waiter *fake_of(struct pool_waiter *waiter)
{
    return (struct fake_waiter *)((char *)waiter - offsetof(struct fake_waiter, waiter));
}

static void note_granted(struct pool_waiter *waiter, struct pool_member *member)
{
    pool_waiter_done(waiter);
    fake_of(waiter)->member = member;
}

static void note_refused(struct pool_waiter *waiter, const struct error *why)
{
    pool_waiter_done(waiter);
    fake_of(waiter)->refusals++;
    fake_of(waiter)->why = *why;
}

void fake_waiter_init(struct fake_waiter *fake)
{
    memset(fake, 0, sizeof *fake);
    fake->waiter.granted = note_granted;
    fake->waiter.refused = note_refused;
}

void fake_drop(const struct pool_advice *advice)
{
    if (advice->order != POOL_NOTHING)
        pool_release_reference(advice->pool);
}

void fake_open(struct pool_member *member, const struct pool_advice *advice, usec_t now)
{
    assert(advice->order == POOL_OPEN);
    pool_member_init(advice->pool, member, advice->worker, now);
    fake_drop(advice);
}

void fake_lend(struct pool *pool, int worker, struct pool_member *member, usec_t now)
{
    struct fake_waiter fake;
    struct pool_waiter *granted;
    struct pool_member *got;
    struct pool_advice advice;
    struct error error;
    const char *why;

    fake_waiter_init(&fake);
    if (pool_acquire(pool, worker, &fake.waiter, now, &got, &advice, &error) != POOL_WAIT)
        abort();
    fake_open(member, &advice, now);
    pool_member_opened(pool, member, NULL, &advice);
    fake_drop(&advice);
    if (pool_release(pool, worker, member, now, &granted, &why) != RELEASE_GRANT)
        abort();
    assert(granted == &fake.waiter);
    pool_waiter_done(&fake.waiter);
}

void fake_rest(struct pool_member *member, usec_t now)
{
    struct pool_waiter *granted;
    const char *why;

    if (pool_release(member->pool, member->worker, member, now, &granted, &why) != RELEASE_IDLE)
        abort();
}

void fake_end(struct pool_member *member, usec_t now, enum pool_order order)
{
    struct pool_advice advice;

    pool_member_closed(member->pool, member, now, &advice);
    if (advice.order != order)
        abort();
    fake_drop(&advice);
}
