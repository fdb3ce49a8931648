/* How a pool grows, and what it does when it cannot: src/pool/pool_growth.c through the doors of
 * pool/pool.h. */
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
static struct pool_waiter *granted;
static const char *why;

static void prepare_with(int pool_size, int max_db_connections)
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

static void prepare(void)
{
    prepare_with(8, 0);
}

static void end(struct pool_member *member)
{
    pool_member_closed(member->pool, member, NOW, &advice);
    if (advice.order == POOL_OPEN)
        pool_open_abandoned(advice.pool, &(struct pool_advice){0});
    fake_drop(&advice);
}

static void clean_up(void)
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

static void ask_on(struct fake_pool *fake, int waiter, int worker, usec_t now)
{
    ck_assert_int_eq(
        pool_acquire(fake->pool, worker, &fakes[waiter].waiter, now, &got, &advice, &error),
        POOL_WAIT);
}

static void ask(struct fake_pool *fake, int waiter)
{
    ask_on(fake, waiter, 0, NOW);
}

static void claim_advice(enum pool_order order, struct fake_pool *fake)
{
    ck_assert_int_eq(advice.order, order);
    if (order != POOL_NOTHING)
        ck_assert_ptr_eq(advice.pool, fake->pool);
    fake_drop(&advice);
}

/* A waiter came, and a connection is being opened for it. */
static void begin_opening(struct fake_pool *fake, int number)
{
    ask(fake, number);
    fake_open(&members[number], &advice, NOW);
}

static bool fail_at(int member, enum pool_failure failure, usec_t now)
{
    struct pool *pool = members[member].pool;
    struct error reason;
    bool shall_be_told;

    error_set(&reason, "53300", "too many clients already");
    shall_be_told = pool_open_failed(pool, failure, &reason, now, RETRY);
    pool_member_closed(pool, &members[member], now, &advice);
    return shall_be_told;
}

static void reconsider_at(struct fake_pool *fake, usec_t now)
{
    pool_reconsider(fake->pool, now, &advice);
}

static void log_in(int member)
{
    pool_member_opened(members[member].pool, &members[member], NULL, &advice);
}

/* ---- opening ---- */

START_TEST(the_first_waiter_has_a_connection_opened)
{
    ask(&anna, 0);
    ck_assert_int_eq(advice.order, POOL_OPEN);
    ck_assert_int_eq(advice.worker, 0);
    fake_open(&members[0], &advice, NOW);
    ck_assert_int_eq(anna.pool->size, 1);
    ck_assert_int_eq(anna.pool->opening, 1);
}
END_TEST

