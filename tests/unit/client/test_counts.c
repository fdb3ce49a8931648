#include <check.h>
#include <pthread.h>
#include <stdio.h>

#include "base/digest.h"
#include "client/counts.h"

Suite *suite_client_counts(void);

#define THREADS 8
#define ROUNDS  4000
#define LIMIT   5

static struct client_counts *counts;

static void set_up(void)
{
    digest_init();
    counts = client_counts_create();
    ck_assert_ptr_nonnull(counts);
}

static void tear_down(void)
{
    client_counts_destroy(counts);
}

START_TEST(the_nth_login_is_accepted_and_the_next_refused)
{
    ck_assert(client_counts_logged_in(counts, 2));
    ck_assert(client_counts_logged_in(counts, 2));
    ck_assert(!client_counts_logged_in(counts, 2));
    ck_assert_int_eq(client_counts_logged_in_now(counts), 2);
}
END_TEST

START_TEST(who_leaves_makes_room)
{
    ck_assert(client_counts_logged_in(counts, 1));
    client_counts_left(counts);
    ck_assert(client_counts_logged_in(counts, 1));
}
END_TEST

START_TEST(a_listener_keeps_its_counter_for_ever)
{
    struct listener_count *one = client_count_listener(counts, "one");
    struct listener_count *other = client_count_listener(counts, "other");

    atomic_fetch_add(&one->accepted, 3);
    ck_assert_ptr_ne(one, other);
    ck_assert_ptr_eq(client_count_listener(counts, "one"), one);
    ck_assert_uint_eq(atomic_load(&client_count_listener(counts, "one")->accepted), 3);
    ck_assert_uint_eq(atomic_load(&other->accepted), 0);
}
END_TEST

START_TEST(no_limit_never_refuses)
{
    for (int i = 0; i < 1000; i++)
        ck_assert(client_counts_begin_login(counts, 0));
    ck_assert_int_eq(client_counts_logging_in_now(counts), 1000);
}
END_TEST

START_TEST(logins_under_way_have_a_count_of_their_own)
{
    ck_assert(client_counts_begin_login(counts, 1));
    ck_assert(client_counts_logged_in(counts, 1));
    client_counts_end_login(counts);
    ck_assert_int_eq(client_counts_logging_in_now(counts), 0);
}
END_TEST

START_TEST(a_database_at_its_limit_is_said_to_be)
{
    bool reached;
    ck_assert_ptr_nonnull(client_count_database(counts, "shop", 1, &reached));
    ck_assert_ptr_null(client_count_database(counts, "shop", 1, &reached));
    ck_assert(reached);
}
END_TEST

START_TEST(names_are_counted_apart)
{
    bool reached;
    ck_assert_ptr_nonnull(client_count_database(counts, "shop", 1, &reached));
    ck_assert_ptr_nonnull(client_count_database(counts, "blog", 1, &reached));
    ck_assert_int_eq(client_count_of_database(counts, "shop"), 1);
}
END_TEST

START_TEST(a_user_and_a_database_of_one_name_are_counted_apart)
{
    bool reached;
    ck_assert_ptr_nonnull(client_count_database(counts, "shop", 1, &reached));
    ck_assert_ptr_nonnull(client_count_user(counts, "shop", 1, &reached));
}
END_TEST

START_TEST(a_counter_goes_with_the_last_that_it_counts)
{
    bool reached;
    struct client_count *count = client_count_user(counts, "ann", 1, &reached);
    client_count_release(counts, count);
    ck_assert_int_eq(client_count_of_user(counts, "ann"), 0);
    ck_assert_ptr_nonnull(client_count_user(counts, "ann", 1, &reached));
}
END_TEST

static _Atomic int inside;

static void come_and_go(struct client_counts *shared, const char *name)
{
    bool reached;
    struct client_count *count = client_count_database(shared, name, LIMIT, &reached);
    if (count == NULL)
        return;
    ck_assert_int_le(atomic_fetch_add(&inside, 1) + 1, LIMIT);
    atomic_fetch_sub(&inside, 1);
    client_count_release(shared, count);
}

static void *by_name(void *argument)
{
    for (int i = 0; i < ROUNDS; i++)
        come_and_go(argument, "shop");
    return NULL;
}

static void *in_all(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (!client_counts_logged_in(argument, LIMIT))
            continue;
        ck_assert_int_le(atomic_fetch_add(&inside, 1) + 1, LIMIT);
        atomic_fetch_sub(&inside, 1);
        client_counts_left(argument);
    }
    return NULL;
}

static void on_all_threads(void *(*run)(void *))
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run, counts), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

START_TEST(a_limit_by_name_holds_over_all_threads)
{
    on_all_threads(by_name);
    ck_assert_int_eq(client_count_of_database(counts, "shop"), 0);
}
END_TEST

START_TEST(the_limit_of_all_holds_over_all_threads)
{
    on_all_threads(in_all);
    ck_assert_int_eq(client_counts_logged_in_now(counts), 0);
}
END_TEST

Suite *suite_client_counts(void)
{
    Suite *suite = suite_create("client/counts");
    TCase *tests = tcase_create("counts");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_nth_login_is_accepted_and_the_next_refused);
    tcase_add_test(tests, who_leaves_makes_room);
    tcase_add_test(tests, a_listener_keeps_its_counter_for_ever);
    tcase_add_test(tests, no_limit_never_refuses);
    tcase_add_test(tests, logins_under_way_have_a_count_of_their_own);
    tcase_add_test(tests, a_database_at_its_limit_is_said_to_be);
    tcase_add_test(tests, names_are_counted_apart);
    tcase_add_test(tests, a_user_and_a_database_of_one_name_are_counted_apart);
    tcase_add_test(tests, a_counter_goes_with_the_last_that_it_counts);
    tcase_add_test(tests, a_limit_by_name_holds_over_all_threads);
    tcase_add_test(tests, the_limit_of_all_holds_over_all_threads);
    suite_add_tcase(suite, tests);
    return suite;
}
