/* crypto: the hashes that logins are made of.
 *
 * Owns the choice of implementation and nothing else: SHA-256, HMAC-SHA-256 (RFC 2104) and PBKDF2
 * with it (RFC 8018 §5.2) allocate nothing and cannot fail; MD5 can be missing. What is secret on
 * the stack is wiped. auth_crypto_init() and auth_crypto_finish() are called by the main thread
 * while no other runs; everything else by any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/error.h"

#define AUTH_SHA256_SIZE 32
#define AUTH_MD5_SIZE    16

/* Fetches what is costly to look up for each call, checks HMAC-SHA-256 with a known answer, and
 * gives OpenSSL memory for private keys that no core file holds; before any key is read. False:
 * this OpenSSL is not fit. A missing MD5 is no error here. */
bool auth_crypto_init(struct error *error);
void auth_crypto_finish(void);

void auth_crypto_sha256(const void *data, size_t size, uint8_t digest[AUTH_SHA256_SIZE]);

/* A key made ready: the two states of the hash behind its first block. As secret as the key; wiped
 * by its owner. */
struct auth_crypto_key {
    uint32_t inner[8], outer[8];
};
void auth_crypto_key_set(struct auth_crypto_key *key, const void *secret, size_t size);

/* HMAC-SHA-256 of the parts, one behind the other. */
void auth_crypto_hmac(const struct auth_crypto_key *key, const struct span *parts, size_t count,
                      uint8_t mac[AUTH_SHA256_SIZE]);

/* The first 32 bytes of PBKDF2: about 0.1 us an iteration where the processor has instructions for
 * SHA-256, several times that elsewhere. `iterations` at least 1. */
void auth_crypto_pbkdf2(const struct auth_crypto_key *password, struct span salt,
                        uint32_t iterations, uint8_t derived[AUTH_SHA256_SIZE]);

/* MD5 of the parts. False: no MD5 in this OpenSSL (a FIPS policy, for instance), or no memory. */
bool auth_crypto_md5(const struct span *parts, size_t count, uint8_t digest[AUTH_MD5_SIZE]);
