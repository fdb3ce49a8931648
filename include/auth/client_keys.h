/* client_keys: ClientKeys that clients' own SCRAM logins have shown, for server logins of the same
 * identity where only a verifier is stored (COMPAT 4.6).
 *
 * Kept in a key_cache of their own under (database entry, login name, server name) and the
 * verifier that the proof was checked with: one identity's keys never serve another, and a changed
 * verifier unmakes them. Memory only; wiped when they leave. Any thread.
 */
#pragma once
#include "auth/key_cache.h"

/* A lost key costs its user a login, so there is room for those of large fleets. */
#define CLIENT_KEYS_MAX 16384

/* Borrowed for the call. */
struct client_keys_owner {
    const char *database, *login_name, *server_name;
    const char *verifier; /* as it is stored: SCRAM-SHA-256$... */
};

/* Keeps the key together with the verifier's ServerKey. One that does not belong to the verifier's
 * StoredKey is not kept. */
void client_keys_put(struct key_cache *cache, const struct client_keys_owner *owner,
                     const uint8_t client_key[SCRAM_KEY_SIZE]);
/* True: both keys are set. */
bool client_keys_get(struct key_cache *cache, const struct client_keys_owner *owner,
                     uint8_t client_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE]);
