/* tls_private: what the TLS files of net share.
 *
 * tls_context makes an SSL_CTX, tls_files reads what it is made of, tls_tickets seals session
 * tickets, tls_bio is OpenSSL's way to the socket, transport_tls drives the SSL object of one
 * stream.
 *
 * Keeps true: OpenSSL's error queue is looked at only where something failed for good, and is empty
 * again afterwards. Whether a call only has to wait is known from the BIO (`blocked`), never from
 * the queue, so that it need not be cleared before each call and what other rooms leave in it does
 * no harm.
 */
#pragma once
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "net/stream.h"
#include "net/tls_context.h"

struct tls_context {
    _Atomic int references;
    enum tls_mode mode;
    SSL_CTX *ssl_ctx; /* NULL with TLS_DISABLE */
};

/* tls_memory: from here on what OpenSSL frees on this thread is wiped, or no longer. */
void tls_memory_wipe(bool wipe);

/* A file's bytes, and which file it was. */
struct tls_file {
    uint8_t *data;
    size_t size;
    struct stat identity;
};

/* Larger ones are refused. The largest bundles of roots have a quarter of this. */
#define TLS_FILE_MAX (1024 * 1024)

/* False: error says `what` ("certificate file"), name and reason. */
bool tls_file_read(struct tls_file *file, const char *what, const char *path, struct error *error);
void tls_file_finish(struct tls_file *file); /* wipes; an empty one is fine */
/* Reads certificate and key so that both are of one moment (THREATS §3.6). */
bool tls_file_read_pair(struct tls_file *certificate, const char *certificate_path,
                        struct tls_file *key, const char *key_path, struct error *error);

/* "why", from OpenSSL's queue, which is empty afterwards. */
const char *tls_take_reason(void);

/* Protocol versions, ciphers, curves and DH of `settings` (COMPAT §2). `side` is "client" or
 * "server", for the names of options in errors. */
bool tls_parameters_apply(SSL_CTX *ssl_ctx, const struct tls_settings *settings, const char *side,
                          struct error *error);

/* Tickets under `keys`, for connections of TLS 1.3 alone. */
bool tls_tickets_enable(SSL_CTX *ssl_ctx, struct tls_ticket_keys *keys);

/* What the last call of the BIO could not do. */
enum tls_blocked { TLS_NOT_BLOCKED, TLS_BLOCKED_READING, TLS_BLOCKED_WRITING };

/* transport_state of a stream with TLS. Owned by the stream, freed by transport_tls.finish. */
struct tls_state {
    SSL *ssl;
    uint8_t
        *early; /* bytes that were read before the handshake began (direct TLS); NULL: none left */
    size_t early_at, early_size;
    uint8_t *held; /* records to be sent before any other; NULL: none */
    size_t held_at, held_size;
    size_t staged; /* bytes of this handshake step, in loop->tls_staging */
    size_t handshake_received, handshake_sent;
    /* The socket was found empty in the turn of `dry_loop` that began at `dry_at`. What arrives
     * later causes an event of a later turn, so until then nobody need ask again. Forgotten at the
     * end of each call but a handshake's last. */
    const struct loop *dry_loop;
    usec_t dry_at;
    int socket_error; /* errno, for good */
    enum tls_blocked blocked;
    bool is_collecting; /* written records go to loop->tls_staging */
    bool is_established;
    bool saw_eof;
    bool is_too_long; /* a handshake of more bytes than anybody needs */
    bool must_have_alpn;
    bool awaits_input; /* a handshake that can go on only when bytes have come */
    bool has_failed;
};

#define TLS_STAGING_SIZE 16384
/* Before our first answer there is only a ClientHello, and after it not more than a chain of
 * certificates (THREATS §3.8). */
#define TLS_CLIENT_HELLO_MAX (32 * 1024)
#define TLS_HANDSHAKE_MAX    (64 * 1024)
/* A server may name many authorities when it asks for a certificate. */
#define TLS_SERVER_HANDSHAKE_MAX (256 * 1024)

/* A BIO over the stream's socket; the stream's transport_state must be a tls_state by the first
 * use. NULL: no memory. */
BIO *tls_bio_create(struct stream *stream);
/* Sends what is held back, then what was collected. False: some is left (held back now), or
 * `socket_error`. */
bool tls_bio_flush(struct stream *stream);
/* Keeps what was collected for the first bytes that are sent later. False: no memory. */
bool tls_bio_hold(struct stream *stream);
