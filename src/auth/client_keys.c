#include "auth/client_keys.h"

#include <string.h>

#include "auth/crypto.h"
#include "base/memory.h"

/* The identity is a hash of hashes: names of any length, none of which slides into the next. */
static void hash_identity(const struct client_keys_owner *owner, uint8_t identity[AUTH_SHA256_SIZE])
{
    const char *const names[] = {owner->database, owner->login_name, owner->server_name};
    uint8_t hashes[3][AUTH_SHA256_SIZE];

    for (size_t i = 0; i < 3; i++)
        auth_crypto_sha256(names[i], strlen(names[i]), hashes[i]);
    auth_crypto_sha256(hashes, sizeof(hashes), identity);
}

/* The verifier's text says salt and iterations, too. */
static struct key_cache_subject subject_of(const struct client_keys_owner *owner,
                                           const uint8_t identity[AUTH_SHA256_SIZE])
{
    return (struct key_cache_subject){
        .identity = {identity, AUTH_SHA256_SIZE},
        .salt = {identity, 0},
        .password = owner->verifier,
    };
}

static bool is_of_verifier(const struct scram_verifier *verifier,
                           const uint8_t client_key[SCRAM_KEY_SIZE])
{
    uint8_t stored_key[SCRAM_KEY_SIZE];

    auth_crypto_sha256(client_key, SCRAM_KEY_SIZE, stored_key);
    return memory_equal_constant_time(stored_key, verifier->stored_key, SCRAM_KEY_SIZE);
}

void client_keys_put(struct key_cache *cache, const struct client_keys_owner *owner,
                     const uint8_t client_key[SCRAM_KEY_SIZE])
{
    uint8_t identity[AUTH_SHA256_SIZE];
    struct scram_verifier verifier;

    hash_identity(owner, identity);
    const struct key_cache_subject subject = subject_of(owner, identity);
    if (scram_verifier_parse(owner->verifier, &verifier) && is_of_verifier(&verifier, client_key))
        key_cache_put(cache, &subject, client_key, verifier.server_key);
    memory_wipe(&verifier, sizeof(verifier));
}

bool client_keys_get(struct key_cache *cache, const struct client_keys_owner *owner,
                     uint8_t client_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE])
{
    uint8_t identity[AUTH_SHA256_SIZE];

    hash_identity(owner, identity);
    const struct key_cache_subject subject = subject_of(owner, identity);
    return key_cache_get(cache, &subject, client_key, server_key);
}
