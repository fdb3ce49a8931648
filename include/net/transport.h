/* transport: how a stream's bytes get on the wire; a small table of functions (DESIGN §4).
 *
 * plain, TLS, memory, and later WebSocket over the first two. Nothing above net/stream knows which.
 * A transport reads and writes once per call and says what stopped it; the stream keeps the flags.
 * One loop's thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

struct stream;

enum transport_verdict {
    TRANSPORT_MOVED, /* some bytes were moved (*moved > 0); there may be more */
    TRANSPORT_DRY,   /* as MOVED (or *moved == 0), and the socket had no more / takes no more now */
    TRANSPORT_WANT_WRITE, /* a read that must write first (TLS handshake, key update) */
    TRANSPORT_WANT_READ,  /* a write that must read first */
    TRANSPORT_EOF,        /* orderly end (FIN; with TLS also without close_notify) */
    TRANSPORT_FAILED,     /* handshake: error says why; read and write: errno does, EPROTO where the
                             transport's own protocol failed */
};

struct transport {
    const char *name;
    /* One step of the handshake: DRY or WANT_WRITE: again when the socket is ready; MOVED: done. */
    enum transport_verdict (*handshake)(struct stream *stream, struct error *error);
    /* `*moved` counts also beside a verdict that ends the stream. A transport that has seen a short
     * receive says DRY without trying again: the stream itself knows when a FIN came in the same
     * event (stream->peer_closed) and calls once more. */
    enum transport_verdict (*read)(struct stream *stream, void *data, size_t size, size_t *moved);
    /* DRY with less moved than given: the socket is full, and a writable event will come. The next
     * call has at least the bytes that were not moved, at another address. */
    enum transport_verdict (*write)(struct stream *stream, const struct iovec *spans, int count,
                                    size_t *moved);
    /* Says goodbye where the transport has a word for it (close_notify), without waiting. */
    void (*shutdown)(struct stream *stream);
    /* Bytes that the socket has taken. NULL: as many as the stream has sent. */
    uint64_t (*sent)(const struct stream *stream);
    void (*finish)(struct stream *stream); /* frees what stream->transport_state points to */
};

extern const struct transport transport_plain;
extern const struct transport transport_tls;
extern const struct transport transport_memory;
