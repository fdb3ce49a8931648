/* password_cache: passwords that were found right, remembered for a while (THREATS §2.4).
 *
 * Keeps no password: an entry is an HMAC-SHA-256 under a random key of the cache over the whole
 * subject, so that a changed verifier, another identity or another way of asking is another entry,
 * and a wrong password can neither be one nor push one out. Bounded: the oldest entry goes. Wiped
 * when its time is over, at the latest by password_cache_sweep. Any thread: one mutex, which only
 * logins take, never held while something is hashed. Time is handed in. digest_init() must have
 * run.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

#define PASSWORD_CACHE_HASH 32

struct password_cache;

/* Borrowed for the call. */
struct password_cache_subject {
    const char *database, *login_name, *server_name; /* the identity */
    const char *method;                              /* in which way it was asked for */
    const char *verifier; /* what it was found right with; "": the server itself */
    const char *password;
};

struct password_cache *password_cache_create(void); /* NULL: no memory */
void password_cache_destroy(struct password_cache *cache);

/* What an entry is found by. Without the key it tells nothing. */
void password_cache_hash(const struct password_cache *cache,
                         const struct password_cache_subject *subject,
                         uint8_t hash[PASSWORD_CACHE_HASH]);
/* True: it was found right less than `ttl` ago. */
bool password_cache_has(struct password_cache *cache, const struct password_cache_subject *subject,
                        usec_t ttl, usec_t now);

/* What was forgotten while a password was being checked is not remembered again: the era is taken
 * when the check begins. */
uint64_t password_cache_era(struct password_cache *cache);
/* It was found right at `now`. `size`: entries at most (0: nothing is kept). No memory, or an older
 * era: not remembered. */
void password_cache_put(struct password_cache *cache, const struct password_cache_subject *subject,
                        size_t size, uint64_t era, usec_t now);
/* It was found to be wrong. */
void password_cache_drop(struct password_cache *cache,
                         const struct password_cache_subject *subject);
/* Forgets those of a database entry, of a login name; NULL: whatever it is. */
void password_cache_flush(struct password_cache *cache, const char *database, const char *name);
/* Wipes what is as old as `ttl`. */
void password_cache_sweep(struct password_cache *cache, usec_t ttl, usec_t now);
size_t password_cache_count(struct password_cache *cache);
