#include <check.h>
#include <stdio.h>

#include "base/tally.h"

Suite *suite_base_tally(void);

static struct tally tally;

START_TEST(the_same_kind_is_counted_once_more)
{
    tally_add(&tally, "3D000", "no such database: one");
    tally_add(&tally, "3D000", "no such database: two");
    tally_add(&tally, "28P01", "no such database: two");
    ck_assert_uint_eq(tally.count, 2);
    ck_assert_uint_eq(tally.entries[0].count, 2);
    ck_assert_str_eq(tally.entries[0].cause, "no such database");
    ck_assert_int_gt(tally.entries[0].last, 0);
}
END_TEST

START_TEST(names_in_quotes_and_numbers_make_no_new_kinds)
{
    tally_add(&tally, "55000", "database \"a\" is disabled");
    tally_add(&tally, "55000", "database \"b\" is disabled");
    tally_add(&tally, "08P01", "unsupported packet type 5");
    tally_add(&tally, "08P01", "unsupported packet type 6");
    ck_assert_uint_eq(tally.count, 2);
}
END_TEST

START_TEST(what_finds_no_place_is_counted_together)
{
    for (unsigned i = 0; i < TALLY_KINDS_MAX + 10; i++) {
        char code[6];
        snprintf(code, sizeof(code), "%05u", i);
        tally_add(&tally, code, "");
    }
    ck_assert_uint_eq(tally.count, TALLY_KINDS_MAX);
    ck_assert_uint_eq(tally.others.count, 10);
}
END_TEST

START_TEST(tallies_are_added_up)
{
    struct tally other = {0};
    tally_add(&tally, "57014", "a");
    tally_add(&other, "57014", "a");
    tally_add(&other, "57014", "b");
    tally_merge(&tally, &other);
    ck_assert_uint_eq(tally.count, 2);
    ck_assert_uint_eq(tally.entries[0].count, 2);
}
END_TEST

Suite *suite_base_tally(void)
{
    const TTest *const tests[] = {
        the_same_kind_is_counted_once_more,
        names_in_quotes_and_numbers_make_no_new_kinds,
        what_finds_no_place_is_counted_together,
        tallies_are_added_up,
    };
    Suite *suite = suite_create("base/tally");
    TCase *all = tcase_create("all");
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    return suite;
}
