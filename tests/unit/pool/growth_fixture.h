/* growth_fixture: pools with a limit above them, for the tests of src/pool/pool_growth.c. */
#pragma once
#include <check.h>
#include <string.h>

#include "support/pool_fakes.h"

/* anna's pool and bert's share the places of one database. All is on worker 0 of one, but for
 * `wide`, which has two homes of two workers. */
#define NOW   INT64_C(1000000000)
#define RETRY (15 * USEC_PER_SEC)
#define MANY  12

static struct limits *limits;
static struct fake_pool anna, bert, wide;
static struct pool_member members[MANY];
static struct fake_waiter fakes[MANY];

static struct pool_member *got;
static struct pool_advice advice;
static struct error error;

static inline void prepare_with(int pool_size, int max_db_connections)
{
    limits = limits_create();
    fake_pool_init(&anna, limits,
                   &(struct fake_pool_options){.pool_size = pool_size,
                                               .max_db_connections = max_db_connections});
    fake_pool_init(&bert, limits,
                   &(struct fake_pool_options){.user = "bert",
                                               .pool_size = pool_size,
                                               .max_db_connections = max_db_connections});
    fake_pool_init(&wide, limits,
                   &(struct fake_pool_options){.database = "wide", .pool_size = 20, .workers = 2});
    for (int i = 0; i < MANY; i++)
        fake_waiter_init(&fakes[i]);
}

static inline void prepare(void)
{
    prepare_with(8, 0);
}

static inline void end(struct pool_member *member)
{
    pool_member_closed(member->pool, member, NOW, &advice);
    if (advice.order == POOL_OPEN)
        pool_open_abandoned(advice.pool, &(struct pool_advice){0});
    fake_drop(&advice);
}

static inline void clean_up(void)
{
    for (int i = 0; i < MANY; i++) {
        if (!pool_waiter_leave(&fakes[i].waiter))
            pool_waiter_done(&fakes[i].waiter);
    }
    for (int i = 0; i < MANY; i++) {
        if (members[i].pool != NULL)
            end(&members[i]);
    }
    pool_reconsider(anna.pool, NOW, &advice);
    pool_reconsider(bert.pool, NOW, &advice);
    fake_pool_finish(&anna);
    fake_pool_finish(&bert);
    fake_pool_finish(&wide);
    limits_destroy(limits);
}

static inline void ask_on(struct fake_pool *fake, int waiter, int worker, usec_t now)
{
    ck_assert_int_eq(
        pool_acquire(fake->pool, worker, &fakes[waiter].waiter, now, &got, &advice, &error),
        POOL_WAIT);
}

static inline void ask(struct fake_pool *fake, int waiter)
{
    ask_on(fake, waiter, 0, NOW);
}

static inline void claim_advice(enum pool_order order, struct fake_pool *fake)
{
    ck_assert_int_eq(advice.order, order);
    if (order != POOL_NOTHING)
        ck_assert_ptr_eq(advice.pool, fake->pool);
    fake_drop(&advice);
}

/* A waiter came, and a connection is being opened for it. */
static inline void begin_opening(struct fake_pool *fake, int number)
{
    ask(fake, number);
    fake_open(&members[number], &advice, NOW);
}

static inline bool fail_at(int member, enum pool_failure failure, usec_t now)
{
    struct pool *pool = members[member].pool;
    struct error reason;
    bool shall_be_told;

    error_set(&reason, "53300", "too many clients already");
    shall_be_told = pool_open_failed(pool, failure, &reason, now, RETRY);
    pool_member_closed(pool, &members[member], now, &advice);
    return shall_be_told;
}

static inline void reconsider_at(struct fake_pool *fake, usec_t now)
{
    pool_reconsider(fake->pool, now, &advice);
}

static inline void log_in(int member)
{
    pool_member_opened(members[member].pool, &members[member], NULL, &advice);
}