START_TEST(a_connection_is_opened_where_the_waiter_is)
{
    ask_on(&wide, 0, 1, NOW);
    ck_assert_int_eq(advice.worker, 1);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(before_the_first_success_one_is_opened_at_a_time)
{
    begin_opening(&anna, 0);
    ask(&anna, 1);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(after_a_success_the_others_get_one_too)
{
    begin_opening(&anna, 0);
    ask(&anna, 1);
    log_in(0);
    ck_assert_int_eq(advice.order, POOL_OPEN);
    fake_open(&members[1], &advice, NOW);
}
END_TEST

START_TEST(no_other_is_opened_for_the_one_that_the_new_member_serves)
{
    begin_opening(&anna, 0);
    log_in(0);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(after_a_success_a_few_are_opened_at_once)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    for (int i = 1; i <= POOL_OPENING_MAX; i++)
        begin_opening(&anna, i);
    ask(&anna, POOL_OPENING_MAX + 1);
    claim_advice(POOL_NOTHING, NULL);
    ck_assert_int_eq(anna.pool->opening, POOL_OPENING_MAX);
}
END_TEST

START_TEST(no_more_are_opened_than_wait)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    begin_opening(&anna, 1);
    reconsider_at(&anna, NOW);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(looking_again_opens_more_for_those_who_queued_before_the_first_success)
{
    begin_opening(&anna, 0);
    for (int i = 1; i < 4; i++)
        ask(&anna, i);
    log_in(0);
    fake_open(&members[1], &advice, NOW);
    reconsider_at(&anna, NOW);
    fake_open(&members[2], &advice, NOW);
    reconsider_at(&anna, NOW);
    fake_open(&members[3], &advice, NOW);
}
END_TEST

START_TEST(a_new_epoch_begins_carefully_again)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    pool_raise_epoch(anna.pool);
    begin_opening(&anna, 1);
    ask(&anna, 2);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(a_full_pool_opens_nothing)
{
    for (int i = 0; i < 8; i++)
        fake_lend(anna.pool, 0, &members[i], NOW);
    ask(&anna, 8);
    claim_advice(POOL_NOTHING, NULL);
    ck_assert_int_eq(anna.pool->size, 8);
}
END_TEST

START_TEST(a_size_of_zero_is_no_limit)
{
    fake_pool_resize(&anna, 0);
    for (int i = 0; i < MANY - 1; i++)
        fake_lend(anna.pool, 0, &members[i], NOW);
    begin_opening(&anna, MANY - 1);
    ck_assert_int_eq(anna.pool->size, MANY);
}
END_TEST

START_TEST(a_larger_size_lets_those_who_wait_open)
{
    fake_pool_resize(&anna, 1);
    fake_lend(anna.pool, 0, &members[0], NOW);
    ask(&anna, 1);
    fake_pool_resize(&anna, 2);
    reconsider_at(&anna, NOW);
    ck_assert_int_eq(advice.order, POOL_OPEN);
    fake_open(&members[1], &advice, NOW);
}
END_TEST

START_TEST(a_member_that_ends_is_replaced_for_who_waits)
{
    fake_pool_resize(&anna, 1);
    fake_lend(anna.pool, 0, &members[0], NOW);
    ask(&anna, 1);
    pool_member_closed(anna.pool, &members[0], NOW, &advice);
    ck_assert_int_eq(advice.order, POOL_OPEN);
    fake_open(&members[0], &advice, NOW);
    ck_assert_int_eq(anna.pool->size, 1);
}
END_TEST

START_TEST(a_member_that_ends_is_not_replaced_when_nobody_waits)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_end(&members[0], NOW, POOL_NOTHING);
    ck_assert_int_eq(anna.pool->size, 0);
}
END_TEST

START_TEST(a_paused_pool_opens_nothing)
{
    atomic_store(&anna.pool->is_paused, true);
    ask(&anna, 0);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(after_a_resume_a_connection_is_opened)
{
    atomic_store(&anna.pool->is_paused, true);
    ask(&anna, 0);
    atomic_store(&anna.pool->is_paused, false);
    reconsider_at(&anna, NOW);
    ck_assert_int_eq(advice.order, POOL_OPEN);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(a_place_that_is_given_up_is_free_again)
{
    ask(&anna, 0);
    fake_drop(&advice);
    pool_open_abandoned(anna.pool, &advice);
    ck_assert_int_eq(anna.pool->size, 0);
    ck_assert_int_eq(anna.pool->opening, 0);
    ck_assert_int_eq(limits_database_count(limits, "shop"), 0);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(a_member_refers_to_its_pool_until_its_end)
{
    begin_opening(&anna, 0);
    ck_assert_int_eq(atomic_load(&anna.pool->references), 2);
    log_in(0);
    fake_end(&members[0], NOW, POOL_OPEN);
    pool_open_abandoned(anna.pool, &advice);
    ck_assert_int_eq(atomic_load(&anna.pool->references), 1);
}
END_TEST

START_TEST(an_idle_member_elsewhere_is_asked_for_before_one_is_opened)
{
    fake_lend(wide.pool, 1, &members[0], NOW);
    fake_rest(&members[0], NOW);
    ask_on(&wide, 1, 0, NOW);
    ck_assert_int_eq(advice.worker, 1);
    claim_advice(POOL_ASK, &wide);
}
END_TEST

/* ---- failures that pass ---- */

START_TEST(after_a_passing_failure_waiters_wait_on)
{
    begin_opening(&anna, 0);
    ck_assert(!fail_at(0, POOL_FAILURE_PASSING, NOW));
    claim_advice(POOL_NOTHING, NULL);
    ck_assert(waiter_is_queued(&fakes[0].waiter));
}
END_TEST

START_TEST(after_a_passing_failure_it_is_tried_again_soon)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_PASSING, NOW);
    reconsider_at(&anna, NOW + POOL_RETRY_FIRST - 1);
    claim_advice(POOL_NOTHING, NULL);
    reconsider_at(&anna, NOW + POOL_RETRY_FIRST);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

static void fail_again_at(usec_t now)
{
    reconsider_at(&anna, now);
    fake_open(&members[0], &advice, now);
    fail_at(0, POOL_FAILURE_PASSING, now);
}

START_TEST(the_pause_doubles_with_each_failure)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_PASSING, NOW);
    fail_again_at(NOW + USEC_PER_SEC);
    ck_assert_int_eq(anna.pool->retry_delay, 2 * POOL_RETRY_FIRST);
    fail_again_at(NOW + 2 * USEC_PER_SEC);
    ck_assert_int_eq(anna.pool->retry_delay, 4 * POOL_RETRY_FIRST);
}
END_TEST

START_TEST(the_pause_does_not_grow_for_ever)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_PASSING, NOW);
    for (int i = 1; i < 10; i++)
        fail_again_at(NOW + i * USEC_PER_SEC);
    ck_assert_int_eq(anna.pool->retry_delay, POOL_RETRY_MAX);
}
END_TEST

