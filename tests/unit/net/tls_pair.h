/* tls_pair: two streams of ours with TLS between them, on one loop. */
#pragma once
#include "stream_peer.h"
#include "support/certificates.h"

struct tls_pair {
    struct side *acceptor, *connector;
};

/* Made once for the whole run: "ca", "other-ca", and signed by "ca": "server" (localhost,
 * 127.0.0.1), "alice"; by "other-ca": "mallory". */
static inline void make_certificates(void)
{
    const char *dir = certificates_dir();

    certificate_make(dir, "ca", &(struct certificate){.common_name = "CA", .is_authority = 1});
    certificate_make(dir, "other-ca",
                     &(struct certificate){.common_name = "Other CA", .is_authority = 1});
    certificate_make(dir, "server",
                     &(struct certificate){.common_name = "server",
                                           .alternative_name = "DNS:localhost,IP:127.0.0.1",
                                           .issuer = "ca"});
    certificate_make(dir, "alice", &(struct certificate){.common_name = "alice", .issuer = "ca"});
    certificate_make(dir, "mallory",
                     &(struct certificate){.common_name = "mallory", .issuer = "other-ca"});
}

static inline struct tls_settings accepting_settings(enum tls_mode mode)
{
    return (struct tls_settings){.mode = mode,
                                 .cert_file = certificates_path("server.crt"),
                                 .key_file = certificates_path("server.key")};
}

static inline struct tls_context *accepting(const struct tls_settings *settings,
                                            struct tls_ticket_keys *keys)
{
    struct error error;
    struct tls_context *context = tls_context_create_client_side(settings, keys, &error);

    ck_assert_msg(context != NULL, "%s", error.message);
    return context;
}

static inline struct tls_context *connecting(const struct tls_settings *settings)
{
    struct error error;
    struct tls_context *context = tls_context_create_server_side(settings, &error);

    ck_assert_msg(context != NULL, "%s", error.message);
    return context;
}

static inline struct tls_pair pair_create(struct loop *loop)
{
    int fds[2];

    tcp_pair(fds);
    return (struct tls_pair){side_create(loop, fds[0], -1), side_create(loop, fds[1], -1)};
}

static inline void pair_start(struct tls_pair *pair, struct tls_context *accepting_context,
                              struct tls_context *connecting_context, const char *name,
                              const char *alpn)
{
    struct error error;

    ck_assert(stream_start_tls_accept(&pair->acceptor->stream, accepting_context, &error));
    ck_assert(
        stream_start_tls_connect(&pair->connector->stream, connecting_context, name, alpn, &error));
}

static inline void pair_destroy(struct tls_pair *pair)
{
    side_destroy(pair->acceptor);
    side_destroy(pair->connector);
}

static inline bool both_are_ready(const struct tls_pair *pair)
{
    return pair->acceptor->ready == 1 && pair->connector->ready == 1;
}
