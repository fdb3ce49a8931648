/* What a pool does when connections cannot be opened: src/pool/pool_growth.c through the doors of
 * pool/pool.h. */
#include "growth_fixture.h"

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

Suite *suite_pool_pool_failures(void);

Suite *suite_pool_pool_failures(void)
{
    Suite *suite = suite_create("pool/pool_failures");
    TCase *tests = tcase_create("failures");

    tcase_add_checked_fixture(tests, prepare, clean_up);
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
    suite_add_tcase(suite, tests);
    return suite;
}
