#include <check.h>
#include <stdio.h>
#include <string.h>

#include "config/connstring.h"

Suite *suite_config_connstring(void);

static char text[1024];
static char *at;
static const char *key, *value;

static void over(const char *source)
{
    (void)snprintf(text, sizeof text, "%s", source);
    at = text;
}

static void assert_pair(const char *expected_key, const char *expected_value)
{
    ck_assert_int_eq(connstring_next(&at, &key, &value), CONNSTRING_PAIR);
    ck_assert_str_eq(key, expected_key);
    ck_assert_str_eq(value, expected_value);
}

static void assert_end(void)
{
    ck_assert_int_eq(connstring_next(&at, &key, &value), CONNSTRING_END);
}

static void assert_broken(const char *source)
{
    over(source);
    ck_assert_int_eq(connstring_next(&at, &key, &value), CONNSTRING_BROKEN);
}

START_TEST(pairs_are_separated_by_spaces)
{
    over("host=a  port=5432 ");
    assert_pair("host", "a");
    assert_pair("port", "5432");
    assert_end();
}
END_TEST

START_TEST(an_empty_string_has_no_pairs)
{
    over("   ");
    assert_end();
}
END_TEST

START_TEST(spaces_around_the_equals_sign_are_allowed)
{
    over("pool_size = 3 port\t=\t4");
    assert_pair("pool_size", "3");
    assert_pair("port", "4");
    assert_end();
}
END_TEST

START_TEST(a_quoted_value_keeps_spaces_and_equals_signs)
{
    over("connect_query='select a = 1' port=1");
    assert_pair("connect_query", "select a = 1");
    assert_pair("port", "1");
}
END_TEST

START_TEST(a_doubled_quote_is_one)
{
    over("connect_query='set x = ''y'''");
    assert_pair("connect_query", "set x = 'y'");
    assert_end();
}
END_TEST

START_TEST(a_backslash_is_not_special)
{
    over("password=a\\'b");
    assert_pair("password", "a\\'b");
}
END_TEST

START_TEST(a_quote_inside_a_bare_value_is_a_character)
{
    over("password=it's port=1");
    assert_pair("password", "it's");
    assert_pair("port", "1");
}
END_TEST

START_TEST(a_tab_belongs_to_a_bare_value)
{
    over("host=a\tb port=1");
    assert_pair("host", "a\tb");
    assert_pair("port", "1");
}
END_TEST

START_TEST(one_character_behind_a_closing_quote_is_swallowed)
{
    over("host='a',port=1");
    assert_pair("host", "a");
    assert_pair("port", "1");
}
END_TEST

START_TEST(an_empty_value_is_broken)
{
    assert_broken("host=");
}
END_TEST

START_TEST(an_empty_value_before_another_pair_takes_that_as_its_value)
{
    over("host= port=5");
    assert_pair("host", "port=5");
}
END_TEST

START_TEST(an_empty_quoted_value_is_broken)
{
    assert_broken("host=''");
}
END_TEST

START_TEST(an_open_quote_is_broken)
{
    assert_broken("host='a");
}
END_TEST

START_TEST(a_key_without_equals_sign_is_broken)
{
    assert_broken("host");
}
END_TEST

START_TEST(an_equals_sign_without_key_is_broken)
{
    assert_broken("=a");
}
END_TEST

Suite *suite_config_connstring(void)
{
    Suite *suite = suite_create("config/connstring");
    TCase *tests = tcase_create("connstring");

    tcase_add_test(tests, pairs_are_separated_by_spaces);
    tcase_add_test(tests, an_empty_string_has_no_pairs);
    tcase_add_test(tests, spaces_around_the_equals_sign_are_allowed);
    tcase_add_test(tests, a_quoted_value_keeps_spaces_and_equals_signs);
    tcase_add_test(tests, a_doubled_quote_is_one);
    tcase_add_test(tests, a_backslash_is_not_special);
    tcase_add_test(tests, a_quote_inside_a_bare_value_is_a_character);
    tcase_add_test(tests, a_tab_belongs_to_a_bare_value);
    tcase_add_test(tests, one_character_behind_a_closing_quote_is_swallowed);
    tcase_add_test(tests, an_empty_value_is_broken);
    tcase_add_test(tests, an_empty_value_before_another_pair_takes_that_as_its_value);
    tcase_add_test(tests, an_empty_quoted_value_is_broken);
    tcase_add_test(tests, an_open_quote_is_broken);
    tcase_add_test(tests, a_key_without_equals_sign_is_broken);
    tcase_add_test(tests, an_equals_sign_without_key_is_broken);
    suite_add_tcase(suite, tests);
    return suite;
}
