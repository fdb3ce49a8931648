/* scram: SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, without I/O.
 *
 * The client side is what pgweir does towards servers, the server side what it does with clients.
 * One struct per dialogue, embedded in its owner; finish wipes it. Messages are bounded
 * (SCRAM_MESSAGE_MAX) and read with a cursor. Only scram_salt_password (PBKDF2) is slow: about 0.3
 * us an iteration; it runs on a helper thread, never on a loop. Any thread, one at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define SCRAM_KEY_SIZE           32
#define SCRAM_SALT_MAX           1024
#define SCRAM_NONCE_MAX          512
#define SCRAM_MESSAGE_MAX        4096
#define SCRAM_ITERATIONS_DEFAULT 4096
#define SCRAM_MECHANISM          "SCRAM-SHA-256"
#define SCRAM_MECHANISM_PLUS     "SCRAM-SHA-256-PLUS"
#define SCRAM_BINDING_MAX        64

/* What is stored for a user: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>. */
struct scram_verifier {
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint8_t stored_key[SCRAM_KEY_SIZE];
    uint8_t server_key[SCRAM_KEY_SIZE];
};
bool scram_verifier_parse(const char *text, struct scram_verifier *verifier);
/* From SaltedPassword: ClientKey, StoredKey, ServerKey. */
void scram_keys(const uint8_t salted[SCRAM_KEY_SIZE], uint8_t client_key[SCRAM_KEY_SIZE],
                uint8_t stored_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE]);
/* PBKDF2-HMAC-SHA-256 over SASLprep(password) (bytes as they are where SASLprep refuses, or over 4
 * KiB and not ASCII). Slow. */
bool scram_salt_password(const char *password, const uint8_t *salt, size_t salt_size,
                         uint32_t iterations, uint8_t salted[SCRAM_KEY_SIZE]);
/* 16 bytes of salt that nobody can tell from a stored one: HMAC-SHA-256(key, identity) (THREATS
 * §2.7). */
void scram_mock_salt(const uint8_t key[32], const char *identity, uint8_t salt[16]);
/* A verifier for a dialogue that always ends as a wrong password: iterations and the salt's size
 * are those most frequent among known users (at most SCRAM_SALT_MAX), the salt as above, and keys
 * that no password has. */
void scram_mock_verifier(const uint8_t key[32], const char *identity, uint32_t iterations,
                         size_t salt_size, struct scram_verifier *verifier);

/* Channel binding tls-server-end-point (RFC 5929 §4): the hash of the certificate that the server
 * showed in this connection's handshake. */
struct scram_binding {
    uint8_t hash[SCRAM_BINDING_MAX];
    size_t size; /* 0: there is none */
};

/* Server side: client-first in, server-first out, client-final in, server-final out. Begins as
 * zeroed memory; one proof for each client-first. */
struct scram_server {
    struct scram_verifier verifier;         /* a copy, made by scram_server_first */
    char *client_first_bare, *server_first; /* owned */
    char nonce[SCRAM_NONCE_MAX];
    struct scram_binding binding; /* set by the owner, before: SCRAM-SHA-256-PLUS is offered */
    bool is_plus;                 /* likewise: it is the mechanism that the client chose */
    char gs2;                     /* 'n', 'y' or 'p' */
    uint8_t client_key[SCRAM_KEY_SIZE]; /* after a good proof */
};
/* Reads client-first, writes server-first to `out` (without framing). Only salt and iterations of
 * `verifier` matter here; the keys may be given later with scram_server_keys. False: malformed;
 * error 08P01 or 28000 as PostgreSQL ("SASL authentication failed" texts of COMPAT). */
bool scram_server_first(struct scram_server *server, const struct scram_verifier *verifier,
                        struct span client_first, struct bytes *out, struct error *error);
void scram_server_keys(struct scram_server *server, const uint8_t stored_key[SCRAM_KEY_SIZE],
                       const uint8_t server_key[SCRAM_KEY_SIZE]);
/* Reads client-final. *proof_is_right says whether the password was right (constant time); out gets
 * server-final then. False: malformed. */
bool scram_server_final(struct scram_server *server, struct span client_final, bool *proof_is_right,
                        struct bytes *out, struct error *error);
void scram_server_finish(struct scram_server *server);

/* Client side. Begins as zeroed memory. */
struct scram_client {
    struct scram_binding binding; /* set by the owner, before */
    char gs2; /* likewise: 'p' with SCRAM-SHA-256-PLUS, 'y' where only the server lacks it, else 'n'
               */
    char nonce[32];
    char *client_first_bare, *server_first, *full_nonce; /* owned */
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint32_t iterations;
    uint8_t server_key[SCRAM_KEY_SIZE];
    uint8_t server_signature[SCRAM_KEY_SIZE];
    bool is_proof_sent; /* server_signature holds what the server must answer */
};
/* Writes client-first (the gs2 header, then "n=,r=...": PostgreSQL ignores the name). */
bool scram_client_first(struct scram_client *client, struct bytes *out);
/* Reads server-first: salt of any length to SCRAM_SALT_MAX, iterations 1 .. iterations_max (else an
 * error, before any work). */
bool scram_client_server_first(struct scram_client *client, struct span server_first,
                               uint32_t iterations_max, struct error *error);
/* With the keys (from scram_keys, or of a client's own login): writes client-final. */
bool scram_client_final(struct scram_client *client, const uint8_t client_key[SCRAM_KEY_SIZE],
                        const uint8_t server_key[SCRAM_KEY_SIZE], struct bytes *out,
                        struct error *error);
/* Reads server-final; false when the server did not prove that it knows the password. */
bool scram_client_check_server(struct scram_client *client, struct span server_final,
                               struct error *error);
void scram_client_finish(struct scram_client *client);
