#include "net/transport_memory.h"

#include <string.h>

#include "stream_private.h"

static struct memory_peer *peer_of(const struct stream *stream)
{
    return stream->transport_state;
}

static enum transport_verdict memory_handshake(struct stream *stream, struct error *error)
{
    (void)stream;
    (void)error;
    return TRANSPORT_MOVED;
}

static enum transport_verdict memory_read(struct stream *stream, void *data, size_t size,
                                          size_t *moved)
{
    struct span *input = &peer_of(stream)->input;
    size_t part = input->size < size ? input->size : size;

    *moved = part;
    if (part > 0) {
        memcpy(data, input->data, part);
        *input = (struct span){input->data + part, input->size - part};
    }
    if (input->size > 0)
        return TRANSPORT_MOVED;
    return peer_of(stream)->is_ended ? TRANSPORT_EOF : TRANSPORT_DRY;
}

static enum transport_verdict memory_write(struct stream *stream, const struct iovec *spans,
                                           int count, size_t *moved)
{
    struct memory_peer *peer = peer_of(stream);
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += spans[i].iov_len;
    *moved = peer->events->take(peer, spans, count);
    return *moved < size ? TRANSPORT_DRY : TRANSPORT_MOVED;
}

static void memory_shutdown(struct stream *stream)
{
    (void)stream;
}

static void memory_finish(struct stream *stream)
{
    struct memory_peer *peer = peer_of(stream);

    if (peer == NULL)
        return;
    peer->stream = NULL;
    peer->events->closed(peer);
}

const struct transport transport_memory = {
    .name = "memory",
    .handshake = memory_handshake,
    .read = memory_read,
    .write = memory_write,
    .shutdown = memory_shutdown,
    .finish = memory_finish,
};

bool stream_open_memory(struct stream *stream, struct loop *loop, struct memory_peer *peer,
                        const struct stream_events *events, struct error *error)
{
    if (!stream_open_without_socket(stream, loop, events, error))
        return false;
    stream->transport = &transport_memory;
    stream->transport_state = peer;
    peer->stream = stream;
    return true;
}

void memory_peer_offer(struct memory_peer *peer)
{
    struct stream *stream = peer->stream;

    if (stream == NULL)
        return;
    stream->is_readable = true;
    stream->peer_closed |= peer->is_ended;
    loop_again(stream->loop, &stream->again_task);
}

void memory_peer_let_write(struct memory_peer *peer)
{
    struct stream *stream = peer->stream;

    if (stream == NULL)
        return;
    stream->is_writable = true;
    if (stream->pending_bytes > 0)
        loop_defer(stream->loop, LOOP_WRITE, &stream->write_task);
}
