/* What both sides share: verifiers, keys, salts. */
#include "auth/scram.h"

#include <string.h>

#include "auth/base64.h"
#include "auth/crypto.h"
#include "auth/saslprep.h"
#include "base/memory.h"
#include "base/random.h"
#include "scram_message.h"

#define VERIFIER_PREFIX SCRAM_MECHANISM "$"
#define ITERATIONS_MAX  INT32_MAX /* PostgreSQL keeps them in an int */

/* Text up to `mark`, which is taken too; `failed` when there is none. */
static struct span take_until(struct cursor *cursor, char mark)
{
    size_t left = cursor_left(cursor);
    const uint8_t *end = left > 0 ? memchr(cursor->at, mark, left) : NULL;
    struct span text = cursor_bytes(cursor, end != NULL ? (size_t)(end - cursor->at) : left + 1);
    cursor_u8(cursor);
    return text;
}

bool scram_take_iterations(struct span text, uint32_t *iterations)
{
    struct cursor cursor = cursor_over(text.data, text.size);
    uint32_t value = 0;

    while (cursor_left(&cursor) > 0) {
        uint8_t digit = cursor_u8(&cursor);
        if (digit < '0' || digit > '9' || value > (ITERATIONS_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint32_t)(digit - '0');
    }
    *iterations = value;
    return value > 0;
}

static bool decode_key(struct span text, uint8_t key[SCRAM_KEY_SIZE])
{
    size_t size;
    return base64_decode(text, key, SCRAM_KEY_SIZE, &size) && size == SCRAM_KEY_SIZE;
}

bool scram_verifier_parse(const char *text, struct scram_verifier *verifier)
{
    struct cursor cursor = cursor_over(text, strlen(text));

    if (!span_is(cursor_bytes(&cursor, sizeof(VERIFIER_PREFIX) - 1), VERIFIER_PREFIX))
        return false;
    struct span iterations = take_until(&cursor, ':');
    struct span salt = take_until(&cursor, '$');
    struct span stored_key = take_until(&cursor, ':');
    struct span server_key = cursor_rest(&cursor, BASE64_TEXT_SIZE(SCRAM_KEY_SIZE));
    return cursor_finished(&cursor) && scram_take_iterations(iterations, &verifier->iterations) &&
           base64_decode(salt, verifier->salt, sizeof(verifier->salt), &verifier->salt_size) &&
           verifier->salt_size > 0 && decode_key(stored_key, verifier->stored_key) &&
           decode_key(server_key, verifier->server_key);
}

void scram_keys(const uint8_t salted[SCRAM_KEY_SIZE], uint8_t client_key[SCRAM_KEY_SIZE],
                uint8_t stored_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE])
{
    static const struct span client_text = {(const uint8_t *)"Client Key", 10};
    static const struct span server_text = {(const uint8_t *)"Server Key", 10};
    struct auth_crypto_key key;

    auth_crypto_key_set(&key, salted, SCRAM_KEY_SIZE);
    auth_crypto_hmac(&key, &client_text, 1, client_key);
    auth_crypto_hmac(&key, &server_text, 1, server_key);
    auth_crypto_sha256(client_key, SCRAM_KEY_SIZE, stored_key);
    memory_wipe(&key, sizeof(key));
}

bool scram_salt_password(const char *password, const uint8_t *salt, size_t salt_size,
                         uint32_t iterations, uint8_t salted[SCRAM_KEY_SIZE])
{
    struct auth_crypto_key key;
    char *prepared;

    if (iterations == 0 || !saslprep(password, &prepared))
        return false;
    const char *text = prepared != NULL ? prepared : password;
    auth_crypto_key_set(&key, text, strlen(text));
    auth_crypto_pbkdf2(&key, (struct span){salt, salt_size}, iterations, salted);
    memory_wipe(&key, sizeof(key));
    memory_free_secret(prepared);
    return true;
}

/* Block `number` of an endless salt for `identity`: HMAC(key, identity), then HMAC(key, identity 0
 * number). */
static void mock_block(const uint8_t key[32], const char *identity, uint8_t number,
                       uint8_t block[AUTH_SHA256_SIZE])
{
    const uint8_t suffix[2] = {0, number};
    const struct span parts[] = {{(const uint8_t *)identity, strlen(identity)},
                                 {suffix, sizeof(suffix)}};
    struct auth_crypto_key ready;

    auth_crypto_key_set(&ready, key, 32);
    auth_crypto_hmac(&ready, parts, number == 0 ? 1 : 2, block);
    memory_wipe(&ready, sizeof(ready));
}

void scram_mock_salt(const uint8_t key[32], const char *identity, uint8_t salt[16])
{
    uint8_t block[AUTH_SHA256_SIZE];
    mock_block(key, identity, 0, block);
    memcpy(salt, block, 16);
}

void scram_mock_verifier(const uint8_t key[32], const char *identity, uint32_t iterations,
                         size_t salt_size, struct scram_verifier *verifier)
{
    uint8_t block[AUTH_SHA256_SIZE];

    memset(verifier, 0, sizeof(*verifier));
    verifier->iterations = iterations;
    verifier->salt_size = salt_size < SCRAM_SALT_MAX ? salt_size : SCRAM_SALT_MAX;
    for (size_t done = 0; done < verifier->salt_size; done += sizeof(block)) {
        size_t left = verifier->salt_size - done;
        mock_block(key, identity, (uint8_t)(done / sizeof(block)), block);
        memcpy(verifier->salt + done, block, left < sizeof(block) ? left : sizeof(block));
    }
    random_bytes(verifier->stored_key, sizeof(verifier->stored_key));
}
