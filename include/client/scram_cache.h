/* scram_cache: what SCRAM logins need besides stored verifiers: keys made from plain passwords, and
 * how a dialogue with an unknown user looks.
 *
 * Deriving keys costs one PBKDF2, on a helper thread, once for each (user, password, salt,
 * iterations) and not once for each login; while one is being made, others who need it wait for the
 * same (single-flight). Bounded: the keys by key_cache, derivations under way by
 * SCRAM_DERIVATIONS_MAX. Shared by all workers: one mutex that only logins take, never held while
 * something is hashed.
 */
#pragma once
#include "auth/scram.h"
#include "config/snapshot.h"
#include "net/loop.h"
#include "net/offload.h"

#define SCRAM_DERIVATIONS_MAX 256
#define SCRAM_DERIVED_SALT    16

struct scram_cache;
struct scram_cache_wait;

/* Borrowed for the call. */
struct scram_cache_subject {
    const char *user, *password;
    const uint8_t *salt; /* SCRAM_DERIVED_SALT bytes */
    uint32_t iterations;
};

struct scram_cache *scram_cache_create(void); /* NULL: no memory */
/* After offload_destroy and when the loops have ended; nobody is called any more. NULL is fine. */
void scram_cache_destroy(struct scram_cache *cache);

/* Forgets the keys that were made. */
void scram_cache_clear(struct scram_cache *cache);

/* True: both keys are set. */
bool scram_cache_get(struct scram_cache *cache, const struct scram_cache_subject *subject,
                     uint8_t stored_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE]);

/* Derives the keys off the loop, or waits for who is doing that already. `answer` is called once,
 * on `loop`, in a later turn (`ok`: scram_cache_get may be asked again), unless
 * scram_cache_forget() comes first. NULL: too many are under way, or no memory. */
struct scram_cache_wait *scram_cache_derive(struct scram_cache *cache, struct offload *offload,
                                            struct loop *loop,
                                            const struct scram_cache_subject *subject,
                                            void (*answer)(void *argument, bool ok),
                                            void *argument);
/* Who waits is gone. On the loop that asked, before the answer. */
void scram_cache_forget(struct scram_cache_wait *wait);

/* A cleartext password against a verifier, which costs one PBKDF2 each time: `answer` as above,
 * with whether it is right. Copies what it needs. NULL: too many are under way, or no memory. */
struct scram_check;
/* `client_key`: of a right password; borrowed. */
typedef void scram_check_answer(void *argument, bool is_right,
                                const uint8_t client_key[SCRAM_KEY_SIZE]);
struct scram_check *scram_cache_check(struct scram_cache *cache, struct offload *offload,
                                      struct loop *loop, const struct auth_secret *secret,
                                      const char *password, scram_check_answer *answer,
                                      void *argument);
void scram_cache_forget_check(struct scram_check *check);

/* How most known users look to a stranger, so that unknown ones look alike (THREATS §2.7). */
struct login_profile {
    bool is_scram; /* with auth_type=md5 (or plain): most secrets are verifiers */
    uint32_t iterations;
    size_t salt_size;
};
/* Looked at once for each configuration, over its first thousand users. */
void scram_cache_profile(struct scram_cache *cache, const struct config *config,
                         struct login_profile *profile);
