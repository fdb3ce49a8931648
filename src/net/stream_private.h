/* stream_private: what stream.c (life and input) and stream_output.c (output) need of each other.
 */
#pragma once
#include <stddef.h>

#include "net/stream.h"

/* The stream that a task or deadline is embedded in. */
#define STREAM_OF(part, member) ((struct stream *)((char *)(part)-offsetof(struct stream, member)))

static inline size_t stream_unread(const struct stream *stream)
{
    return stream->in != NULL ? stream->in_end - stream->in_start : 0;
}

/* Nothing may be written before these are done; what is put out meanwhile is kept as pending. */
static inline bool stream_is_starting(const struct stream *stream)
{
    return stream->is_connecting || stream->is_handshaking;
}

/* The input buffer stays, even if nothing unread is in it. */
static inline bool stream_needs_input(const struct stream *stream)
{
    return stream->is_lent || stream->is_kept;
}

static inline void stream_return_input(struct stream *stream)
{
    buffer_return(&stream->loop->buffers, stream->in);
    stream->in = NULL;
}

/* stream_consume(), for where it counts. */
static inline void stream_take_off(struct stream *stream, size_t size)
{
    stream->in_start += (uint32_t)size;
    stream->in_wanted = 0;
    if (stream->in_start == stream->in_end && !stream_needs_input(stream) && stream->in != NULL)
        stream_return_input(stream);
    if (stream->is_readable && !stream->pauses)
        loop_again(stream->loop, &stream->again_task);
}

/* stream_open() for a stream whose transport has no socket: fd is -1, and nobody but the transport
 * tells it that it may read or write. */
bool stream_open_without_socket(struct stream *stream, struct loop *loop,
                                const struct stream_events *events, struct error *error);

/* The callback of both events. */
void stream_on_event(int fd, short what, void *argument);

/* The tasks: early in the next turn, in LOOP_WRITE, in LOOP_FREE. */
void stream_run_again(struct loop_task *task);
void stream_run_write(struct loop_task *task);
void stream_run_unlend(struct loop_task *task);

/* A stream's last receive was short and nothing was sent since (struct stream, `doubt`): it is read
 * again. */
void stream_end_doubt(struct deadline *deadline, struct deadline_list *list);

/* Makes room behind the unread bytes. False: no memory. There may be no room nevertheless: the
 * owner has left the buffer full. */
bool stream_make_room(struct stream *stream);

/* Receives until the socket is dry or the buffer, in which there is room, is full. FAILED:
 * stream->failure says why. */
enum transport_verdict stream_fill(struct stream *stream);

/* The socket took no more: writability is awaited. */
void stream_await_writable(struct stream *stream);

/* Writes what was collected and what is pending, as far as the socket takes it. Calls nothing back.
 */
void stream_write_out(struct stream *stream);

/* Forgets collected and pending output. */
void stream_drop_output(struct stream *stream);
