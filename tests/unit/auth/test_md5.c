#include <check.h>

#include "auth/md5.h"

Suite *suite_auth_md5(void);

START_TEST(a_stored_hash_is_the_one_that_postgresql_made)
{
    char text[MD5_TEXT_SIZE];
    ck_assert(md5_stored("pencil", "mdfive", text));
    ck_assert_str_eq(text, "md5ae46ae764333cf0136d3c3b2fcfb4c62");
}
END_TEST

START_TEST(an_answer_hashes_the_stored_digits_and_the_salt)
{
    const uint8_t salt[4] = {0x01, 0x02, 0x03, 0x04};
    char text[MD5_TEXT_SIZE];

    ck_assert(md5_answer("md5ae46ae764333cf0136d3c3b2fcfb4c62", salt, text));
    ck_assert_str_eq(text, "md5c5d39c8af4921079550937ef4f5da0f8");
}
END_TEST

START_TEST(a_stored_hash_of_another_length_has_no_answer)
{
    const uint8_t salt[4] = {0};
    char text[MD5_TEXT_SIZE];

    ck_assert(!md5_answer("", salt, text));
    ck_assert(!md5_answer("md5", salt, text));
    ck_assert(!md5_answer("md5ae46ae764333cf0136d3c3b2fcfb4c6", salt, text));
    ck_assert(!md5_answer("md5ae46ae764333cf0136d3c3b2fcfb4c622", salt, text));
}
END_TEST

Suite *suite_auth_md5(void)
{
    Suite *suite = suite_create("auth/md5");
    TCase *tests = tcase_create("md5");

    tcase_add_test(tests, a_stored_hash_is_the_one_that_postgresql_made);
    tcase_add_test(tests, an_answer_hashes_the_stored_digits_and_the_salt);
    tcase_add_test(tests, a_stored_hash_of_another_length_has_no_answer);
    suite_add_tcase(suite, tests);
    return suite;
}
