#include <check.h>
#include <string.h>

#include "base/error.h"

Suite *suite_base_error(void);

START_TEST(an_error_has_code_and_text_and_no_old_hint)
{
    struct error error = {.hint = "old"};

    ck_assert(!error_set(&error, SQLSTATE_PROTOCOL_VIOLATION, "length %d", 7));
    ck_assert_str_eq(error.sqlstate, "08P01");
    ck_assert_str_eq(error.message, "length 7");
    ck_assert_str_eq(error.hint, "");
}
END_TEST

START_TEST(a_null_error_is_fine)
{
    ck_assert(!error_set(NULL, SQLSTATE_INTERNAL_ERROR, "x"));
    ck_assert(!error_hint(NULL, "x"));
    ck_assert(!error_prefix(NULL, "x"));
}
END_TEST

START_TEST(control_bytes_become_question_marks)
{
    struct error error;

    error_set(&error, SQLSTATE_INTERNAL_ERROR, "a\nb\x1b[c\x7f");
    error_hint(&error, "d\te");
    ck_assert_str_eq(error.message, "a?b?[c?");
    ck_assert_str_eq(error.hint, "d?e");
}
END_TEST

START_TEST(a_long_text_is_cut)
{
    struct error error;

    error_set(&error, SQLSTATE_INTERNAL_ERROR, "%0600d", 1);
    ck_assert_uint_eq(strlen(error.message), ERROR_MESSAGE_MAX - 1);
}
END_TEST

START_TEST(a_cut_never_splits_a_character)
{
    struct error error;

    error_set(&error, SQLSTATE_INTERNAL_ERROR, "%0510d\xc3\xa9", 1);
    ck_assert_uint_eq(strlen(error.message), 510);
}
END_TEST

START_TEST(a_prefix_goes_in_front)
{
    struct error error;

    error_set(&error, SQLSTATE_CONFIG_FILE_ERROR, "bad value");
    error_hint(&error, "write a number");
    ck_assert(!error_prefix(&error, "%s:%d", "pgweir.ini", 3));
    ck_assert_str_eq(error.message, "pgweir.ini:3: bad value");
    ck_assert_str_eq(error.hint, "write a number");
    ck_assert_str_eq(error.sqlstate, "F0000");
}
END_TEST

START_TEST(an_error_can_be_made_of_its_own_text)
{
    struct error error;

    error_set(&error, SQLSTATE_INTERNAL_ERROR, "inner");
    error_set(&error, SQLSTATE_INTERNAL_ERROR, "outer (%s)", error.message);
    ck_assert_str_eq(error.message, "outer (inner)");
    error_prefix(&error, "%s", error.message);
    ck_assert_str_eq(error.message, "outer (inner): outer (inner)");
}
END_TEST

Suite *suite_base_error(void)
{
    Suite *suite = suite_create("base/error");
    TCase *cases = tcase_create("error");

    tcase_add_test(cases, an_error_has_code_and_text_and_no_old_hint);
    tcase_add_test(cases, a_null_error_is_fine);
    tcase_add_test(cases, control_bytes_become_question_marks);
    tcase_add_test(cases, a_long_text_is_cut);
    tcase_add_test(cases, a_cut_never_splits_a_character);
    tcase_add_test(cases, a_prefix_goes_in_front);
    tcase_add_test(cases, an_error_can_be_made_of_its_own_text);
    suite_add_tcase(suite, cases);
    return suite;
}
