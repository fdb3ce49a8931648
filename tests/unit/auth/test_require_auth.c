#include <check.h>

#include "auth/require_auth.h"

Suite *suite_auth_require_auth(void);

static struct error error;

static unsigned allowed_by(const char *text)
{
    unsigned allowed = 0;
    ck_assert(require_auth_parse(text, &allowed, &error));
    return allowed;
}

static void claim_refused(const char *text)
{
    unsigned allowed;
    ck_assert_msg(!require_auth_parse(text, &allowed, &error), "%s", text);
    ck_assert(error.message[0] != '\0');
}

START_TEST(nothing_said_allows_all)
{
    ck_assert_uint_eq(allowed_by(NULL), SERVER_AUTH_ALL);
    ck_assert_uint_eq(allowed_by(" , "), SERVER_AUTH_ALL);
}
END_TEST

START_TEST(a_list_allows_what_it_names)
{
    ck_assert_uint_eq(allowed_by("scram-sha-256"), SERVER_AUTH_SCRAM);
    ck_assert_uint_eq(allowed_by("md5, none"), SERVER_AUTH_MD5 | SERVER_AUTH_NONE);
}
END_TEST

START_TEST(marks_of_negation_allow_all_others)
{
    ck_assert_uint_eq(allowed_by("!password,!md5"),
                      SERVER_AUTH_SCRAM | SERVER_AUTH_NONE | SERVER_AUTH_OTHER);
}
END_TEST

START_TEST(other_words_and_mixtures_are_refused)
{
    claim_refused("scram");
    claim_refused("md5,!none");
    claim_refused("!");
    claim_refused("!!md5");
}
END_TEST

Suite *suite_auth_require_auth(void)
{
    Suite *suite = suite_create("auth/require_auth");
    TCase *tests = tcase_create("require_auth");

    tcase_add_test(tests, nothing_said_allows_all);
    tcase_add_test(tests, a_list_allows_what_it_names);
    tcase_add_test(tests, marks_of_negation_allow_all_others);
    tcase_add_test(tests, other_words_and_mixtures_are_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
