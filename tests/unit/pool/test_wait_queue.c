#include <check.h>

#include "pool/wait_queue.h"

static struct pool_waiters waiters;
static struct pool_waiter first, second, third;

static void prepare(void)
{
    TAILQ_INIT(&waiters);
    first = (struct pool_waiter){.since = 10, .worker = 1, .state = WAITER_QUEUED};
    second = (struct pool_waiter){.since = 20, .worker = 2, .state = WAITER_QUEUED};
    third = (struct pool_waiter){.since = 20, .worker = 1, .state = WAITER_QUEUED};
}

START_TEST(a_newcomer_stands_last)
{
    waiters_insert_local(&waiters, &first);
    waiters_insert_local(&waiters, &second);
    ck_assert_ptr_eq(TAILQ_FIRST(&waiters), &first);
}
END_TEST

START_TEST(among_equals_the_first_to_come_stands_first)
{
    waiters_insert_local(&waiters, &second);
    waiters_insert_local(&waiters, &third);
    ck_assert_ptr_eq(TAILQ_FIRST(&waiters), &second);
}
END_TEST

START_TEST(one_with_an_older_wait_goes_back_to_its_place)
{
    waiters_insert_local(&waiters, &second);
    waiters_insert_local(&waiters, &first);
    ck_assert_ptr_eq(TAILQ_FIRST(&waiters), &first);
    ck_assert_ptr_eq(TAILQ_NEXT(&first, local_link), &second);
}
END_TEST

START_TEST(the_pools_list_keeps_the_same_order)
{
    waiters_insert_remote(&waiters, &second);
    waiters_insert_remote(&waiters, &third);
    waiters_insert_remote(&waiters, &first);
    ck_assert_ptr_eq(TAILQ_FIRST(&waiters), &first);
    ck_assert_ptr_eq(TAILQ_NEXT(&first, remote_link), &second);
    ck_assert_ptr_eq(TAILQ_NEXT(&second, remote_link), &third);
}
END_TEST

START_TEST(the_oldest_leaves_out_who_is_claimed)
{
    waiters_insert_remote(&waiters, &first);
    waiters_insert_remote(&waiters, &second);
    ck_assert(waiter_claim(&first, WAITER_GRANTED));
    ck_assert_ptr_eq(waiters_oldest_remote(&waiters, 0), &second);
}
END_TEST

START_TEST(the_oldest_leaves_out_workers_that_do_not_count)
{
    waiters_insert_remote(&waiters, &first);
    waiters_insert_remote(&waiters, &second);
    ck_assert_ptr_eq(waiters_oldest_remote(&waiters, UINT64_C(1) << 1), &second);
}
END_TEST

START_TEST(nobody_is_the_oldest_of_an_empty_list)
{
    ck_assert_ptr_null(waiters_oldest_remote(&waiters, 0));
}
END_TEST

START_TEST(a_waiter_is_claimed_once)
{
    ck_assert(waiter_claim(&first, WAITER_GRANTED));
    ck_assert(!waiter_claim(&first, WAITER_GONE));
    ck_assert_int_eq(atomic_load(&first.state), WAITER_GRANTED);
}
END_TEST

START_TEST(one_that_does_not_wait_cannot_be_claimed)
{
    atomic_store(&first.state, WAITER_NONE);
    ck_assert(!waiter_claim(&first, WAITER_GRANTED));
}
END_TEST

START_TEST(one_that_was_granted_is_still_waiting)
{
    ck_assert(waiter_is_waiting(&first));
    (void)waiter_claim(&first, WAITER_GRANTED);
    ck_assert(waiter_is_waiting(&first));
    ck_assert(!waiter_is_queued(&first));
}
END_TEST

START_TEST(one_that_is_gone_is_not_waiting)
{
    (void)waiter_claim(&first, WAITER_GONE);
    ck_assert(!waiter_is_waiting(&first));
}
END_TEST

Suite *suite_pool_wait_queue(void);

Suite *suite_pool_wait_queue(void)
{
    Suite *suite = suite_create("pool/wait_queue");
    TCase *tests = tcase_create("waiters");

    tcase_add_checked_fixture(tests, prepare, NULL);
    tcase_add_test(tests, a_newcomer_stands_last);
    tcase_add_test(tests, among_equals_the_first_to_come_stands_first);
    tcase_add_test(tests, one_with_an_older_wait_goes_back_to_its_place);
    tcase_add_test(tests, the_pools_list_keeps_the_same_order);
    tcase_add_test(tests, the_oldest_leaves_out_who_is_claimed);
    tcase_add_test(tests, the_oldest_leaves_out_workers_that_do_not_count);
    tcase_add_test(tests, nobody_is_the_oldest_of_an_empty_list);
    tcase_add_test(tests, a_waiter_is_claimed_once);
    tcase_add_test(tests, one_that_does_not_wait_cannot_be_claimed);
    tcase_add_test(tests, one_that_was_granted_is_still_waiting);
    tcase_add_test(tests, one_that_is_gone_is_not_waiting);
    suite_add_tcase(suite, tests);
    return suite;
}