START_TEST(the_pause_is_never_longer_than_server_login_retry)
{
    begin_opening(&anna, 0);
    pool_open_failed(anna.pool, POOL_FAILURE_PASSING, &error, NOW, 30 * USEC_PER_MSEC);
    ck_assert_int_eq(anna.pool->retry_at, NOW + 30 * USEC_PER_MSEC);
}
END_TEST

START_TEST(attempts_side_by_side_that_fail_together_count_once)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    begin_opening(&anna, 1);
    begin_opening(&anna, 2);
    fail_at(1, POOL_FAILURE_PASSING, NOW);
    fail_at(2, POOL_FAILURE_PASSING, NOW + 1);
    ck_assert_int_eq(anna.pool->retry_delay, POOL_RETRY_FIRST);
}
END_TEST

START_TEST(a_newcomer_in_a_long_pause_has_it_tried_at_once)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_PASSING, NOW);
    fail_again_at(NOW + USEC_PER_SEC);
    ask_on(&anna, 1, 0, NOW + USEC_PER_SEC + POOL_RETRY_FIRST);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(newcomers_do_not_try_again_at_once)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_PASSING, NOW);
    ask_on(&anna, 1, 0, NOW + POOL_RETRY_FIRST - 1);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(newcomers_try_one_attempt_at_a_time)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_PASSING, NOW);
    fail_again_at(NOW + USEC_PER_SEC);
    ask_on(&anna, 1, 0, NOW + USEC_PER_SEC + POOL_RETRY_FIRST);
    fake_open(&members[0], &advice, NOW);
    ask_on(&anna, 2, 0, NOW + USEC_PER_SEC + POOL_RETRY_FIRST);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(while_it_fails_one_is_tried_at_a_time_also_after_earlier_successes)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    begin_opening(&anna, 1);
    fail_at(1, POOL_FAILURE_PASSING, NOW);
    reconsider_at(&anna, NOW + RETRY);
    fake_open(&members[1], &advice, NOW);
    ask_on(&anna, 2, 0, NOW + RETRY);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(a_success_ends_the_pause)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_PASSING, NOW);
    fail_again_at(NOW + USEC_PER_SEC);
    reconsider_at(&anna, NOW + 2 * USEC_PER_SEC);
    fake_open(&members[0], &advice, NOW);
    log_in(0);
    ck_assert_int_eq(anna.pool->retry_at, 0);
    ck_assert_int_eq(anna.pool->failure, POOL_FAILURE_NONE);
}
END_TEST

