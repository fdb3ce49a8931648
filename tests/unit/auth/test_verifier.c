#include <check.h>
#include <string.h>

#include "auth/md5.h"
#include "auth/verifier.h"

Suite *suite_auth_verifier(void);

/* Of role mdfive, and of role ascii, password "pencil", as PostgreSQL 15 stored them. */
static const char md5_secret[] = "md5ae46ae764333cf0136d3c3b2fcfb4c62";
static const char scram_secret[] =
    "SCRAM-SHA-256$4096:2Vc50VCNi+/p93QVv4LUCw==$FvFqPjl44y/VLrMCYN9SNBb8QNzLEs1a7HhyoKmGTUk="
    ":LwozlPENa/ma+R2+gJruKDb8z0MFLRtTk/gzDpfuUIM=";
static const uint8_t salt[4] = {7, 0, 255, 1};

static enum verifier_answer cleartext(const char *text, const char *name, const char *password)
{
    struct auth_secret secret;
    ck_assert(auth_secret_set(&secret, text));
    enum verifier_answer answer = verifier_check_cleartext(&secret, name, password);
    auth_secret_finish(&secret);
    return answer;
}

static bool slow(const char *text, const char *password)
{
    struct auth_secret secret;
    ck_assert(auth_secret_set(&secret, text));
    uint8_t client_key[SCRAM_KEY_SIZE];
    bool is_right = verifier_check_cleartext_slow(&secret, password, client_key);
    auth_secret_finish(&secret);
    return is_right;
}

static bool md5(const char *text, const char *name, const char *answer)
{
    struct auth_secret secret;
    ck_assert(auth_secret_set(&secret, text));
    bool is_right = verifier_check_md5(&secret, name, salt, answer);
    auth_secret_finish(&secret);
    return is_right;
}

START_TEST(a_plain_secret_is_compared)
{
    ck_assert_int_eq(cleartext("pencil", "any", "pencil"), VERIFIER_RIGHT);
    ck_assert_int_eq(cleartext("pencil", "any", "pencil "), VERIFIER_WRONG);
    ck_assert_int_eq(cleartext("pencil", "any", "penci"), VERIFIER_WRONG);
    ck_assert_int_eq(cleartext("pencil", "any", ""), VERIFIER_WRONG);
}
END_TEST

START_TEST(a_password_of_the_longest_size_is_compared_whole)
{
    static char text[AUTH_SECRET_MAX + 1], other[AUTH_SECRET_MAX + 1];
    memset(text, 'p', AUTH_SECRET_MAX);
    memcpy(other, text, sizeof(text));
    other[AUTH_SECRET_MAX - 1] = 'q';
    ck_assert_int_eq(cleartext(text, "any", text), VERIFIER_RIGHT);
    ck_assert_int_eq(cleartext(text, "any", other), VERIFIER_WRONG);
}
END_TEST

START_TEST(a_cleartext_password_is_hashed_against_an_md5_secret)
{
    ck_assert_int_eq(cleartext(md5_secret, "mdfive", "pencil"), VERIFIER_RIGHT);
    ck_assert_int_eq(cleartext(md5_secret, "mdfive", "pencils"), VERIFIER_WRONG);
    ck_assert_int_eq(cleartext(md5_secret, "other", "pencil"), VERIFIER_WRONG);
}
END_TEST

START_TEST(an_md5_secret_is_not_its_own_password)
{
    ck_assert_int_eq(cleartext(md5_secret, "mdfive", md5_secret), VERIFIER_WRONG);
}
END_TEST

START_TEST(an_empty_secret_fits_no_password)
{
    ck_assert_int_eq(cleartext("", "any", ""), VERIFIER_WRONG);
    ck_assert(!slow("", ""));
    ck_assert(!md5("", "any", ""));
}
END_TEST

START_TEST(a_scram_secret_needs_pbkdf2)
{
    ck_assert_int_eq(cleartext(scram_secret, "ascii", "pencil"), VERIFIER_NEEDS_PBKDF2);
}
END_TEST

START_TEST(pbkdf2_tells_the_right_password_from_others)
{
    ck_assert(slow(scram_secret, "pencil"));
    ck_assert(!slow(scram_secret, "Pencil"));
    ck_assert(!slow(scram_secret, ""));
    ck_assert(!slow(scram_secret, scram_secret));
}
END_TEST

START_TEST(the_slow_check_is_for_scram_secrets_alone)
{
    ck_assert(!slow("pencil", "pencil"));
    ck_assert(!slow(md5_secret, "pencil"));
}
END_TEST

START_TEST(an_md5_answer_fits_a_plain_and_an_md5_secret)
{
    char answer[MD5_TEXT_SIZE];
    ck_assert(md5_answer(md5_secret, salt, answer));
    ck_assert(md5(md5_secret, "mdfive", answer));
    ck_assert(md5("pencil", "mdfive", answer));
}
END_TEST

START_TEST(an_md5_answer_to_another_salt_or_name_is_wrong)
{
    const uint8_t other_salt[4] = {7, 0, 255, 2};
    char answer[MD5_TEXT_SIZE];

    ck_assert(md5_answer(md5_secret, other_salt, answer));
    ck_assert(!md5(md5_secret, "mdfive", answer));
    ck_assert(md5_answer(md5_secret, salt, answer));
    ck_assert(!md5("pencil", "other", answer));
}
END_TEST

START_TEST(a_replayed_secret_is_no_md5_answer)
{
    ck_assert(!md5(md5_secret, "mdfive", md5_secret));
    ck_assert(!md5("pencil", "mdfive", "pencil"));
    ck_assert(!md5(md5_secret, "mdfive", ""));
}
END_TEST

START_TEST(a_scram_secret_has_no_md5_answer)
{
    char stored[MD5_TEXT_SIZE], answer[MD5_TEXT_SIZE];
    ck_assert(md5_stored("pencil", "ascii", stored));
    ck_assert(md5_answer(stored, salt, answer));
    ck_assert(!md5(scram_secret, "ascii", answer));
}
END_TEST

Suite *suite_auth_verifier(void)
{
    Suite *suite = suite_create("auth/verifier");
    TCase *tests = tcase_create("verifier");

    tcase_add_test(tests, a_plain_secret_is_compared);
    tcase_add_test(tests, a_password_of_the_longest_size_is_compared_whole);
    tcase_add_test(tests, a_cleartext_password_is_hashed_against_an_md5_secret);
    tcase_add_test(tests, an_md5_secret_is_not_its_own_password);
    tcase_add_test(tests, an_empty_secret_fits_no_password);
    tcase_add_test(tests, a_scram_secret_needs_pbkdf2);
    tcase_add_test(tests, pbkdf2_tells_the_right_password_from_others);
    tcase_add_test(tests, the_slow_check_is_for_scram_secrets_alone);
    tcase_add_test(tests, an_md5_answer_fits_a_plain_and_an_md5_secret);
    tcase_add_test(tests, an_md5_answer_to_another_salt_or_name_is_wrong);
    tcase_add_test(tests, a_replayed_secret_is_no_md5_answer);
    tcase_add_test(tests, a_scram_secret_has_no_md5_answer);
    suite_add_tcase(suite, tests);
    return suite;
}
