#include <check.h>
#include <stdio.h>
#include <string.h>

#include "auth/base64.h"
#include "auth/scram.h"

Suite *suite_auth_scram(void);

#define STORED "FvFqPjl44y/VLrMCYN9SNBb8QNzLEs1a7HhyoKmGTUk="
#define SERVER "LwozlPENa/ma+R2+gJruKDb8z0MFLRtTk/gzDpfuUIM="
#define KEYS   "$" STORED ":" SERVER

/* What PostgreSQL 15 stored for these passwords (rolpassword of pg_authid). */
static const struct {
    const char *password, *verifier;
} stored[] = {
    {"pencil", "SCRAM-SHA-256$4096:2Vc50VCNi+/p93QVv4LUCw==" KEYS},
    /* SASLprep: a soft hyphen goes, the angstrom sign becomes a letter. */
    {"I\u00adX\u00fc\u212b",
     "SCRAM-SHA-256$4096:EnYZUevmsVtZv62DYWl1Pg==$/SmUUuRSIXJanPd5w1sxmkYOgQzLZQ+KJI3vANWgGRU="
     ":PSvRy1LLicc+ah/yCDt8CwGBQTOxvQGMfuw7gSedhQw="},
    /* A ligature and a roman numeral become letters. */
    {"\ufb01x\u2168",
     "SCRAM-SHA-256$4096:SeA9LU16oEXs3FaLa5+nYA==$jnOLkvM25cS+PnCNl8XrOr+WXjY5Kz5VR/ogofuk/l8="
     ":keRxIBkt43lZ7H7HlotLpipUaZqh8vIH/VbrokJaV48="},
    /* A no-break space becomes a space. */
    {"a\u00a0b",
     "SCRAM-SHA-256$4096:DouaN2isZL65D+bmi2DGXA==$fgwZDgcUfYgUUZNUC+piD6iPNNZpjW+gz3riLHbLZpE="
     ":eYvE/Utanr6QS30/sYQzA9YmVGsFVqqM4h3ZAjBTMaM="},
    /* Not assigned in Unicode 3.2: refused, so as it is. */
    {"p\U0001f600\u212b",
     "SCRAM-SHA-256$4096:KznOK1yEe+zrbdGOHs8qlQ==$uDUEkkkkUYw3by5ZyMnMZjKkPbNqft7bYeBuLuw458A="
     ":Km+hLADIIXp638pxkDmwzfV5fxcjV2nBPsHAWX2Vkmk="},
    /* Right to left, and does not end so: refused. */
    {"\u06271",
     "SCRAM-SHA-256$4096:zON9fhm3l5CLDKkGyI115Q==$2YNtXKpiJz707S3kKC5zkA2jRPCe4ueIUxqZ/d4M13k="
     ":F7ppLPJsQce4fP0n7Muv4EciIElClQsDs42JmABGmo0="},
    /* Nothing is left of it: refused. */
    {"\u00ad",
     "SCRAM-SHA-256$4096:OxvRq40UqJ7USNYuoLOkeA==$+l7QdqiPEd1dMbnHGZtmTuxXYlh/BRFdJKOiaGnHg6E="
     ":N5zHfid68MbuPTw+J4NT4SwbSuokVLZEvRwcV3OxDSE="},
};

START_TEST(keys_of_a_password_are_those_that_postgresql_stored)
{
    struct scram_verifier verifier;
    uint8_t salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE], stored_key[SCRAM_KEY_SIZE],
        server_key[SCRAM_KEY_SIZE];

    ck_assert(scram_verifier_parse(stored[_i].verifier, &verifier));
    ck_assert_uint_eq(verifier.iterations, 4096);
    ck_assert_uint_eq(verifier.salt_size, 16);
    ck_assert(scram_salt_password(stored[_i].password, verifier.salt, verifier.salt_size,
                                  verifier.iterations, salted));
    scram_keys(salted, client_key, stored_key, server_key);
    ck_assert_mem_eq(stored_key, verifier.stored_key, SCRAM_KEY_SIZE);
    ck_assert_mem_eq(server_key, verifier.server_key, SCRAM_KEY_SIZE);
}
END_TEST

