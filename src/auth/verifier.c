#include "auth/verifier.h"

#include <string.h>

#include "auth/crypto.h"
#include "auth/md5.h"
#include "base/memory.h"

/* Compares hashes, so that neither the first difference nor the secret's length shows in the time.
 */
static bool is_same_text(const char *secret, const char *sent)
{
    uint8_t expected[AUTH_SHA256_SIZE], given[AUTH_SHA256_SIZE];

    auth_crypto_sha256(secret, strlen(secret), expected);
    auth_crypto_sha256(sent, strlen(sent), given);
    bool is_same = memory_equal_constant_time(expected, given, sizeof(expected));
    memory_wipe(expected, sizeof(expected));
    memory_wipe(given, sizeof(given));
    return is_same;
}

static bool check_md5_secret(const char *stored, const char *name, const char *password)
{
    char given[MD5_TEXT_SIZE];
    bool is_right = md5_stored(password, name, given) && is_same_text(stored, given);
    memory_wipe(given, sizeof(given));
    return is_right;
}

enum verifier_answer verifier_check_cleartext(const struct auth_secret *secret, const char *name,
                                              const char *password)
{
    bool is_right = false;

    switch (secret->kind) {
    case AUTH_SECRET_NONE:
        break;
    case AUTH_SECRET_PLAIN:
        is_right = is_same_text(secret->text, password);
        break;
    case AUTH_SECRET_MD5:
        is_right = check_md5_secret(secret->text, name, password);
        break;
    case AUTH_SECRET_SCRAM:
        return VERIFIER_NEEDS_PBKDF2;
    }
    return is_right ? VERIFIER_RIGHT : VERIFIER_WRONG;
}

static bool password_has_keys(const struct scram_verifier *verifier, const char *password,
                              uint8_t client_key[SCRAM_KEY_SIZE])
{
    uint8_t salted[SCRAM_KEY_SIZE], stored_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];

    if (!scram_salt_password(password, verifier->salt, verifier->salt_size, verifier->iterations,
                             salted))
        return false;
    scram_keys(salted, client_key, stored_key, server_key);
    bool is_right = memory_equal_constant_time(stored_key, verifier->stored_key, SCRAM_KEY_SIZE);
    memory_wipe(salted, sizeof(salted));
    memory_wipe(stored_key, sizeof(stored_key));
    memory_wipe(server_key, sizeof(server_key));
    return is_right;
}

bool verifier_check_cleartext_slow(const struct auth_secret *secret, const char *password,
                                   uint8_t client_key[SCRAM_KEY_SIZE])
{
    struct scram_verifier verifier;

    if (secret->kind != AUTH_SECRET_SCRAM)
        return false;
    bool is_right = scram_verifier_parse(secret->text, &verifier) &&
                    password_has_keys(&verifier, password, client_key);
    memory_wipe(&verifier, sizeof(verifier));
    return is_right;
}

static bool answer_to(const struct auth_secret *secret, const char *name, const uint8_t salt[4],
                      char expected[MD5_TEXT_SIZE])
{
    char stored[MD5_TEXT_SIZE];

    if (secret->kind == AUTH_SECRET_MD5)
        return md5_answer(secret->text, salt, expected);
    if (secret->kind != AUTH_SECRET_PLAIN)
        return false;
    bool is_made = md5_stored(secret->text, name, stored) && md5_answer(stored, salt, expected);
    memory_wipe(stored, sizeof(stored));
    return is_made;
}

bool verifier_check_md5(const struct auth_secret *secret, const char *name, const uint8_t salt[4],
                        const char *answer)
{
    char expected[MD5_TEXT_SIZE];
    bool is_right = answer_to(secret, name, salt, expected) && is_same_text(expected, answer);
    memory_wipe(expected, sizeof(expected));
    return is_right;
}
