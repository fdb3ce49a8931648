#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "tls_private.h"

#define RECORD_MAX TLS_STAGING_SIZE /* what one TLS record can carry */

/* --- Starting -------------------------------------------------------------------------------- */

static void destroy_state(struct tls_state *tls)
{
    SSL_free(tls->ssl);
    memory_free(tls->early);
    memory_free(tls->held);
    memory_free(tls);
}

static struct tls_state *create_state(struct stream *stream, const struct tls_context *context,
                                      struct error *error)
{
    if (context == NULL || context->ssl_ctx == NULL) {
        error_set(error, SQLSTATE_CONNECTION_FAILURE, "TLS is disabled");
        return NULL;
    }
    struct tls_state *tls = memory_zalloc(sizeof(*tls));
    if (tls != NULL)
        tls->ssl = SSL_new(context->ssl_ctx);
    BIO *bio = tls != NULL && tls->ssl != NULL ? tls_bio_create(stream) : NULL;
    if (bio != NULL) {
        SSL_set_bio(tls->ssl, bio, bio);
        return tls;
    }
    ERR_clear_error();
    if (tls != NULL)
        destroy_state(tls);
    error_set(error, SQLSTATE_OUT_OF_MEMORY, "TLS handshake error: out of memory");
    return NULL;
}

/* The answer to an SSLRequest, say, goes out in plain text before the first record. */
static bool send_plain_output(struct stream *stream, struct error *error)
{
    if (!stream_is_flushed(stream))
        stream_flush(stream);
    return stream_is_flushed(stream) || error_set(error, SQLSTATE_CONNECTION_FAILURE,
                                                  "TLS handshake error: the peer takes no bytes");
}