START_TEST(a_password_of_300_bytes_has_the_keys_that_postgresql_stored)
{
    struct scram_verifier verifier;
    uint8_t salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE], stored_key[SCRAM_KEY_SIZE],
        server_key[SCRAM_KEY_SIZE];
    char password[301];

    memset(password, 'p', 300);
    password[300] = '\0';
    ck_assert(scram_verifier_parse("SCRAM-SHA-256$4096:MVC/+Z++cXcMCfRppiyJtQ==$"
                                   "SCyv5K2jNJLKWZ+oEp8dRj/m1xcGcCB0cS/IazrHW+I=:"
                                   "SzDp+G95NAA0btivS0k4TmqR9dcssCYl/f5S1pMzUXA=",
                                   &verifier));
    ck_assert(scram_salt_password(password, verifier.salt, verifier.salt_size, verifier.iterations,
                                  salted));
    scram_keys(salted, client_key, stored_key, server_key);
    ck_assert_mem_eq(stored_key, verifier.stored_key, SCRAM_KEY_SIZE);
}
END_TEST

START_TEST(a_salt_of_32_bytes_is_taken)
{
    struct scram_verifier verifier;
    ck_assert(scram_verifier_parse(
        "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" KEYS, &verifier));
    ck_assert_uint_eq(verifier.salt_size, 32);
    ck_assert_uint_eq(verifier.salt[31], 31);
}
END_TEST

START_TEST(a_salt_of_the_largest_size_is_taken_and_no_larger_one)
{
    static const uint8_t salt[SCRAM_SALT_MAX + 1];
    char salt_text[BASE64_TEXT_SIZE(sizeof(salt)) + 1], text[2048];
    struct scram_verifier verifier;

    base64_encode(salt, SCRAM_SALT_MAX, salt_text);
    snprintf(text, sizeof(text), "SCRAM-SHA-256$1:%s" KEYS, salt_text);
    ck_assert(scram_verifier_parse(text, &verifier));
    ck_assert_uint_eq(verifier.salt_size, SCRAM_SALT_MAX);
    base64_encode(salt, SCRAM_SALT_MAX + 1, salt_text);
    snprintf(text, sizeof(text), "SCRAM-SHA-256$1:%s" KEYS, salt_text);
    ck_assert(!scram_verifier_parse(text, &verifier));
}
END_TEST

START_TEST(the_largest_iteration_count_is_that_of_an_int)
{
    struct scram_verifier verifier;
    ck_assert(scram_verifier_parse("SCRAM-SHA-256$2147483639:AAAA" KEYS, &verifier));
    ck_assert_uint_eq(verifier.iterations, 2147483639);
    ck_assert(!scram_verifier_parse("SCRAM-SHA-256$2147483648:AAAA" KEYS, &verifier));
    ck_assert(!scram_verifier_parse("SCRAM-SHA-256$99999999999999999999:AAAA" KEYS, &verifier));
}
END_TEST

static const char *const malformed[] = {
    "",
    "pencil",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256$",
    "SCRAM-SHA-1$4096:AAAA" KEYS,
    "scram-sha-256$4096:AAAA" KEYS,
    "SCRAM-SHA-256$4096",
    "SCRAM-SHA-256$4096:AAAA",
    "SCRAM-SHA-256$4096:AAAA$" STORED,
    "SCRAM-SHA-256$4096:AAAA$" STORED ":",
    "SCRAM-SHA-256$:AAAA" KEYS,
    "SCRAM-SHA-256$0:AAAA" KEYS,
    "SCRAM-SHA-256$-1:AAAA" KEYS,
    "SCRAM-SHA-256$+1:AAAA" KEYS,
    "SCRAM-SHA-256$ 1:AAAA" KEYS,
    "SCRAM-SHA-256$4096:" KEYS,
    "SCRAM-SHA-256$4096:AAA" KEYS,
    "SCRAM-SHA-256$4096:A*AA" KEYS,
    "SCRAM-SHA-256$4096:AAAA$AAAA:" SERVER,
    "SCRAM-SHA-256$4096:AAAA$" STORED ":AAAA",
    "SCRAM-SHA-256$4096:AAAA" KEYS " ",
    "SCRAM-SHA-256$4096:AAAA" KEYS "$",
    "SCRAM-SHA-256$4096:AAAA" KEYS KEYS,
};

