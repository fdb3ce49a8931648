/* key_cache: ClientKey and ServerKey of passwords that were already run through PBKDF2.
 *
 * A server login with a plain password costs one PBKDF2 for each (identity, salt, iterations,
 * password), not one for each connection. Owns a table of at most as many entries as its maker
 * says; the one not used for longest goes when it is full. An entry is found by an HMAC under a
 * random key of the cache over all that the caller names, so neither password nor identity is kept,
 * and a changed password or salt is simply another entry. Whatever leaves is wiped. Any thread: one
 * mutex, never held while something is hashed. digest_init() must have run.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/scram.h"
#include "base/cursor.h"

#define KEY_CACHE_ENTRIES_MAX  1024
#define KEY_CACHE_IDENTITY_MAX 256

struct key_cache;

/* What the keys belong to. Borrowed for the call. */
struct key_cache_subject {
    struct span identity; /* entry, hosts and user joined: keys are never used for another entry */
    struct span salt;
    uint32_t iterations;
    const char *password;
};

struct key_cache *key_cache_create(unsigned entries_max); /* NULL: no memory */
void key_cache_destroy(struct key_cache *cache);

/* True: both keys are set. */
bool key_cache_get(struct key_cache *cache, const struct key_cache_subject *subject,
                   uint8_t client_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE]);
/* Keeps a copy of the keys, in place of what stood there. An identity over KEY_CACHE_IDENTITY_MAX
 * bytes, or no memory: keeps nothing. */
void key_cache_put(struct key_cache *cache, const struct key_cache_subject *subject,
                   const uint8_t client_key[SCRAM_KEY_SIZE],
                   const uint8_t server_key[SCRAM_KEY_SIZE]);
void key_cache_clear(struct key_cache *cache);
size_t key_cache_count(struct key_cache *cache);