/* ---- a server that refuses logins ---- */

START_TEST(a_refusing_server_is_left_alone_for_server_login_retry)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_REFUSED, NOW);
    reconsider_at(&anna, NOW + RETRY - 1);
    claim_advice(POOL_NOTHING, NULL);
    reconsider_at(&anna, NOW + RETRY);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(waiters_are_told_when_no_server_is_left)
{
    begin_opening(&anna, 0);
    ck_assert(fail_at(0, POOL_FAILURE_REFUSED, NOW));
}
END_TEST

START_TEST(waiters_wait_on_while_a_server_is_left)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    begin_opening(&anna, 1);
    ck_assert(!fail_at(1, POOL_FAILURE_REFUSED, NOW));
}
END_TEST

START_TEST(who_comes_in_the_pause_is_refused_with_the_servers_reason)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_REFUSED, NOW);
    ck_assert_int_eq(pool_acquire(anna.pool, 0, &fakes[1].waiter, NOW + 1, &got, &advice, &error),
                     POOL_REFUSED);
    ck_assert_str_eq(error.sqlstate, "53300");
    ck_assert_str_eq(error.message, "server login has been failing, cached error: too many "
                                    "clients already (server_login_retry)");
}
END_TEST

START_TEST(a_long_reason_does_not_cut_off_the_settings_name)
{
    begin_opening(&anna, 0);
    memset(error.message, 'x', ERROR_MESSAGE_MAX - 1);
    pool_open_failed(anna.pool, POOL_FAILURE_REFUSED, &error, NOW, RETRY);
    pool_acquire(anna.pool, 0, &fakes[1].waiter, NOW + 1, &got, &advice, &error);
    ck_assert_ptr_nonnull(strstr(error.message, " (server_login_retry)"));
}
END_TEST

START_TEST(who_is_refused_is_not_queued)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_REFUSED, NOW);
    pool_acquire(anna.pool, 0, &fakes[1].waiter, NOW + 1, &got, &advice, &error);
    ck_assert(!waiter_is_waiting(&fakes[1].waiter));
    ck_assert_int_eq(atomic_load(&anna.pool->waiting), 1);
}
END_TEST

START_TEST(who_comes_in_the_pause_waits_while_a_server_is_left)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    begin_opening(&anna, 1);
    fail_at(1, POOL_FAILURE_REFUSED, NOW);
    ask(&anna, 2);
    claim_advice(POOL_NOTHING, NULL);
}
END_TEST

START_TEST(who_comes_after_the_pause_has_it_tried)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_REFUSED, NOW);
    ask_on(&anna, 1, 0, NOW + RETRY);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(a_new_epoch_forgets_the_refusal)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_REFUSED, NOW);
    pool_refuse_waiters(anna.pool, 0, &error);
    pool_raise_epoch(anna.pool);
    ask_on(&anna, 1, 0, NOW + 1);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

/* ---- a login that is refused ---- */

START_TEST(a_refused_login_is_told_at_once)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    begin_opening(&anna, 1);
    ck_assert(fail_at(1, POOL_FAILURE_LOGIN, NOW));
}
END_TEST

START_TEST(a_refused_login_answers_all_who_wait_without_another_attempt)
{
    begin_opening(&anna, 0);
    ask(&anna, 1);
    fail_at(0, POOL_FAILURE_LOGIN, NOW);
    claim_advice(POOL_NOTHING, NULL);
    pool_refuse_waiters(anna.pool, 0, &error);
    ck_assert_int_eq(fakes[0].refusals, 1);
    ck_assert_int_eq(fakes[1].refusals, 1);
}
END_TEST

