#include <check.h>
#include <stdio.h>

#include "auth/password_cache.h"
#include "base/digest.h"

Suite *suite_auth_password_cache(void);

#define TTL  (30 * USEC_PER_SEC)
#define MANY 1000

static struct password_cache *cache;

static void set_up(void)
{
    digest_init();
    cache = password_cache_create();
    ck_assert_ptr_nonnull(cache);
}

static void tear_down(void)
{
    password_cache_destroy(cache);
}

static struct password_cache_subject subject_of(const char *name, const char *password)
{
    return (struct password_cache_subject){.database = "app",
                                           .login_name = name,
                                           .server_name = name,
                                           .method = "passthrough",
                                           .verifier = "",
                                           .password = password};
}

static void put(struct password_cache_subject subject, usec_t now)
{
    password_cache_put(cache, &subject, MANY, password_cache_era(cache), now);
}

static bool has(struct password_cache_subject subject, usec_t now)
{
    return password_cache_has(cache, &subject, TTL, now);
}

START_TEST(only_the_very_password_is_remembered)
{
    put(subject_of("alice", "right"), 1);
    ck_assert(has(subject_of("alice", "right"), 2));
    ck_assert(!has(subject_of("alice", "wrong"), 2));
    ck_assert(!has(subject_of("alice", "righ"), 2));
    ck_assert(!has(subject_of("bob", "right"), 2));
}
END_TEST

START_TEST(each_part_of_the_subject_counts)
{
    const char *subjects[6][6] = {
        {"other", "alice", "alice", "passthrough", "", "right"},
        {"app", "bob", "alice", "passthrough", "", "right"},
        {"app", "alice", "bob", "passthrough", "", "right"},
        {"app", "alice", "alice", "cleartext", "", "right"},
        {"app", "alice", "alice", "passthrough", "verifier", "right"},
        {"app", "alice", "alice", "passthrough", "", "wrong"},
    };

    put(subject_of("alice", "right"), 1);
    for (size_t i = 0; i < 6; i++) {
        const char **part = subjects[i];
        struct password_cache_subject other = {part[0], part[1], part[2],
                                               part[3], part[4], part[5]};
        ck_assert_msg(!has(other, 2), "subject %zu", i);
    }
}
END_TEST

START_TEST(parts_do_not_slide_into_each_other)
{
    struct password_cache_subject one = subject_of("alice", "right"), other = one;

    one.method = "ab";
    one.verifier = "c";
    other.method = "a";
    other.verifier = "bc";
    put(one, 1);
    ck_assert(!has(other, 2));
}
END_TEST

START_TEST(it_is_forgotten_after_its_time)
{
    put(subject_of("alice", "right"), 1);
    ck_assert(has(subject_of("alice", "right"), TTL));
    ck_assert(!has(subject_of("alice", "right"), TTL + 1));
    ck_assert_uint_eq(password_cache_count(cache), 1);
    password_cache_sweep(cache, TTL, TTL + 1);
    ck_assert_uint_eq(password_cache_count(cache), 0);
}
END_TEST

START_TEST(a_sweep_leaves_what_is_in_time)
{
    put(subject_of("alice", "right"), 1);
    put(subject_of("bob", "right"), 2);
    password_cache_sweep(cache, TTL, TTL + 1);
    ck_assert(!has(subject_of("alice", "right"), TTL + 1));
    ck_assert(has(subject_of("bob", "right"), TTL + 1));
}
END_TEST

START_TEST(the_oldest_goes_when_it_is_full)
{
    struct password_cache_subject subject;
    char name[32];

    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "user %u", i);
        subject = subject_of(name, "right");
        password_cache_put(cache, &subject, 9, password_cache_era(cache), 1 + i);
    }
    ck_assert_uint_eq(password_cache_count(cache), 9);
    ck_assert(!has(subject_of("user 0", "right"), 20));
    ck_assert(has(subject_of("user 1", "right"), 20));
}
END_TEST

START_TEST(without_a_size_nothing_is_kept)
{
    struct password_cache_subject subject = subject_of("alice", "right");

    password_cache_put(cache, &subject, 0, password_cache_era(cache), 1);
    ck_assert(!has(subject, 1));
}
END_TEST

START_TEST(found_right_again_it_is_young_again)
{
    put(subject_of("alice", "right"), 1);
    put(subject_of("alice", "right"), TTL);
    ck_assert_uint_eq(password_cache_count(cache), 1);
    ck_assert(has(subject_of("alice", "right"), TTL + 10));
}
END_TEST

START_TEST(what_is_dropped_is_gone_alone)
{
    struct password_cache_subject subject = subject_of("alice", "right");

    put(subject, 1);
    put(subject_of("alice", "second"), 1);
    password_cache_drop(cache, &subject);
    password_cache_drop(cache, &subject);
    ck_assert(!has(subject, 2));
    ck_assert(has(subject_of("alice", "second"), 2));
}
END_TEST

START_TEST(a_flush_takes_those_that_are_meant)
{
    put(subject_of("alice", "right"), 1);
    put(subject_of("bob", "right"), 1);
    password_cache_flush(cache, "other", NULL);
    password_cache_flush(cache, "app", "carol");
    ck_assert_uint_eq(password_cache_count(cache), 2);
    password_cache_flush(cache, "app", "alice");
    ck_assert(!has(subject_of("alice", "right"), 2));
    ck_assert(has(subject_of("bob", "right"), 2));
    password_cache_flush(cache, NULL, NULL);
    ck_assert_uint_eq(password_cache_count(cache), 0);
}
END_TEST

START_TEST(a_check_that_a_flush_overtook_is_not_remembered)
{
    struct password_cache_subject subject = subject_of("alice", "right");
    uint64_t era = password_cache_era(cache);

    password_cache_flush(cache, NULL, NULL);
    password_cache_put(cache, &subject, MANY, era, 1);
    ck_assert(!has(subject, 2));
}
END_TEST

Suite *suite_auth_password_cache(void)
{
    Suite *suite = suite_create("auth/password_cache");
    TCase *tests = tcase_create("core");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, only_the_very_password_is_remembered);
    tcase_add_test(tests, each_part_of_the_subject_counts);
    tcase_add_test(tests, parts_do_not_slide_into_each_other);
    tcase_add_test(tests, it_is_forgotten_after_its_time);
    tcase_add_test(tests, a_sweep_leaves_what_is_in_time);
    tcase_add_test(tests, the_oldest_goes_when_it_is_full);
    tcase_add_test(tests, without_a_size_nothing_is_kept);
    tcase_add_test(tests, found_right_again_it_is_young_again);
    tcase_add_test(tests, what_is_dropped_is_gone_alone);
    tcase_add_test(tests, a_flush_takes_those_that_are_meant);
    tcase_add_test(tests, a_check_that_a_flush_overtook_is_not_remembered);
    suite_add_tcase(suite, tests);
    return suite;
}
