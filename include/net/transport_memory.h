/* transport_memory: a stream without a socket; its other end is a piece of this program, on the
 * same loop.
 *
 * The other end embeds a struct memory_peer. What it has to say lies in `input`, which it owns and
 * which the stream reads when its turn comes; what the stream writes is handed to take(), in
 * LOOP_WRITE (or inside stream_flush and stream_close). Nothing here calls the stream's owner back:
 * what follows from memory_peer_offer happens in the loop's next turn. The stream cannot move to
 * another loop. One loop's thread.
 */
#pragma once
#include "base/cursor.h"
#include "net/stream.h"

struct memory_peer;

struct memory_peer_events {
    /* The stream has written: how much of it is taken. Less than all: the stream is blocked until
     * memory_peer_let_write. Must not touch the stream or its owner. */
    size_t (*take)(struct memory_peer *peer, const struct iovec *spans, int count);
    /* The stream was closed, and is not to be touched any more. The same holds. */
    void (*closed)(struct memory_peer *peer);
};

struct memory_peer {
    const struct memory_peer_events *events;
    struct stream *stream; /* NULL: not opened, or closed */
    struct span input;     /* unread; its front is taken off as it is read */
    bool is_ended;         /* behind `input` the stream finds its end */
};

/* Opens `stream` on `loop`. False: no memory. */
bool stream_open_memory(struct stream *stream, struct loop *loop, struct memory_peer *peer,
                        const struct stream_events *events, struct error *error);
/* `input` has bytes, or `is_ended` was set. */
void memory_peer_offer(struct memory_peer *peer);
/* take() takes bytes again. */
void memory_peer_let_write(struct memory_peer *peer);
