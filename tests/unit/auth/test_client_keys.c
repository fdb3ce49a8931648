#include <check.h>
#include <string.h>

#include "auth/client_keys.h"
#include "auth/crypto.h"
#include "base/digest.h"

Suite *suite_auth_client_keys(void);

/* Of RFC 7677: password "pencil". */
#define VERIFIER                                                                                   \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static struct key_cache *cache;
static uint8_t client_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
static const struct client_keys_owner owner = {"shop", "anna", "anna", VERIFIER};

static void set_up(void)
{
    uint8_t salted[SCRAM_KEY_SIZE], stored_key[SCRAM_KEY_SIZE];
    struct scram_verifier verifier;
    struct error error;

    digest_init();
    ck_assert(auth_crypto_init(&error));
    ck_assert(scram_verifier_parse(VERIFIER, &verifier));
    ck_assert(scram_salt_password("pencil", verifier.salt, verifier.salt_size, verifier.iterations,
                                  salted));
    scram_keys(salted, client_key, stored_key, server_key);
    ck_assert_mem_eq(stored_key, verifier.stored_key, SCRAM_KEY_SIZE);
    cache = key_cache_create(CLIENT_KEYS_MAX);
    ck_assert_ptr_nonnull(cache);
}

static void tear_down(void)
{
    key_cache_destroy(cache);
    auth_crypto_finish();
}

static bool is_known(struct client_keys_owner who)
{
    uint8_t found_client[SCRAM_KEY_SIZE], found_server[SCRAM_KEY_SIZE];

    if (!client_keys_get(cache, &who, found_client, found_server))
        return false;
    ck_assert_mem_eq(found_client, client_key, SCRAM_KEY_SIZE);
    ck_assert_mem_eq(found_server, server_key, SCRAM_KEY_SIZE);
    return true;
}

START_TEST(a_key_comes_back_with_the_verifiers_server_key)
{
    ck_assert(!is_known(owner));
    client_keys_put(cache, &owner, client_key);
    ck_assert(is_known(owner));
}
END_TEST

START_TEST(no_other_identity_gets_it)
{
    client_keys_put(cache, &owner, client_key);
    ck_assert(!is_known((struct client_keys_owner){"other", "anna", "anna", VERIFIER}));
    ck_assert(!is_known((struct client_keys_owner){"shop", "bert", "anna", VERIFIER}));
    ck_assert(!is_known((struct client_keys_owner){"shop", "anna", "bert", VERIFIER}));
    ck_assert(!is_known((struct client_keys_owner){"shopa", "nna", "anna", VERIFIER}));
}
END_TEST

START_TEST(a_changed_verifier_unmakes_it)
{
    char changed[] = VERIFIER;

    client_keys_put(cache, &owner, client_key);
    changed[strlen("SCRAM-SHA-256$")] = '5';
    ck_assert(!is_known((struct client_keys_owner){"shop", "anna", "anna", changed}));
}
END_TEST

START_TEST(a_key_that_is_not_of_the_verifier_is_not_kept)
{
    uint8_t other[SCRAM_KEY_SIZE] = {1};
    const struct client_keys_owner plain = {"shop", "anna", "anna", "pencil"};

    client_keys_put(cache, &owner, other);
    ck_assert(!is_known(owner));
    client_keys_put(cache, &plain, client_key);
    ck_assert(!is_known(plain));
    ck_assert_uint_eq(key_cache_count(cache), 0);
}
END_TEST

START_TEST(names_of_any_length_are_kept_apart)
{
    char long_name[2000];

    memset(long_name, 'n', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    struct client_keys_owner who = {long_name, "anna", "anna", VERIFIER};
    client_keys_put(cache, &who, client_key);
    ck_assert(is_known(who));
    long_name[sizeof(long_name) - 2] = 'm';
    ck_assert(!is_known(who));
}
END_TEST

Suite *suite_auth_client_keys(void)
{
    Suite *suite = suite_create("auth/client_keys");
    TCase *tests = tcase_create("client_keys");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_key_comes_back_with_the_verifiers_server_key);
    tcase_add_test(tests, no_other_identity_gets_it);
    tcase_add_test(tests, a_changed_verifier_unmakes_it);
    tcase_add_test(tests, a_key_that_is_not_of_the_verifier_is_not_kept);
    tcase_add_test(tests, names_of_any_length_are_kept_apart);
    suite_add_tcase(suite, tests);
    return suite;
}
