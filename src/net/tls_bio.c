/* OpenSSL's way to a stream's socket.
 *
 * Reading asks the socket once per wake-up: a short read says that it is empty, so the question
 * that OpenSSL asks next is answered without a system call. Writing in a handshake collects a whole
 * step in the loop's staging memory and sends it at once: OpenSSL would send each session ticket by
 * itself. */
#include <errno.h>
#include <openssl/bio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "tls_private.h"

static int wait_for(BIO *bio, struct tls_state *tls, enum tls_blocked blocked)
{
    tls->blocked = blocked;
    BIO_set_flags(bio, BIO_FLAGS_SHOULD_RETRY |
                           (blocked == TLS_BLOCKED_READING ? BIO_FLAGS_READ : BIO_FLAGS_WRITE));
    return -1;
}

static int give_up(struct tls_state *tls, int why)
{
    tls->socket_error = why;
    return -1;
}

/* --- Reading --------------------------------------------------------------------------------- */

static bool is_dry(const struct stream *stream, const struct tls_state *tls)
{
    /* Behind a FIN there comes no second event: read on to the end (MECHANISMS §1.2). */
    return !stream->peer_closed && tls->dry_loop == stream->loop &&
           tls->dry_at == stream->loop->now;
}

static void mark_dry(const struct stream *stream, struct tls_state *tls)
{
    tls->dry_loop = stream->loop;
    tls->dry_at = stream->loop->now;
}

static int take_early(struct tls_state *tls, char *data, size_t size, size_t *got)
{
    size_t left = tls->early_size - tls->early_at;

    *got = size < left ? size : left;
    memcpy(data, tls->early + tls->early_at, *got);
    tls->early_at += *got;
    if (tls->early_at == tls->early_size) {
        memory_free(tls->early);
        tls->early = NULL;
    }
    return 1;
}

static int receive(BIO *bio, struct stream *stream, char *data, size_t size, size_t *got)
{
    struct tls_state *tls = stream->transport_state;
    ssize_t count;

    if (is_dry(stream, tls))
        return wait_for(bio, tls, TLS_BLOCKED_READING);
    do
        count = recv(stream->fd, data, size, 0);
    while (count < 0 && errno == EINTR);
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return give_up(tls, errno);
    if (count < 0 || (size_t)count < size)
        mark_dry(stream, tls);
    if (count < 0)
        return wait_for(bio, tls, TLS_BLOCKED_READING);
    if (count == 0) {
        tls->saw_eof = true;
        return 0;
    }
    *got = (size_t)count;
    return 1;
}

static size_t handshake_limit(const struct stream *stream, const struct tls_state *tls)
{
    if (!stream->handshake_is_server)
        return TLS_SERVER_HANDSHAKE_MAX;
    return tls->handshake_sent == 0 ? TLS_CLIENT_HELLO_MAX : TLS_HANDSHAKE_MAX;
}

/* A stranger may send only so much before the handshake is done. */
static bool is_within_limits(const struct stream *stream, struct tls_state *tls, size_t got)
{
    if (tls->is_established)
        return true;
    tls->handshake_received += got;
    tls->is_too_long = tls->handshake_received > handshake_limit(stream, tls);
    return !tls->is_too_long;
}

static int bio_read(BIO *bio, char *data, size_t size, size_t *got)
{
    struct stream *stream = BIO_get_data(bio);
    struct tls_state *tls = stream->transport_state;

    BIO_clear_retry_flags(bio);
    tls->blocked = TLS_NOT_BLOCKED;
    *got = 0;
    int result = tls->early != NULL ? take_early(tls, data, size, got)
                                    : receive(bio, stream, data, size, got);
    if (result > 0 && !is_within_limits(stream, tls, *got))
        return give_up(tls, EMSGSIZE);
    return result;
}

/* --- Writing --------------------------------------------------------------------------------- */

static size_t held_left(const struct tls_state *tls)
{
    return tls->held != NULL ? tls->held_size - tls->held_at : 0;
}

static void release_held(struct tls_state *tls)
{
    memory_free(tls->held);
    tls->held = NULL;
    tls->held_at = tls->held_size = 0;
}

/* Sends held bytes, then `data`. Returns how many of `data`; -1: none, errno says why. */
static ssize_t send_behind_held(struct stream *stream, const void *data, size_t size)
{
    struct tls_state *tls = stream->transport_state;
    size_t held = held_left(tls);
    /* iovec has no const; sendmsg only reads. */
    struct iovec parts[2] = {{held > 0 ? tls->held + tls->held_at : NULL, held}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1};
    ssize_t count;

    if (size > 0) {
        memcpy(&parts[1].iov_base, &data, sizeof(data));
        parts[1].iov_len = size;
        message.msg_iovlen = 2;
    }
    do
        count = held > 0 ? sendmsg(stream->fd, &message, MSG_NOSIGNAL)
                         : send(stream->fd, data, size, MSG_NOSIGNAL);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return -1;
    if ((size_t)count < held) {
        tls->held_at += (size_t)count;
        errno = EAGAIN;
        return -1;
    }
    if (held > 0)
        release_held(tls);
    return count - (ssize_t)held;
}

