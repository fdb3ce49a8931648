#include "support/pool_fakes.h"

#include <assert.h>
#include <stddef.h>
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
    fake->pool = pool_create(limits, fake->database.name,
                             options->user != NULL ? options->user : "anna",
                             options->workers > 0 ? options->workers : 1, options->number);
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