START_TEST(a_malformed_verifier_is_refused)
{
    struct scram_verifier verifier;
    ck_assert_msg(!scram_verifier_parse(malformed[_i], &verifier), "%s", malformed[_i]);
}
END_TEST

START_TEST(no_iterations_is_no_salted_password)
{
    const uint8_t salt[4] = {0};
    uint8_t salted[SCRAM_KEY_SIZE];
    ck_assert(!scram_salt_password("pencil", salt, sizeof(salt), 0, salted));
}
END_TEST

START_TEST(a_mock_salt_depends_on_key_and_identity_alone)
{
    uint8_t key[32] = {1}, first[16], second[16];

    scram_mock_salt(key, "db/user", first);
    scram_mock_salt(key, "db/user", second);
    ck_assert_mem_eq(first, second, sizeof(first));
    scram_mock_salt(key, "db/other", second);
    ck_assert_mem_ne(first, second, sizeof(first));
    key[31] = 1;
    scram_mock_salt(key, "db/user", second);
    ck_assert_mem_ne(first, second, sizeof(first));
}
END_TEST

START_TEST(a_mock_verifier_begins_with_the_mock_salt)
{
    const uint8_t key[32] = {1};
    uint8_t salt[16];
    struct scram_verifier verifier;

    scram_mock_salt(key, "db/user", salt);
    scram_mock_verifier(key, "db/user", 5000, 16, &verifier);
    ck_assert_uint_eq(verifier.iterations, 5000);
    ck_assert_uint_eq(verifier.salt_size, 16);
    ck_assert_mem_eq(verifier.salt, salt, sizeof(salt));
    scram_mock_verifier(key, "db/user", 5000, 100, &verifier);
    ck_assert_uint_eq(verifier.salt_size, 100);
    ck_assert_mem_eq(verifier.salt, salt, sizeof(salt));
    ck_assert_mem_ne(verifier.salt + 32, verifier.salt + 64, 32);
    ck_assert_mem_ne(verifier.salt, verifier.salt + 32, 32);
}
END_TEST

Suite *suite_auth_scram(void)
{
    Suite *suite = suite_create("auth/scram");
    TCase *tests = tcase_create("scram");

    tcase_add_loop_test(tests, keys_of_a_password_are_those_that_postgresql_stored, 0,
                        (int)(sizeof(stored) / sizeof(stored[0])));
    tcase_add_test(tests, a_password_of_300_bytes_has_the_keys_that_postgresql_stored);
    tcase_add_test(tests, a_salt_of_32_bytes_is_taken);
    tcase_add_test(tests, a_salt_of_the_largest_size_is_taken_and_no_larger_one);
    tcase_add_test(tests, the_largest_iteration_count_is_that_of_an_int);
    tcase_add_loop_test(tests, a_malformed_verifier_is_refused, 0,
                        (int)(sizeof(malformed) / sizeof(malformed[0])));
    tcase_add_test(tests, no_iterations_is_no_salted_password);
    tcase_add_test(tests, a_mock_salt_depends_on_key_and_identity_alone);
    tcase_add_test(tests, a_mock_verifier_begins_with_the_mock_salt);
    suite_add_tcase(suite, tests);
    return suite;
}