static void begin(struct stream *stream, struct tls_state *tls, bool is_server)
{
    stream->transport = &transport_tls;
    stream->transport_state = tls;
    stream->is_handshaking = true;
    stream->handshake_is_server = is_server;
    if (is_server)
        SSL_set_options(tls->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    /* A client that we have just told to begin has sent nothing yet: its event will come. */
    tls->awaits_input = is_server && tls->early == NULL;
    if (!tls->awaits_input || stream->is_readable || stream->peer_closed)
        loop_again(stream->loop, &stream->again_task);
}

bool stream_start_tls_accept(struct stream *stream, struct tls_context *context,
                             struct error *error)
{
    struct span input = stream_input(stream);

    if (!send_plain_output(stream, error))
        return false;
    struct tls_state *tls = create_state(stream, context, error);
    if (tls == NULL)
        return false;
    if (input.size > 0) {
        /* Taken away at once: what is in the input buffer from here on was decrypted. */
        tls->early = memory_dup(input.data, input.size);
        tls->early_size = input.size;
        if (tls->early == NULL) {
            destroy_state(tls);
            return error_set(error, SQLSTATE_OUT_OF_MEMORY, "TLS handshake error: out of memory");
        }
        stream_consume(stream, input.size);
    }
    SSL_set_accept_state(tls->ssl);
    begin(stream, tls, true);
    return true;
}

static bool set_name_to_verify(SSL *ssl, const char *name, const struct address *literal)
{
    X509_VERIFY_PARAM *parameters = SSL_get0_param(ssl);

    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (literal == NULL)
        return X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1;
    if (literal->u.any.sa_family == AF_INET6)
        return X509_VERIFY_PARAM_set1_ip(parameters, literal->u.v6.sin6_addr.s6_addr, 16) == 1;
    return X509_VERIFY_PARAM_set1_ip(parameters, (const uint8_t *)&literal->u.v4.sin_addr, 4) == 1;
}

static bool set_server_name(SSL *ssl, enum tls_mode mode, const char *name)
{
    struct address literal;
    char sni[256]; /* OpenSSL's macro wants it without const; a host name has at most 255 bytes */

    if (name == NULL || name[0] == '\0')
        return mode != TLS_VERIFY_FULL;
    bool is_literal = address_from_literal(&literal, name, 0);
    size_t size = (size_t)snprintf(sni, sizeof(sni), "%s", name);
    /* RFC 6066 §3: no addresses in SNI. */
    if (!is_literal && (size >= sizeof(sni) || SSL_set_tlsext_host_name(ssl, sni) != 1))
        return false;
    return mode != TLS_VERIFY_FULL || set_name_to_verify(ssl, name, is_literal ? &literal : NULL);
}

/* `name` in the form of RFC 7301: its length, then itself. */
static bool set_alpn(SSL *ssl, const char *name)
{
    unsigned char list[256];
    size_t size = strlen(name);

    if (size == 0 || size >= sizeof(list))
        return false;
    list[0] = (unsigned char)size;
    memcpy(list + 1, name, size);
    return SSL_set_alpn_protos(ssl, list, (unsigned)size + 1) == 0;
}

bool stream_start_tls_connect(struct stream *stream, struct tls_context *context,
                              const char *server_name, const char *alpn, struct error *error)
{
    if (!send_plain_output(stream, error))
        return false;
    struct tls_state *tls = create_state(stream, context, error);
    if (tls == NULL)
        return false;
    if (!set_server_name(tls->ssl, context->mode, server_name) ||
        (alpn != NULL && !set_alpn(tls->ssl, alpn))) {
        ERR_clear_error();
        destroy_state(tls);
        return error_set(error, SQLSTATE_CANNOT_CONNECT,
                         "TLS handshake error: \"%s\" cannot be a server's name",
                         server_name != NULL ? server_name : "");
    }
    tls->must_have_alpn = alpn != NULL;
    SSL_set_connect_state(tls->ssl);
    begin(stream, tls, false);
    return true;
}

/* --- Handshake ------------------------------------------------------------------------------- */

static enum transport_verdict handshake_failed(struct tls_state *tls, struct error *error)
{
    char text[256];
    unsigned long code = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(tls->ssl);
    bool is_certificate =
        ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;

    tls->has_failed = true;
    if (tls->is_too_long)
        snprintf(text, sizeof(text), "more bytes than a handshake can have");
    else if (tls->socket_error != 0)
        snprintf(text, sizeof(text), "%s", strerror(tls->socket_error));
    else if (code != 0)
        ERR_error_string_n(code, text, sizeof(text));
    else
        snprintf(text, sizeof(text), "not understood");
    ERR_clear_error();
    error_set(error, SQLSTATE_CONNECTION_FAILURE, "TLS handshake error: handshake failed: %s%s%s",
              text, is_certificate ? ": " : "",
              is_certificate ? X509_verify_cert_error_string(verdict) : "");
    return TRANSPORT_FAILED;
}

static enum transport_verdict handshake_done(struct stream *stream, struct error *error)
{
    struct tls_state *tls = stream->transport_state;
    const unsigned char *alpn = NULL;
    unsigned alpn_size = 0;

    tls->is_established = true;
    SSL_get0_alpn_selected(tls->ssl, &alpn, &alpn_size);
    if (tls->must_have_alpn && alpn_size == 0) {
        tls->has_failed = true;
        error_set(error, SQLSTATE_CONNECTION_FAILURE,
                  "TLS handshake error: the server did not choose a protocol (ALPN)");
        return TRANSPORT_FAILED;
    }
    /* What TLS 1.3 leaves to us is a ticket, which has time: it goes out in one packet with our
     * first answer. */
    bool has_time = stream->handshake_is_server && SSL_version(tls->ssl) >= TLS1_3_VERSION;
    if (has_time ? tls_bio_hold(stream) : tls_bio_flush(stream))
        return TRANSPORT_MOVED;
    return tls->socket_error != 0 ? handshake_failed(tls, error) : TRANSPORT_WANT_WRITE;
}

static enum transport_verdict handshake_stopped(struct stream *stream, struct error *error)
{
    struct tls_state *tls = stream->transport_state;
    enum tls_blocked blocked = tls->blocked;

    tls->dry_loop = NULL;
    bool is_flushed = tls_bio_flush(stream); /* an alert, or our part of the handshake */

    if (blocked == TLS_NOT_BLOCKED && tls->saw_eof && !tls->is_too_long) {
        ERR_clear_error();
        error_set(error, SQLSTATE_CONNECTION_FAILURE,
                  "TLS handshake error: the peer closed the connection");
        return TRANSPORT_EOF;
    }
    if (blocked == TLS_NOT_BLOCKED || tls->socket_error != 0)
        return handshake_failed(tls, error);
    tls->awaits_input = is_flushed && blocked == TLS_BLOCKED_READING;
    return tls->awaits_input ? TRANSPORT_DRY : TRANSPORT_WANT_WRITE;
}

static enum transport_verdict tls_handshake(struct stream *stream, struct error *error)
{
    struct tls_state *tls = stream->transport_state;

    if (tls->awaits_input && !stream->is_readable && !stream->peer_closed)
        return TRANSPORT_DRY; /* woken because it may write */
    tls->awaits_input = false;
    ERR_clear_error(); /* three times in a connection's life: the reason given is ours */
    tls->blocked = TLS_NOT_BLOCKED;
    if (!tls_bio_flush(stream))
        return tls->socket_error != 0 ? handshake_failed(tls, error) : TRANSPORT_WANT_WRITE;
    tls->is_collecting = true;
    int result = SSL_do_handshake(tls->ssl);
    tls->is_collecting = false;
    return result == 1 ? handshake_done(stream, error) : handshake_stopped(stream, error);
}

/* --- Reading and writing --------------------------------------------------------------------- */

/* What errno cannot say: a server, say, that wants no more of us after it has seen our certificate
 * (TLS 1.3). */
static void log_reason(void)
{
    static struct log_limit limit;
    uint32_t held_back;

    if (ERR_peek_error() != 0 && log_allow(&limit, 1, &held_back))
        log_warning(NULL, "TLS error: %s", tls_take_reason());
}

/* errno says why to the stream: a socket's own, EPROTO where the peer broke TLS. */
static enum transport_verdict transfer_failed(struct tls_state *tls)
{
    if (!tls->has_failed && tls->socket_error == 0)
        log_reason();
    ERR_clear_error();
    tls->has_failed = true;
    errno = tls->socket_error != 0 ? tls->socket_error : EPROTO;
    return TRANSPORT_FAILED;
}

static enum transport_verdict reading_stopped(struct tls_state *tls, size_t moved)
{
    if (tls->blocked == TLS_BLOCKED_READING)
        return TRANSPORT_DRY;
    if (moved > 0)
        return TRANSPORT_MOVED; /* the next call ends the same way */
    if (tls->blocked == TLS_BLOCKED_WRITING)
        return TRANSPORT_WANT_WRITE;
    if (tls->socket_error == 0 && (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN))
        return TRANSPORT_EOF;
    return transfer_failed(tls);
}

static enum transport_verdict tls_read(struct stream *stream, void *data, size_t size,
                                       size_t *moved)
{
    struct tls_state *tls = stream->transport_state;
    enum transport_verdict verdict = TRANSPORT_MOVED;
    uint8_t *at = data;

    *moved = 0;
    if (tls->has_failed)
        return transfer_failed(tls);
    while (*moved < size) {
        size_t got = 0;
        tls->blocked = TLS_NOT_BLOCKED;
        if (SSL_read_ex(tls->ssl, at + *moved, size - *moved, &got) != 1) {
            verdict = reading_stopped(tls, *moved);
            break;
        }
        *moved += got;
    }
    tls->dry_loop = NULL;
    return verdict;
}

/* Where in a list of spans the next byte to be sent is. */
struct place {
    const struct iovec *span;
    int spans_left;
    size_t offset; /* in span */
};

static void advance(struct place *place, size_t size)
{
    place->offset += size;
    while (place->spans_left > 0 && place->offset >= place->span->iov_len) {
        place->offset -= place->span->iov_len;
        place->span++;
        place->spans_left--;
    }
}

/* The bytes of the next record: in place if one span fills it, or there is only one; else gathered
 * in `staging`. */
static struct span next_record(const struct place *place, uint8_t *staging)
{
    const uint8_t *base = place->span->iov_base;
    size_t size = place->span->iov_len - place->offset;

    if (size >= RECORD_MAX || place->spans_left == 1)
        return (struct span){base + place->offset, size < RECORD_MAX ? size : RECORD_MAX};
    struct place from = *place;
    size_t gathered = 0;
    while (from.spans_left > 0 && gathered < RECORD_MAX) {
        base = from.span->iov_base;
        size = from.span->iov_len - from.offset;
        if (size > RECORD_MAX - gathered)
            size = RECORD_MAX - gathered;
        if (size > 0)
            memcpy(staging + gathered, base + from.offset, size);
        gathered += size;
        advance(&from, size);
    }
    return (struct span){staging, gathered};
}

static enum transport_verdict writing_stopped(struct tls_state *tls)
{
    if (tls->blocked == TLS_BLOCKED_WRITING)
        return TRANSPORT_DRY;
    if (tls->blocked == TLS_BLOCKED_READING)
        return TRANSPORT_WANT_READ;
    return transfer_failed(tls);
}

static enum transport_verdict tls_write(struct stream *stream, const struct iovec *spans, int count,
                                        size_t *moved)
{
    struct tls_state *tls = stream->transport_state;
    struct place place = {.span = spans, .spans_left = count};

    *moved = 0;
    if (tls->has_failed)
        return transfer_failed(tls);
    advance(&place, 0); /* over empty spans */
    while (place.spans_left > 0) {
        struct span record = next_record(&place, stream->loop->tls_staging);
        size_t written = 0;
        tls->blocked = TLS_NOT_BLOCKED;
        /* A record that went out in part is finished by the next call, which must begin with the
         * same bytes. */
        if (SSL_write_ex(tls->ssl, record.data, record.size, &written) != 1)
            return writing_stopped(tls);
        *moved += written;
        advance(&place, written);
    }
    return TRANSPORT_MOVED;
}

/* --- Ending ---------------------------------------------------------------------------------- */

static void tls_shutdown(struct stream *stream)
{
    struct tls_state *tls = stream->transport_state;

    if (!tls->is_established || tls->has_failed)
        return;
    if (SSL_shutdown(tls->ssl) < 0)
        ERR_clear_error();
}

static void tls_finish(struct stream *stream)
{
    if (stream->transport_state == NULL)
        return;
    destroy_state(stream->transport_state);
    stream->transport_state = NULL;
}

/* --- Asking ---------------------------------------------------------------------------------- */

bool stream_is_tls(const struct stream *stream)
{
    return stream->transport == &transport_tls;
}

static const SSL *established(const struct stream *stream)
{
    const struct tls_state *tls = stream_is_tls(stream) ? stream->transport_state : NULL;

    return tls != NULL && tls->is_established ? tls->ssl : NULL;
}

void stream_tls_secrets_are_over(struct stream *stream)
{
    struct tls_state *tls = stream_is_tls(stream) ? stream->transport_state : NULL;

    if (tls != NULL)
        SSL_clear_options(tls->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

void stream_tls_text(const struct stream *stream, char *text, size_t size)
{
    const SSL *ssl = established(stream);

    if (ssl == NULL)
        snprintf(text, size, "%s", "");
    else
        snprintf(text, size, "%s/%s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
}

bool stream_tls_server_name(const struct stream *stream, char *text, size_t size)
{
    const SSL *ssl = established(stream);
    const char *name = ssl != NULL ? SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) : NULL;

    return name != NULL && snprintf(text, size, "%s", name) < (int)size;
}

unsigned stream_tls_alpn(const struct stream *stream)
{
    const SSL *ssl = established(stream);
    const unsigned char *alpn = NULL;
    unsigned size = 0;

    if (ssl != NULL)
        SSL_get0_alpn_selected(ssl, &alpn, &size);
    if (size == 0)
        return 0;
    return size == sizeof("http/1.1") - 1 ? TLS_ALPN_HTTP_1_1 : TLS_ALPN_POSTGRESQL;
}

bool stream_tls_resumed(const struct stream *stream)
{
    const SSL *ssl = established(stream);

    return ssl != NULL && SSL_session_reused(ssl) == 1;
}

static uint64_t tls_sent(const struct stream *stream)
{
    const struct tls_state *tls = stream->transport_state;

    return BIO_number_written(SSL_get_wbio(tls->ssl));
}

const struct transport transport_tls = {
    .name = "tls",
    .handshake = tls_handshake,
    .read = tls_read,
    .write = tls_write,
    .shutdown = tls_shutdown,
    .sent = tls_sent,
    .finish = tls_finish,
};