START_TEST(a_refused_login_is_not_remembered)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_LOGIN, NOW);
    pool_refuse_waiters(anna.pool, 0, &error);
    begin_opening(&anna, 1);
}
END_TEST

START_TEST(one_who_asks_again_when_told_has_it_tried_again)
{
    begin_opening(&anna, 0);
    pool_open_failed(anna.pool, POOL_FAILURE_LOGIN, &error, NOW, RETRY);
    pool_refuse_waiters(anna.pool, 0, &error);
    ask(&anna, 1);
    pool_member_closed(anna.pool, &members[0], NOW, &advice);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(one_on_a_worker_that_has_told_its_waiters_need_not_wait_for_the_others)
{
    ask_on(&wide, 0, 0, NOW);
    fake_open(&members[0], &advice, NOW);
    ask_on(&wide, 1, 1, NOW);
    pool_open_failed(wide.pool, POOL_FAILURE_LOGIN, &error, NOW, RETRY);
    pool_refuse_waiters(wide.pool, 0, &error);
    ask_on(&wide, 2, 0, NOW);
    claim_advice(POOL_NOTHING, NULL); /* the failed one is not gone yet */
    pool_member_closed(wide.pool, &members[0], NOW, &advice);
    ck_assert_int_eq(advice.worker, 0);
    fake_open(&members[0], &advice, NOW);
    pool_refuse_waiters(wide.pool, 1, &error);
    ck_assert_int_eq(fakes[1].refusals, 1);
}
END_TEST

START_TEST(a_worker_that_never_tells_its_waiters_does_not_hold_up_the_pool)
{
    begin_opening(&anna, 0);
    fail_at(0, POOL_FAILURE_LOGIN, NOW);
    reconsider_at(&anna, NOW + POOL_TELLING_MAX);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

/* ---- limits above the pool ---- */

static void prepare_two_places(void)
{
    prepare_with(8, 2);
}

START_TEST(the_limit_of_the_database_holds_over_its_pools)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(bert.pool, 0, &members[1], NOW);
    ask(&anna, 2);
    claim_advice(POOL_NOTHING, NULL);
    ck_assert_int_eq(anna.pool->size, 1);
}
END_TEST

START_TEST(an_idle_member_of_another_pool_is_evicted)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(anna.pool, 0, &members[1], NOW);
    fake_rest(&members[1], NOW);
    ask(&bert, 2);
    claim_advice(POOL_EVICT, &anna);
    ck_assert_ptr_eq(pool_take_idle(anna.pool, 0), &members[1]);
    pool_member_closed(anna.pool, &members[1], NOW, &advice);
    ck_assert_ptr_eq(advice.pool, bert.pool);
    fake_open(&members[1], &advice, NOW);
    ck_assert_int_eq(bert.pool->size, 1);
}
END_TEST

START_TEST(a_member_that_would_go_idle_is_closed_for_a_blocked_pool)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(anna.pool, 0, &members[1], NOW);
    ask(&bert, 2);
    ck_assert_int_eq(pool_release(anna.pool, 0, &members[0], NOW, &granted, &why), RELEASE_CLOSE);
    ck_assert_str_eq(why, "evicted");
    ck_assert_int_eq(atomic_load(&anna.pool->shards[0].idle_count), 0);
}
END_TEST

START_TEST(a_pools_own_waiters_come_before_a_blocked_pool)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(anna.pool, 0, &members[1], NOW);
    ask(&bert, 2);
    ask(&anna, 3);
    ck_assert_int_eq(pool_release(anna.pool, 0, &members[0], NOW, &granted, &why), RELEASE_GRANT);
}
END_TEST

