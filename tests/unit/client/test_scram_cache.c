/* Derivations on real helper threads, answered on a real loop. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "auth/crypto.h"
#include "base/digest.h"
#include "client/scram_cache.h"

Suite *suite_client_scram_cache(void);

static struct loop *loop;
static struct offload *offload;
static struct scram_cache *cache;
static int answers, expected;

static const uint8_t salt[SCRAM_DERIVED_SALT] = "0123456789abcde";

static void set_up(void)
{
    struct error error;
    digest_init();
    ck_assert(auth_crypto_init(&error));
    loop = loop_create(&error);
    offload = offload_create();
    cache = scram_cache_create();
    ck_assert(loop != NULL && offload != NULL && cache != NULL);
    answers = expected = 0;
}

static void tear_down(void)
{
    offload_destroy(offload);
    loop_destroy(loop);
    scram_cache_destroy(cache);
    auth_crypto_finish();
}

static struct scram_cache_subject subject_of(const char *user, const char *password)
{
    return (struct scram_cache_subject){
        .user = user, .password = password, .salt = salt, .iterations = 4096};
}

static void answer(void *argument, bool ok)
{
    (void)argument;
    ck_assert(ok);
    if (++answers == expected)
        loop_stop(loop);
}

static struct scram_cache_wait *derive(const char *user, const char *password)
{
    struct scram_cache_subject subject = subject_of(user, password);
    return scram_cache_derive(cache, offload, loop, &subject, answer, NULL);
}

static void run_until(int count)
{
    expected = count;
    loop_run(loop);
}

static bool get(const char *user, const char *password, uint8_t stored_key[SCRAM_KEY_SIZE],
                uint8_t server_key[SCRAM_KEY_SIZE])
{
    struct scram_cache_subject subject = subject_of(user, password);
    return scram_cache_get(cache, &subject, stored_key, server_key);
}

static bool has(const char *user, const char *password)
{
    uint8_t stored_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
    return get(user, password, stored_key, server_key);
}

START_TEST(keys_that_were_never_derived_are_not_there)
{
    ck_assert(!has("ann", "pencil"));
}
END_TEST

START_TEST(derived_keys_are_those_of_the_password)
{
    uint8_t salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE], stored_key[SCRAM_KEY_SIZE],
        server_key[SCRAM_KEY_SIZE], found_stored[SCRAM_KEY_SIZE], found_server[SCRAM_KEY_SIZE];
    ck_assert(scram_salt_password("pencil", salt, sizeof(salt), 4096, salted));
    scram_keys(salted, client_key, stored_key, server_key);
    ck_assert_ptr_nonnull(derive("ann", "pencil"));
    run_until(1);
    ck_assert(get("ann", "pencil", found_stored, found_server));
    ck_assert_mem_eq(found_stored, stored_key, SCRAM_KEY_SIZE);
    ck_assert_mem_eq(found_server, server_key, SCRAM_KEY_SIZE);
}
END_TEST

START_TEST(another_password_has_no_keys)
{
    ck_assert_ptr_nonnull(derive("ann", "pencil"));
    run_until(1);
    ck_assert(!has("ann", "other"));
    ck_assert(!has("bob", "pencil"));
}
END_TEST

START_TEST(all_who_wait_for_the_same_are_answered)
{
    for (int i = 0; i < 100; i++)
        ck_assert_ptr_nonnull(derive("ann", "pencil"));
    run_until(100);
    ck_assert(has("ann", "pencil"));
}
END_TEST

START_TEST(who_has_gone_is_not_called)
{
    scram_cache_forget(derive("ann", "pencil"));
    ck_assert_ptr_nonnull(derive("ann", "pencil"));
    run_until(1);
    ck_assert_int_eq(answers, 1);
}
END_TEST

START_TEST(too_many_derivations_are_refused)
{
    char user[32];
    int taken = 0;
    for (int i = 0; i < SCRAM_DERIVATIONS_MAX + 1; i++) {
        snprintf(user, sizeof(user), "user %d", i);
        taken += derive(user, "pencil") != NULL;
    }
    ck_assert_int_eq(taken, SCRAM_DERIVATIONS_MAX);
}
END_TEST

/* "pencil", of RFC 7677 §3. */
static char verifier_text[] = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
                              "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                              "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
static const struct auth_secret verifier = {.kind = AUTH_SECRET_SCRAM, .text = verifier_text};

static void take_verdict(void *argument, bool is_right, const uint8_t client_key[SCRAM_KEY_SIZE])
{
    (void)client_key;
    *(bool *)argument = is_right;
    loop_stop(loop);
}

static struct scram_check *check(const char *password, bool *is_right)
{
    return scram_cache_check(cache, offload, loop, &verifier, password, take_verdict, is_right);
}

START_TEST(the_password_of_a_verifier_is_right)
{
    bool is_right = false;
    ck_assert_ptr_nonnull(check("pencil", &is_right));
    loop_run(loop);
    ck_assert(is_right);
}
END_TEST

START_TEST(another_password_than_the_verifiers_is_wrong)
{
    bool is_right = true;
    ck_assert_ptr_nonnull(check("pencils", &is_right));
    loop_run(loop);
    ck_assert(!is_right);
}
END_TEST

START_TEST(the_verdict_for_one_who_has_gone_is_not_told)
{
    bool is_right = false, other = false;
    scram_cache_forget_check(check("pencil", &is_right));
    ck_assert_ptr_nonnull(check("pencil", &other));
    loop_run(loop);
    ck_assert(!is_right);
}
END_TEST

/* The leak sanitizer is the judge: the helpers' end drops most of these without a word. */
START_TEST(what_the_helpers_never_began_goes_with_the_cache)
{
    static bool verdict;
    for (int i = 0; i < 200; i++)
        ck_assert_ptr_nonnull(check("pencil", &verdict));
    for (int i = 0; i < 50; i++)
        ck_assert_ptr_nonnull(derive("ann", i % 2 == 0 ? "pencil" : "other"));
}
END_TEST

Suite *suite_client_scram_cache(void)
{
    Suite *suite = suite_create("client/scram_cache");
    TCase *tests = tcase_create("scram_cache");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, keys_that_were_never_derived_are_not_there);
    tcase_add_test(tests, derived_keys_are_those_of_the_password);
    tcase_add_test(tests, another_password_has_no_keys);
    tcase_add_test(tests, all_who_wait_for_the_same_are_answered);
    tcase_add_test(tests, who_has_gone_is_not_called);
    tcase_add_test(tests, too_many_derivations_are_refused);
    tcase_add_test(tests, the_password_of_a_verifier_is_right);
    tcase_add_test(tests, another_password_than_the_verifiers_is_wrong);
    tcase_add_test(tests, the_verdict_for_one_who_has_gone_is_not_told);
    tcase_add_test(tests, what_the_helpers_never_began_goes_with_the_cache);
    suite_add_tcase(suite, tests);
    return suite;
}
