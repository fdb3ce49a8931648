/* tls_context: an SSL_CTX made from settings, shared and reference-counted.
 *
 * Built off the loops (reading files, checking that certificate and key match), used on any loop.
 * Immutable after it was built but for OpenSSL's own counters. Rules: THREATS §3, MECHANISMS §6,
 * COMPAT 9.9. Values in tls_settings are borrowed for the call.
 *
 * Ticket keys are a separate object that outlives reloads: one set for all contexts of the process.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum tls_mode { TLS_DISABLE, TLS_ALLOW, TLS_PREFER, TLS_REQUIRE, TLS_VERIFY_CA, TLS_VERIFY_FULL };

/* What is offered to clients that choose by ALPN. */
#define TLS_ALPN_POSTGRESQL 1u
#define TLS_ALPN_HTTP_1_1   2u

struct tls_settings {
    enum tls_mode mode;
    const char *ca_file;   /* NULL or "": none; "system" (server side): the system's roots */
    const char *cert_file; /* NULL or "": none */
    const char *key_file;
    const char *protocols;     /* COMPAT: "secure", "tlsv1.2,tlsv1.3", "all", ... */
    const char *ciphers;       /* "default" = library's */
    const char *tls13_ciphers; /* NULL: library's */
    const char *ecdhcurve;     /* "auto", "none" or a curve name */
    const char *dheparams;     /* "auto" or "none" */
    const char *listener_name; /* client side: part of the session id context */
    unsigned alpn;             /* client side: TLS_ALPN_...; 0: "postgresql" */
};

struct tls_context; /* opaque: an SSL_CTX, its mode, counts */
struct tls_ticket_keys;

struct tls_ticket_keys *tls_ticket_keys_create(void); /* random; NULL when memory is short */
void tls_ticket_keys_destroy(struct tls_ticket_keys *keys);

/* For accepting clients. `keys` is borrowed for the life of the context. NULL: error says file and
 * reason. */
struct tls_context *tls_context_create_client_side(const struct tls_settings *settings,
                                                   struct tls_ticket_keys *keys,
                                                   struct error *error);
/* For connecting to servers. */
struct tls_context *tls_context_create_server_side(const struct tls_settings *settings,
                                                   struct error *error);

struct tls_context *
tls_context_acquire(struct tls_context *context); /* NULL gives NULL; any thread */
void tls_context_release(struct tls_context *context);
enum tls_mode tls_context_mode(const struct tls_context *context);

/* First of all in main, before OpenSSL has any memory: what is left of reading private keys can be
 * wiped then (src/net/tls_memory.c). False: it was too late, and is not. */
bool tls_memory_init(void);

/* "OpenSSL 3.0.x ...". */
const char *tls_library_version(void);