START_TEST(a_freed_place_goes_to_the_pool_that_asked_first)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(anna.pool, 0, &members[1], NOW);
    ask(&bert, 2);
    ask(&anna, 3);
    pool_member_closed(anna.pool, &members[0], NOW, &advice);
    ck_assert_ptr_eq(advice.pool, bert.pool);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(who_gave_its_place_away_stands_in_line_behind)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(anna.pool, 0, &members[1], NOW);
    ask(&bert, 2);
    atomic_store(&anna.pool->published_limit, 2);
    ask(&anna, 3); /* the pool is full: it has not asked for a place */
    pool_member_closed(anna.pool, &members[0], NOW, &advice);
    fake_open(&members[0], &advice, NOW);
    ck_assert(atomic_load(&anna.pool->is_blocked));
    pool_member_closed(bert.pool, &members[0], NOW, &advice);
    ck_assert_ptr_eq(advice.pool, anna.pool);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(a_place_that_is_not_needed_any_more_goes_to_the_next)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(anna.pool, 0, &members[1], NOW);
    ask(&bert, 2);
    ask(&anna, 3);
    atomic_store(&bert.pool->is_paused, true);
    pool_member_closed(anna.pool, &members[0], NOW, &advice);
    ck_assert_ptr_eq(advice.pool, anna.pool);
    fake_open(&members[0], &advice, NOW);
    ck_assert_int_eq(limits_database_count(limits, "shop"), 2);
}
END_TEST

START_TEST(a_pool_in_which_nobody_waits_any_more_does_not_stand_in_line)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(anna.pool, 0, &members[1], NOW);
    ask(&bert, 2);
    ck_assert(atomic_load(&bert.pool->is_blocked));
    pool_waiter_leave(&fakes[2].waiter);
    ck_assert(!atomic_load(&bert.pool->is_blocked));
    ck_assert_int_eq(pool_release(anna.pool, 0, &members[0], NOW, &granted, &why), RELEASE_IDLE);
}
END_TEST

START_TEST(a_raised_limit_is_noticed_by_looking_again)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_lend(anna.pool, 0, &members[1], NOW);
    ask(&bert, 2);
    fake_pool_limit(&bert, 3);
    reconsider_at(&bert, NOW);
    fake_open(&members[2], &advice, NOW);
}
END_TEST

START_TEST(a_place_that_is_given_up_goes_to_a_blocked_pool)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    ask(&anna, 1);
    fake_drop(&advice);
    ask(&bert, 2);
    pool_open_abandoned(anna.pool, &advice);
    ck_assert_ptr_eq(advice.pool, bert.pool);
    fake_open(&members[2], &advice, NOW);
}
END_TEST

static void add_failures(TCase *tests)
{
    tcase_add_test(tests, after_a_passing_failure_waiters_wait_on);
    tcase_add_test(tests, after_a_passing_failure_it_is_tried_again_soon);
    tcase_add_test(tests, the_pause_doubles_with_each_failure);
    tcase_add_test(tests, the_pause_does_not_grow_for_ever);
    tcase_add_test(tests, the_pause_is_never_longer_than_server_login_retry);
    tcase_add_test(tests, attempts_side_by_side_that_fail_together_count_once);
    tcase_add_test(tests, a_newcomer_in_a_long_pause_has_it_tried_at_once);
    tcase_add_test(tests, newcomers_do_not_try_again_at_once);
    tcase_add_test(tests, newcomers_try_one_attempt_at_a_time);
    tcase_add_test(tests, while_it_fails_one_is_tried_at_a_time_also_after_earlier_successes);
    tcase_add_test(tests, a_success_ends_the_pause);
    tcase_add_test(tests, a_refusing_server_is_left_alone_for_server_login_retry);
    tcase_add_test(tests, waiters_are_told_when_no_server_is_left);
    tcase_add_test(tests, waiters_wait_on_while_a_server_is_left);
    tcase_add_test(tests, who_comes_in_the_pause_is_refused_with_the_servers_reason);
    tcase_add_test(tests, a_long_reason_does_not_cut_off_the_settings_name);
    tcase_add_test(tests, who_is_refused_is_not_queued);
    tcase_add_test(tests, who_comes_in_the_pause_waits_while_a_server_is_left);
    tcase_add_test(tests, who_comes_after_the_pause_has_it_tried);
    tcase_add_test(tests, a_new_epoch_forgets_the_refusal);
    tcase_add_test(tests, a_refused_login_is_told_at_once);
    tcase_add_test(tests, a_refused_login_answers_all_who_wait_without_another_attempt);
    tcase_add_test(tests, a_refused_login_is_not_remembered);
    tcase_add_test(tests, one_who_asks_again_when_told_has_it_tried_again);
    tcase_add_test(tests, one_on_a_worker_that_has_told_its_waiters_need_not_wait_for_the_others);
    tcase_add_test(tests, a_worker_that_never_tells_its_waiters_does_not_hold_up_the_pool);
}

