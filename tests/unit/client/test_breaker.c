#include <check.h>
#include <stdio.h>

#include "base/digest.h"
#include "client/breaker.h"

Suite *suite_client_breaker(void);

static const struct breaker_limits limits = {.failures = 10, .delay = 5 * USEC_PER_SEC};
static struct breaker *breaker;
static usec_t now;

static void set_up(void)
{
    digest_init();
    breaker = breaker_create();
    ck_assert_ptr_nonnull(breaker);
    now = 1000 * USEC_PER_SEC;
}

static void tear_down(void)
{
    breaker_destroy(breaker);
}

static struct breaker_verdict count_one(const char *user, const char *from)
{
    struct address address;

    ck_assert(address_from_literal(&address, from, 1));
    return breaker_failed(breaker, "app", user, &address, &limits, now);
}

static void count_many(int times, const char *user, const char *from)
{
    for (int i = 0; i < times; i++)
        ck_assert_int_eq(count_one(user, from).delay, 0);
}

START_TEST(a_few_failures_are_answered_at_once)
{
    count_many(10, "alice", "192.0.2.1");
}
END_TEST

START_TEST(the_answer_to_one_too_many_is_held_back)
{
    count_many(10, "alice", "192.0.2.1");
    ck_assert_int_eq(count_one("alice", "192.0.2.1").delay, limits.delay);
    ck_assert_int_eq(count_one("alice", "192.0.2.1").delay, limits.delay);
}
END_TEST

START_TEST(the_first_one_too_many_is_told)
{
    count_many(10, "alice", "192.0.2.1");
    ck_assert(count_one("alice", "192.0.2.1").has_tripped);
    for (int i = 0; i < 100; i++)
        ck_assert(!count_one("alice", "192.0.2.1").has_tripped);
}
END_TEST

START_TEST(failures_of_one_name_count_together_wherever_they_come_from)
{
    char from[32];

    for (int i = 0; i < 10; i++) {
        snprintf(from, sizeof(from), "192.0.2.%d", i);
        ck_assert_int_eq(count_one("alice", from).delay, 0);
    }
    ck_assert_int_eq(count_one("alice", "198.51.100.1").delay, limits.delay);
    ck_assert_int_eq(count_one("bob", "198.51.100.2").delay, 0);
}
END_TEST

START_TEST(failures_from_one_prefix_count_together_whoever_they_are_of)
{
    char user[32], from[64];

    for (int i = 0; i < 10; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        snprintf(from, sizeof(from), "2001:db8:1:2::%d", i);
        ck_assert_int_eq(count_one(user, from).delay, 0);
    }
    ck_assert_int_eq(count_one("other", "2001:db8:1:2:ffff::1").delay, limits.delay);
    ck_assert_int_eq(count_one("another", "2001:db8:1:3::1").delay, 0);
}
END_TEST

START_TEST(it_is_forgotten_in_a_minute)
{
    count_many(10, "alice", "192.0.2.1");
    ck_assert_int_gt(count_one("alice", "192.0.2.1").delay, 0);
    now += BREAKER_WINDOW + 1;
    count_many(10, "alice", "192.0.2.1");
}
END_TEST

START_TEST(failures_that_are_far_apart_are_never_held_back)
{
    for (int i = 0; i < 100; i++) {
        count_many(1, "alice", "192.0.2.1");
        now += BREAKER_WINDOW / 10;
    }
}
END_TEST

START_TEST(each_failure_waits_for_the_base_delay)
{
    const struct breaker_limits base = {.base = USEC_PER_SEC};
    struct address address;
    uint64_t failed, delayed;

    ck_assert(address_from_literal(&address, "192.0.2.1", 1));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(breaker_failed(breaker, "app", "alice", &address, &base, now).delay,
                         USEC_PER_SEC);
    breaker_counts(breaker, &failed, &delayed);
    ck_assert_uint_eq(failed, 3);
    ck_assert_uint_eq(delayed, 3);
}
END_TEST

START_TEST(a_million_names_do_not_hide_who_fails_now)
{
    char user[32], from[32];
    struct address address;
    bool all_are_addresses =
        true; /* a million claims would take a minute to travel to the runner */

    for (int i = 0; i < 1000000; i++) {
        snprintf(user, sizeof(user), "u%d", i);
        snprintf(from, sizeof(from), "10.%d.%d.%d", i >> 16 & 255, i >> 8 & 255, i & 255);
        all_are_addresses = address_from_literal(&address, from, 1) && all_are_addresses;
        (void)breaker_failed(breaker, "app", user, &address, &limits, now);
    }
    ck_assert(all_are_addresses);
    for (int i = 0; i < 10; i++)
        (void)count_one("alice", "192.0.2.1");
    ck_assert_int_eq(count_one("alice", "192.0.2.1").delay, limits.delay);
}
END_TEST

Suite *suite_client_breaker(void)
{
    Suite *suite = suite_create("client/breaker");
    TCase *tests = tcase_create("breaker");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_few_failures_are_answered_at_once);
    tcase_add_test(tests, the_answer_to_one_too_many_is_held_back);
    tcase_add_test(tests, the_first_one_too_many_is_told);
    tcase_add_test(tests, failures_of_one_name_count_together_wherever_they_come_from);
    tcase_add_test(tests, failures_from_one_prefix_count_together_whoever_they_are_of);
    tcase_add_test(tests, it_is_forgotten_in_a_minute);
    tcase_add_test(tests, failures_that_are_far_apart_are_never_held_back);
    tcase_add_test(tests, each_failure_waits_for_the_base_delay);
    tcase_add_test(tests, a_million_names_do_not_hide_who_fails_now);
    suite_add_tcase(suite, tests);
    return suite;
}
