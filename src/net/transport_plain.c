/* Bytes as they are. Any number of them moved by one system call. */
#include <errno.h>
#include <sys/socket.h>

#include "net/stream.h"
#include "net/transport.h"

static enum transport_verdict plain_handshake(struct stream *stream, struct error *error)
{
    (void)stream;
    (void)error;
    return TRANSPORT_MOVED;
}

static enum transport_verdict plain_read(struct stream *stream, void *data, size_t size,
                                         size_t *moved)
{
    ssize_t got;

    do
        got = recv(stream->fd, data, size, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        *moved = (size_t)got;
        return (size_t)got < size ? TRANSPORT_DRY : TRANSPORT_MOVED;
    }
    *moved = 0;
    if (got == 0)
        return TRANSPORT_EOF;
    return errno == EAGAIN ? TRANSPORT_DRY : TRANSPORT_FAILED;
}

static enum transport_verdict write_verdict(ssize_t sent, size_t size, size_t *moved)
{
    if (sent >= 0) {
        *moved = (size_t)sent;
        return (size_t)sent < size ? TRANSPORT_DRY : TRANSPORT_MOVED;
    }
    *moved = 0;
    return errno == EAGAIN ? TRANSPORT_DRY : TRANSPORT_FAILED;
}

/* Not inlined: what it needs on the stack would cost the usual single span, too. */
static __attribute__((noinline)) enum transport_verdict
write_many(struct stream *stream, const struct iovec *spans, int count, size_t *moved)
{
    /* sendmsg only reads what msg_iov points to, but its type is not const. */
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)spans,
                                   .msg_iovlen = (size_t)count};
    ssize_t sent;
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += spans[i].iov_len;
    do
        sent = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return write_verdict(sent, size, moved);
}

static enum transport_verdict plain_write(struct stream *stream, const struct iovec *spans,
                                          int count, size_t *moved)
{
    ssize_t sent;

    if (count != 1)
        return write_many(stream, spans, count, moved);
    do
        sent = send(stream->fd, spans->iov_base, spans->iov_len, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return write_verdict(sent, spans->iov_len, moved);
}

static void plain_nothing(struct stream *stream)
{
    (void)stream;
}

const struct transport transport_plain = {
    .name = "plain",
    .handshake = plain_handshake,
    .read = plain_read,
    .write = plain_write,
    .shutdown = plain_nothing,
    .finish = plain_nothing,
};
