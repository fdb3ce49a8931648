/* How a pool grows, and what it does when it cannot: src/pool/pool_growth.c through the doors of
 * pool/pool.h. */
#include "growth_fixture.h"

static struct pool_waiter *granted;
static const char *why;

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
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, limits_case());
    return suite;
}
