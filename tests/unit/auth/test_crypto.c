#include <check.h>
#include <stdio.h>
#include <string.h>

#include "auth/crypto.h"

Suite *suite_auth_crypto(void);

static struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static void claim_hex(const uint8_t *bytes, size_t size, const char *hex)
{
    char text[2 * AUTH_SHA256_SIZE + 1];
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    ck_assert_str_eq(text, hex);
}

static void claim_pbkdf2(const char *password, const char *salt, uint32_t iterations,
                         const char *hex)
{
    struct auth_crypto_key key;
    uint8_t derived[AUTH_SHA256_SIZE];

    auth_crypto_key_set(&key, password, strlen(password));
    auth_crypto_pbkdf2(&key, span_of(salt), iterations, derived);
    claim_hex(derived, sizeof(derived), hex);
}

START_TEST(start_up_finds_a_fit_openssl)
{
    struct error error;
    ck_assert(auth_crypto_init(&error));
    auth_crypto_finish();
}
END_TEST

START_TEST(sha256_of_abc_is_that_of_fips_180)
{
    uint8_t digest[AUTH_SHA256_SIZE];
    auth_crypto_sha256("abc", 3, digest);
    claim_hex(digest, sizeof(digest),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

START_TEST(hmac_with_a_key_longer_than_a_block_is_that_of_rfc_4231_case_6)
{
    uint8_t secret[131], mac[AUTH_SHA256_SIZE];
    struct auth_crypto_key key;
    struct span text = span_of("Test Using Larger Than Block-Size Key - Hash Key First");

    memset(secret, 0xaa, sizeof(secret));
    auth_crypto_key_set(&key, secret, sizeof(secret));
    auth_crypto_hmac(&key, &text, 1, mac);
    claim_hex(mac, sizeof(mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}
END_TEST

START_TEST(hmac_of_parts_is_that_of_the_whole)
{
    struct auth_crypto_key key;
    struct span whole = span_of("one two three");
    struct span parts[] = {span_of("one "), {NULL, 0}, span_of("two"), span_of(" three")};
    uint8_t first[AUTH_SHA256_SIZE], second[AUTH_SHA256_SIZE];

    auth_crypto_key_set(&key, "key", 3);
    auth_crypto_hmac(&key, &whole, 1, first);
    auth_crypto_hmac(&key, parts, 4, second);
    ck_assert_mem_eq(first, second, sizeof(first));
}
END_TEST

/* RFC 7914 §11 has the first; the others are the published answers for RFC 6070's inputs with
 * SHA-256. */
START_TEST(pbkdf2_gives_the_published_answers)
{
    claim_pbkdf2("passwd", "salt", 1,
                 "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
    claim_pbkdf2("password", "salt", 2,
                 "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43");
    claim_pbkdf2("password", "salt", 4096,
                 "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a");
}
END_TEST

START_TEST(md5_is_the_same_before_and_after_start_up)
{
    struct span parts[] = {span_of("message "), span_of("digest")};
    uint8_t digest[AUTH_MD5_SIZE];

    ck_assert(auth_crypto_md5(parts, 2, digest));
    claim_hex(digest, sizeof(digest), "f96b697d7cb7938d525a2f31aaf161d0");
    ck_assert(auth_crypto_init(NULL));
    ck_assert(auth_crypto_md5(parts, 2, digest));
    claim_hex(digest, sizeof(digest), "f96b697d7cb7938d525a2f31aaf161d0");
    auth_crypto_finish();
}
END_TEST

Suite *suite_auth_crypto(void)
{
    Suite *suite = suite_create("auth/crypto");
    TCase *tests = tcase_create("crypto");

    tcase_add_test(tests, start_up_finds_a_fit_openssl);
    tcase_add_test(tests, sha256_of_abc_is_that_of_fips_180);
    tcase_add_test(tests, hmac_with_a_key_longer_than_a_block_is_that_of_rfc_4231_case_6);
    tcase_add_test(tests, hmac_of_parts_is_that_of_the_whole);
    tcase_add_test(tests, pbkdf2_gives_the_published_answers);
    tcase_add_test(tests, md5_is_the_same_before_and_after_start_up);
    suite_add_tcase(suite, tests);
    return suite;
}