static TCase *limits_case(void)
{
    TCase *tests = tcase_create("limits");

    tcase_add_checked_fixture(tests, prepare_two_places, clean_up);
    tcase_add_test(tests, the_limit_of_the_database_holds_over_its_pools);
    tcase_add_test(tests, an_idle_member_of_another_pool_is_evicted);
    tcase_add_test(tests, a_member_that_would_go_idle_is_closed_for_a_blocked_pool);
    tcase_add_test(tests, a_pools_own_waiters_come_before_a_blocked_pool);
    tcase_add_test(tests, a_freed_place_goes_to_the_pool_that_asked_first);
    tcase_add_test(tests, who_gave_its_place_away_stands_in_line_behind);
    tcase_add_test(tests, a_place_that_is_not_needed_any_more_goes_to_the_next);
    tcase_add_test(tests, a_pool_in_which_nobody_waits_any_more_does_not_stand_in_line);
    tcase_add_test(tests, a_raised_limit_is_noticed_by_looking_again);
    tcase_add_test(tests, a_place_that_is_given_up_goes_to_a_blocked_pool);
    return tests;
}

Suite *suite_pool_pool_growth(void);

Suite *suite_pool_pool_growth(void)
{
    Suite *suite = suite_create("pool/pool_growth");
    TCase *tests = tcase_create("growth");

    tcase_add_checked_fixture(tests, prepare, clean_up);
    tcase_add_test(tests, the_first_waiter_has_a_connection_opened);
    tcase_add_test(tests, a_connection_is_opened_where_the_waiter_is);
    tcase_add_test(tests, before_the_first_success_one_is_opened_at_a_time);
    tcase_add_test(tests, after_a_success_the_others_get_one_too);
    tcase_add_test(tests, no_other_is_opened_for_the_one_that_the_new_member_serves);
    tcase_add_test(tests, after_a_success_a_few_are_opened_at_once);
    tcase_add_test(tests, no_more_are_opened_than_wait);
    tcase_add_test(tests, looking_again_opens_more_for_those_who_queued_before_the_first_success);
    tcase_add_test(tests, a_new_epoch_begins_carefully_again);
    tcase_add_test(tests, a_full_pool_opens_nothing);
    tcase_add_test(tests, a_size_of_zero_is_no_limit);
    tcase_add_test(tests, a_larger_size_lets_those_who_wait_open);
    tcase_add_test(tests, a_member_that_ends_is_replaced_for_who_waits);
    tcase_add_test(tests, a_member_that_ends_is_not_replaced_when_nobody_waits);
    tcase_add_test(tests, a_paused_pool_opens_nothing);
    tcase_add_test(tests, after_a_resume_a_connection_is_opened);
    tcase_add_test(tests, a_place_that_is_given_up_is_free_again);
    tcase_add_test(tests, a_member_refers_to_its_pool_until_its_end);
    tcase_add_test(tests, an_idle_member_elsewhere_is_asked_for_before_one_is_opened);
    add_failures(tests);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, limits_case());
    return suite;
}