/* Moves what was collected, from `start` on, to the end of what is held. */
static bool hold_from(struct stream *stream, size_t start)
{
    struct tls_state *tls = stream->transport_state;
    size_t held = held_left(tls), staged = tls->staged - start;
    uint8_t *all;

    tls->staged = 0;
    if (staged == 0)
        return true;
    all = memory_zalloc(held + staged);
    if (all == NULL) {
        tls->socket_error = ENOMEM;
        return false;
    }
    if (held > 0)
        memcpy(all, tls->held + tls->held_at, held);
    memcpy(all + held, stream->loop->tls_staging + start, staged);
    release_held(tls);
    tls->held = all;
    tls->held_size = held + staged;
    return true;
}

bool tls_bio_hold(struct stream *stream)
{
    return hold_from(stream, 0);
}

bool tls_bio_flush(struct stream *stream)
{
    struct tls_state *tls = stream->transport_state;

    if (held_left(tls) == 0 && tls->staged == 0)
        return true;
    ssize_t sent = send_behind_held(stream, stream->loop->tls_staging, tls->staged);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        tls->socket_error = errno;
        tls->staged = 0;
        return false;
    }
    bool is_all = sent >= 0 && (size_t)sent == tls->staged;
    hold_from(stream, sent > 0 ? (size_t)sent : 0);
    return is_all && held_left(tls) == 0;
}

static int collect(BIO *bio, struct stream *stream, const char *data, size_t size, size_t *written)
{
    struct tls_state *tls = stream->transport_state;

    if (size > TLS_STAGING_SIZE - tls->staged && !tls_bio_flush(stream))
        return tls->socket_error != 0 ? -1 : wait_for(bio, tls, TLS_BLOCKED_WRITING);
    *written = size < TLS_STAGING_SIZE - tls->staged ? size : TLS_STAGING_SIZE - tls->staged;
    memcpy(stream->loop->tls_staging + tls->staged, data, *written);
    tls->staged += *written;
    tls->handshake_sent += *written;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t size, size_t *written)
{
    struct stream *stream = BIO_get_data(bio);
    struct tls_state *tls = stream->transport_state;

    BIO_clear_retry_flags(bio);
    tls->blocked = TLS_NOT_BLOCKED;
    *written = 0;
    if (tls->is_collecting)
        return collect(bio, stream, data, size, written);
    ssize_t sent = send_behind_held(stream, data, size);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return give_up(tls, errno);
    if (sent <= 0)
        return wait_for(bio, tls, TLS_BLOCKED_WRITING);
    *written = (size_t)sent;
    return 1;
}

/* --- The rest of a BIO ----------------------------------------------------------------------- */

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    const struct stream *stream = BIO_get_data(bio);
    const struct tls_state *tls = stream->transport_state;

    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1; /* a handshake step is sent at its end */
    case BIO_CTRL_EOF:
        return tls->saw_eof;
    default:
        return 0;
    }
}

static BIO_METHOD *make_method(void)
{
    int type = BIO_get_new_index();
    BIO_METHOD *method =
        type != -1 ? BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "pgweir stream") : NULL;

    if (method != NULL) {
        BIO_meth_set_read_ex(method, bio_read);
        BIO_meth_set_write_ex(method, bio_write);
        BIO_meth_set_ctrl(method, bio_control);
    }
    return method;
}

/* Made once, by whoever comes first; constant then. OpenSSL has a limit of 127 on their number. */
static const BIO_METHOD *shared_method(void)
{
    static _Atomic(BIO_METHOD *) shared;
    BIO_METHOD *method = atomic_load_explicit(&shared, memory_order_acquire), *other = NULL;

    if (method != NULL)
        return method;
    method = make_method();
    if (method == NULL || atomic_compare_exchange_strong(&shared, &other, method))
        return method;
    BIO_meth_free(method);
    return other;
}

BIO *tls_bio_create(struct stream *stream)
{
    const BIO_METHOD *method = shared_method();
    BIO *bio = method != NULL ? BIO_new(method) : NULL;

    if (bio != NULL) {
        BIO_set_data(bio, stream);
        BIO_set_init(bio, 1);
    }
    return bio;
}
