#include <check.h>
#include <string.h>

#include "net/deadline.h"
#include "net/loop.h"

Suite *suite_net_deadline(void);

#define ENTRIES 4

static struct {
    struct loop *loop;
    struct deadline_list list, other;
    struct deadline entries[ENTRIES];
    char order[64]; /* the entries that expired, as letters */
    usec_t set_at;
} test;

static void note(struct deadline *deadline, struct deadline_list *list)
{
    size_t length = strlen(test.order);

    (void)list;
    if (length + 1 < sizeof(test.order))
        test.order[length] = (char)('a' + (deadline - test.entries));
    if (deadline == &test.entries[ENTRIES - 1])
        loop_stop(test.loop);
}

static void set_up(void)
{
    memset(&test, 0, sizeof(test));
    test.loop = loop_create(NULL);
    ck_assert_ptr_nonnull(test.loop);
    deadline_list_init(&test.list, test.loop, note, NULL);
    deadline_list_init(&test.other, test.loop, note, NULL);
    test.set_at = loop_now(test.loop);
}

static void tear_down(void)
{
    deadline_list_finish(&test.list);
    deadline_list_finish(&test.other);
    loop_destroy(test.loop);
}

static void set(int entry, usec_t after)
{
    deadline_set(&test.list, &test.entries[entry], test.set_at + after);
}

START_TEST(deadlines_expire_in_the_order_of_their_time)
{
    set(1, 2000);
    set(3, 4000);
    set(0, 1000);
    set(2, 3000);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "abcd");
    ck_assert_int_ge(clock_monotonic() - test.set_at, 4000);
}
END_TEST

START_TEST(a_wait_below_a_millisecond_is_not_rounded_up_to_several)
{
    usec_t best = USEC_PER_SEC;

    /* The best of many, because the machine may be busy. */
    for (int i = 0; i < 50; i++) {
        usec_t before = clock_monotonic();
        deadline_set(&test.list, &test.entries[3], before + 200);
        loop_run(test.loop);
        usec_t took = clock_monotonic() - before;
        ck_assert_int_ge(took, 200);
        best = took < best ? took : best;
    }
    ck_assert_int_lt(best, 1000);
}
END_TEST

START_TEST(a_cleared_deadline_does_not_expire)
{
    set(0, 1000);
    set(3, 2000);
    ck_assert(deadline_is_set(&test.entries[0]));
    deadline_clear(&test.entries[0]);
    ck_assert(!deadline_is_set(&test.entries[0]));
    deadline_clear(&test.entries[0]);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "d");
}
END_TEST

START_TEST(a_deadline_that_is_set_again_moves)
{
    set(0, 1000);
    set(1, 2000);
    set(0, 3000);
    set(3, 4000);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "bad");
}
END_TEST

START_TEST(a_deadline_moves_to_another_list)
{
    set(0, 1000);
    deadline_set(&test.other, &test.entries[0], test.set_at + 2000);
    ck_assert(TAILQ_EMPTY(&test.list.entries));
    deadline_set(&test.other, &test.entries[3], test.set_at + 3000);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "ad");
}
END_TEST

START_TEST(an_earlier_deadline_rings_the_timer_earlier)
{
    deadline_set(&test.other, &test.entries[0], test.set_at + 3600 * USEC_PER_SEC);
    set(3, 1000);
    loop_run(test.loop);
    ck_assert_int_lt(clock_monotonic() - test.set_at, 3600 * USEC_PER_SEC);
    ck_assert(deadline_is_set(&test.entries[0]));
}
END_TEST

static void set_again(struct deadline *deadline, struct deadline_list *list)
{
    note(deadline, list);
    if (strlen(test.order) < 3)
        deadline_set(list, deadline, 1); /* long ago */
    else
        loop_stop(test.loop);
}

START_TEST(a_deadline_set_again_in_the_past_comes_once_a_turn)
{
    test.list.expired = set_again;
    set(0, 0);
    uint64_t before = test.loop->turns;
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "aaa");
    ck_assert_uint_ge(test.loop->turns - before, 3);
}
END_TEST

static void clear_the_next(struct deadline *deadline, struct deadline_list *list)
{
    note(deadline, list);
    if (deadline == &test.entries[0])
        deadline_clear(&test.entries[1]);
}

START_TEST(expired_may_clear_the_one_that_is_next)
{
    test.list.expired = clear_the_next;
    set(0, 1000);
    set(1, 1000);
    set(3, 1000);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "ad");
}
END_TEST

START_TEST(a_finished_list_leaves_its_entries_unset)
{
    struct deadline_list third;
    struct deadline deadline = {0};

    deadline_list_init(&third, test.loop, note, NULL);
    deadline_set(&third, &deadline, test.set_at + 1);
    deadline_list_finish(&third);
    ck_assert(!deadline_is_set(&deadline));
    set(3, 1000);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "d");
}
END_TEST

Suite *suite_net_deadline(void)
{
    Suite *suite = suite_create("net/deadline");
    TCase *cases = tcase_create("deadline");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, deadlines_expire_in_the_order_of_their_time);
    tcase_add_test(cases, a_wait_below_a_millisecond_is_not_rounded_up_to_several);
    tcase_add_test(cases, a_cleared_deadline_does_not_expire);
    tcase_add_test(cases, a_deadline_that_is_set_again_moves);
    tcase_add_test(cases, a_deadline_moves_to_another_list);
    tcase_add_test(cases, an_earlier_deadline_rings_the_timer_earlier);
    tcase_add_test(cases, a_deadline_set_again_in_the_past_comes_once_a_turn);
    tcase_add_test(cases, expired_may_clear_the_one_that_is_next);
    tcase_add_test(cases, a_finished_list_leaves_its_entries_unset);
    suite_add_tcase(suite, cases);
    return suite;
}
