/* verifier: does what a client sent prove that it knows a user's secret? Pure; constant-time
 * comparisons. Any thread. Where a check needs PBKDF2 it says so, and the caller runs it on a
 * helper thread. */
#pragma once
#include "auth/auth_file.h"
#include "auth/scram.h"

enum verifier_answer { VERIFIER_RIGHT, VERIFIER_WRONG, VERIFIER_NEEDS_PBKDF2 };

/* Cleartext password against any kind of secret. A SCRAM secret gives NEEDS_PBKDF2: run
 * verifier_check_cleartext_slow. */
enum verifier_answer verifier_check_cleartext(const struct auth_secret *secret, const char *name,
                                              const char *password);
/* `client_key` is set: of use only if it is right, and as secret as the password. */
bool verifier_check_cleartext_slow(const struct auth_secret *secret, const char *password,
                                   uint8_t client_key[SCRAM_KEY_SIZE]);

/* The client's md5 answer against a plain or md5 secret. */
bool verifier_check_md5(const struct auth_secret *secret, const char *name, const uint8_t salt[4],
                        const char *answer);
