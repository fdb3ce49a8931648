#include <check.h>
#include <string.h>

#include "auth/saslprep.h"
#include "base/memory.h"

Suite *suite_auth_saslprep(void);

static void claim_prepared(const char *password, const char *expected)
{
    char *prepared;
    ck_assert(saslprep(password, &prepared));
    ck_assert_ptr_nonnull(prepared);
    ck_assert_str_eq(prepared, expected);
    memory_free_secret(prepared);
}

static void claim_as_it_is(const char *password)
{
    char *prepared;
    ck_assert(saslprep(password, &prepared));
    ck_assert_ptr_null(prepared);
}

START_TEST(ascii_is_used_as_it_is)
{
    claim_as_it_is("pencil");
    claim_as_it_is("");
    claim_as_it_is("tab\tand bell\a");
}
END_TEST

/* RFC 4013 §3, with letters that are not ASCII added where the example has none. */
START_TEST(text_is_mapped_and_normalised)
{
    claim_prepared("I\u00adX", "IX");
    claim_prepared("\u00aa", "a");
    claim_prepared("\u2168", "IX");
    claim_prepared("a\u00a0b", "a b");
    claim_prepared("u\u0308", "\u00fc");
}
END_TEST

START_TEST(a_character_that_becomes_eighteen_fits)
{
    char *prepared;
    ck_assert(saslprep("\ufdfa\ufdfa\ufdfa", &prepared));
    ck_assert_ptr_nonnull(prepared);
    ck_assert_uint_gt(strlen(prepared), 60);
    memory_free_secret(prepared);
}
END_TEST

START_TEST(refused_text_is_used_as_it_is)
{
    claim_as_it_is("\u06271");           /* right to left, and does not end so */
    claim_as_it_is("\u212b\x07");        /* a control character */
    claim_as_it_is("p\U0001f600\u212b"); /* not assigned in Unicode 3.2 */
}
END_TEST

START_TEST(text_of_which_nothing_is_left_is_used_as_it_is)
{
    claim_as_it_is("\u00ad");
}
END_TEST

START_TEST(what_is_not_utf8_is_used_as_it_is)
{
    claim_as_it_is("\xfc");
    claim_as_it_is("a\xc3");
    claim_as_it_is("\xed\xa0\x80");
}
END_TEST

START_TEST(long_text_that_is_not_ascii_is_used_as_it_is)
{
    char text[SASLPREP_BYTES_MAX + 2];

    memset(text, 'x', sizeof(text));
    memcpy(text, "\u2168", 3);
    text[SASLPREP_BYTES_MAX + 1] = '\0';
    claim_as_it_is(text);

    char *prepared;
    text[SASLPREP_BYTES_MAX] = '\0';
    ck_assert(saslprep(text, &prepared));
    ck_assert_ptr_nonnull(prepared);
    ck_assert_int_eq(strncmp(prepared, "IXxx", 4), 0);
    memory_free_secret(prepared);
}
END_TEST

Suite *suite_auth_saslprep(void)
{
    Suite *suite = suite_create("auth/saslprep");
    TCase *tests = tcase_create("saslprep");

    tcase_add_test(tests, ascii_is_used_as_it_is);
    tcase_add_test(tests, text_is_mapped_and_normalised);
    tcase_add_test(tests, a_character_that_becomes_eighteen_fits);
    tcase_add_test(tests, refused_text_is_used_as_it_is);
    tcase_add_test(tests, text_of_which_nothing_is_left_is_used_as_it_is);
    tcase_add_test(tests, what_is_not_utf8_is_used_as_it_is);
    tcase_add_test(tests, long_text_that_is_not_ascii_is_used_as_it_is);
    suite_add_tcase(suite, tests);
    return suite;
}
