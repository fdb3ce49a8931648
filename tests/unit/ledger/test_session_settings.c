#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "ledger/session_settings.h"

Suite *suite_ledger_session_settings(void);

static struct session_list list;
static struct session_profile *one, *other;

static void begin(void)
{
    digest_init();
    list = (struct session_list){0};
    one = other = NULL;
}

static void end(void)
{
    session_list_finish(&list);
    session_profile_release(one);
    session_profile_release(other);
}

static struct session_profile *profile(const char *name, const char *value)
{
    struct session_profile *made;
    ck_assert(session_list_set(&list, name, value));
    ck_assert(session_profile_create(&list, NULL, &made));
    return made;
}

static const char *change(const struct session_profile *from, const struct session_profile *to)
{
    static uint8_t memory[4096];
    const char *separator = "SELECT ";
    struct bytes out = bytes_over(memory, sizeof(memory));
    session_profile_change(from, to, &separator, &out);
    bytes_u8(&out, 0);
    ck_assert(bytes_ok(&out));
    return (const char *)memory;
}

START_TEST(names_are_one_whatever_their_case)
{
    ck_assert(session_list_set(&list, "Work_Mem", "1MB"));
    ck_assert(session_list_set(&list, "work_mem", "2MB"));
    ck_assert_int_eq(list.count, 1);
    ck_assert_str_eq(list.items[0].name, "work_mem");
    ck_assert_str_eq(session_list_get(&list, "WORK_MEM"), "2MB");
}
END_TEST

START_TEST(a_list_is_bounded)
{
    char name[16];
    for (int i = 0; i < SESSION_SETTINGS_MAX; i++) {
        snprintf(name, sizeof(name), "app.n%d", i);
        ck_assert(session_list_set(&list, name, ""));
    }
    ck_assert(!session_list_set(&list, "app.more", ""));
    ck_assert(session_list_set(&list, "app.n0", "changed"));
}
END_TEST

START_TEST(an_empty_list_is_no_profile)
{
    ck_assert(session_profile_create(&list, NULL, &one));
    ck_assert_ptr_null(one);
    ck_assert_uint_eq(session_profile_hash(one), 0);
}
END_TEST

START_TEST(the_order_of_settings_does_not_matter)
{
    session_list_set(&list, "a", "1");
    one = profile("b", "2");
    session_list_finish(&list);
    session_list_set(&list, "b", "2");
    other = profile("a", "1");
    ck_assert_uint_eq(session_profile_hash(one), session_profile_hash(other));
}
END_TEST

START_TEST(a_value_belongs_to_its_name)
{
    session_list_set(&list, "a", "1");
    one = profile("b", "2");
    session_list_finish(&list);
    session_list_set(&list, "a", "2");
    other = profile("b", "1");
    ck_assert_uint_ne(session_profile_hash(one), session_profile_hash(other));
}
END_TEST

START_TEST(time_limits_do_not_decide_what_a_statement_means)
{
    one = profile("search_path", "x");
    other = profile("statement_timeout", "5s");
    ck_assert_uint_eq(one->statement_hash, other->statement_hash);
    ck_assert_uint_ne(one->hash, other->hash);
    ck_assert(!other->disturbs);
}
END_TEST

START_TEST(short_limits_and_those_of_idle_sessions_disturb)
{
    one = profile("statement_timeout", "100ms");
    ck_assert(one->disturbs);
    session_list_finish(&list);
    other = profile("idle_session_timeout", "1h");
    ck_assert(other->disturbs);
}
END_TEST

START_TEST(only_what_differs_is_sent)
{
    session_list_set(&list, "a", "1");
    session_list_set(&list, "b", "2");
    one = profile("c", "3");
    session_list_finish(&list);
    session_list_set(&list, "b", "2");
    other = profile("c", "it's \\");
    ck_assert_str_eq(change(one, other), "SELECT pg_catalog.set_config(E'a',NULL,false), "
                                         "pg_catalog.set_config(E'c',E'it''s \\\\',false)");
}
END_TEST

START_TEST(who_it_is_is_undone_first_and_set_last)
{
    session_list_set(&list, "role", "x");
    one = profile("a", "1");
    other = profile("a", "2");
    ck_assert_str_eq(change(one, other), "SELECT pg_catalog.set_config(E'role',NULL,false), "
                                         "pg_catalog.set_config(E'a',E'2',false), "
                                         "pg_catalog.set_config(E'role',E'x',false)");
}
END_TEST

Suite *suite_ledger_session_settings(void)
{
    Suite *suite = suite_create("ledger/session_settings");
    TCase *tests = tcase_create("session_settings");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, names_are_one_whatever_their_case);
    tcase_add_test(tests, a_list_is_bounded);
    tcase_add_test(tests, an_empty_list_is_no_profile);
    tcase_add_test(tests, the_order_of_settings_does_not_matter);
    tcase_add_test(tests, a_value_belongs_to_its_name);
    tcase_add_test(tests, time_limits_do_not_decide_what_a_statement_means);
    tcase_add_test(tests, short_limits_and_those_of_idle_sessions_disturb);
    tcase_add_test(tests, only_what_differs_is_sent);
    tcase_add_test(tests, who_it_is_is_undone_first_and_set_last);
    suite_add_tcase(suite, tests);
    return suite;
}
