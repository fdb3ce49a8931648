#include <check.h>

#include "wire/sqlstate.h"

Suite *suite_wire_sqlstate(void);

START_TEST(refusals_of_one_login_are_no_failure_of_the_server)
{
    ck_assert(sqlstate_is_about_the_login("3D000"));
    ck_assert(sqlstate_is_about_the_login("28000"));
    ck_assert(sqlstate_is_about_the_login("28P01"));
    ck_assert(sqlstate_is_about_the_login("42501"));
    ck_assert(sqlstate_is_about_the_login("22023"));
}
END_TEST

START_TEST(failures_of_the_server_are_not_about_the_login)
{
    ck_assert(!sqlstate_is_about_the_login("57P03"));
    ck_assert(!sqlstate_is_about_the_login("53300"));
    ck_assert(!sqlstate_is_about_the_login("XX000"));
    ck_assert(!sqlstate_is_about_the_login(""));
    ck_assert(!sqlstate_is_about_the_login("2"));
}
END_TEST

START_TEST(starting_up_is_one_code)
{
    ck_assert(sqlstate_is_starting_up("57P03"));
    ck_assert(!sqlstate_is_starting_up("57P01"));
    ck_assert(!sqlstate_is_starting_up(""));
}
END_TEST

Suite *suite_wire_sqlstate(void)
{
    Suite *suite = suite_create("wire/sqlstate");
    TCase *cases = tcase_create("sqlstate");

    tcase_add_test(cases, refusals_of_one_login_are_no_failure_of_the_server);
    tcase_add_test(cases, failures_of_the_server_are_not_about_the_login);
    tcase_add_test(cases, starting_up_is_one_code);
    suite_add_tcase(suite, cases);
    return suite;
}
