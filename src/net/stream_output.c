/* The output half of net/stream: spans of this turn, and what the socket did not take. */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "spans.h"
#include "stream_private.h"

/* What a write has failed with is told in the next turn, after what the peer had sent before
 * (stream.h). */
static __attribute__((noinline)) void fail(struct stream *stream, int error_number)
{
    stream->failure = error_number != 0 ? error_number : EPROTO;
    stream->peer_closed = true;
    stream->is_readable = true;
    stream_drop_output(stream);
    loop_again(stream->loop, &stream->again_task);
}

void stream_await_writable(struct stream *stream)
{
    stream->is_writable = false;
    if (!stream->is_local) /* nor has it a socket, perhaps */
        return;
    /* No EV_PERSIST: it rings once and is gone. */
    if (stream->write_event == NULL)
        stream->write_event =
            event_new(stream->loop->base, stream->fd, EV_WRITE | EV_ET, stream_on_event, stream);
    if (stream->write_event == NULL || event_add(stream->write_event, NULL) != 0)
        fail(stream, ENOMEM);
}

static void return_outputs(struct stream *stream, struct stream_output *output)
{
    struct loop *loop = stream->loop;

    do {
        struct stream_output *next = output->next;
        output_return(&loop->free_outputs, &loop->free_output_count, output);
        output = next;
    } while (output != NULL);
}

void stream_drop_output(struct stream *stream)
{
    while (stream->pending_first != NULL) {
        struct buffer *next = SLIST_NEXT(stream->pending_first, link);
        buffer_return(&stream->loop->buffers, stream->pending_first);
        stream->pending_first = next;
    }
    stream->pending_last = NULL;
    stream->pending_bytes = 0;
    stream->pending_start = stream->pending_end = 0;
    if (stream->output != NULL)
        return_outputs(stream, stream->output);
    stream->output = NULL;
    stream->owes_drained = false;
}

/* Keeps bytes for a later turn. */
static bool keep(struct stream *stream, const uint8_t *data, size_t size)
{
    stream->owes_drained = true;
    while (size > 0) {
        struct buffer *last = stream->pending_last;
        if (last == NULL || stream->pending_end == last->capacity) {
            struct buffer *added = buffer_borrow(
                &stream->loop->buffers, size > BUFFER_SIZE ? BUFFER_SIZE_BULK : BUFFER_SIZE);
            if (added == NULL)
                return false;
            if (last != NULL)
                SLIST_NEXT(last, link) = added;
            else
                stream->pending_first = added;
            stream->pending_last = last = added;
            stream->pending_end = 0;
        }
        size_t room = last->capacity - stream->pending_end;
        size_t part = size < room ? size : room;
        memcpy(last->data + stream->pending_end, data, part);
        stream->pending_end += (uint32_t)part;
        stream->pending_bytes += part;
        data += part;
        size -= part;
    }
    return true;
}

static bool keep_spans(struct stream *stream, const struct iovec *spans, int count)
{
    for (int i = 0; i < count; i++)
        if (!keep(stream, spans[i].iov_base, spans[i].iov_len))
            return false;
    return true;
}

/* What a write that did not take everything means. False: no more now (it waits for the socket, or
 * has failed). */
static bool goes_on(struct stream *stream, enum transport_verdict verdict, size_t moved)
{
    switch (verdict) {
    case TRANSPORT_MOVED:
        if (moved == 0)
            stream_await_writable(stream);
        return moved > 0;
    case TRANSPORT_DRY:
    case TRANSPORT_WANT_WRITE:
        stream_await_writable(stream);
        return false;
    case TRANSPORT_WANT_READ: /* the next readable event tries again */
        return false;
    case TRANSPORT_EOF:
        fail(stream, EPIPE);
        return false;
    case TRANSPORT_FAILED:
        fail(stream, errno);
        return false;
    }
    return false;
}

/* Takes `moved` bytes off the front of the pending ones. */
static void forget_pending(struct stream *stream, size_t moved)
{
    stream->pending_bytes -= moved;
    while (moved > 0) {
        struct buffer *first = stream->pending_first;
        bool is_last = first == stream->pending_last;
        size_t end = is_last ? stream->pending_end : first->capacity;
        size_t part = end - stream->pending_start;

        if (moved < part) {
            stream->pending_start += (uint32_t)moved;
            return;
        }
        moved -= part;
        stream->pending_first = SLIST_NEXT(first, link);
        stream->pending_start = 0;
        if (is_last)
            stream->pending_last = NULL;
        buffer_return(&stream->loop->buffers, first);
    }
}

static int pending_spans(const struct stream *stream, struct iovec *spans)
{
    int count = 0;
    size_t start = stream->pending_start;

    for (struct buffer *buffer = stream->pending_first; buffer != NULL && count < OUTPUT_SPANS;
         buffer = SLIST_NEXT(buffer, link)) {
        size_t end = buffer == stream->pending_last ? stream->pending_end : buffer->capacity;
        spans[count++] = (struct iovec){buffer->data + start, end - start};
        start = 0;
    }
    return count;
}

static __attribute__((noinline)) void write_pending(struct stream *stream)
{
    struct iovec spans[OUTPUT_SPANS];

    while (stream->pending_bytes > 0) {
        size_t moved = 0;
        enum transport_verdict verdict =
            stream->transport->write(stream, spans, pending_spans(stream, spans), &moved);
        stream->sent += moved;
        forget_pending(stream, moved);
        if (stream->pending_bytes > 0 && !goes_on(stream, verdict, moved))
            return;
    }
}

/* Writes the rest of a block after a first write of `moved` bytes, and keeps what the socket does
 * not take. False: no memory for that. */
static __attribute__((noinline)) bool write_rest(struct stream *stream, struct stream_output *block,
                                                 enum transport_verdict verdict, size_t moved)
{
    struct iovec *spans = block->spans;
    int count = block->count;
    size_t left = block->bytes;

    while (moved < left) {
        bool is_more = goes_on(stream, verdict, moved);
        if (stream->failure != 0)
            return true;
        left -= moved;
        while (moved > 0 && moved >= spans->iov_len) {
            moved -= spans->iov_len;
            spans++;
            count--;
        }
        spans->iov_base = (uint8_t *)spans->iov_base + moved;
        spans->iov_len -= moved;
        if (!is_more)
            return keep_spans(stream, spans, count);
        moved = 0;
        verdict = stream->transport->write(stream, spans, count, &moved);
        stream->sent += moved;
    }
    return true;
}

/* False: no memory for what the socket does not take. */
static inline bool write_block(struct stream *stream, struct stream_output *block)
{
    size_t moved = 0;
    enum transport_verdict verdict =
        stream->transport->write(stream, block->spans, block->count, &moved);

    stream->sent += moved;
    if (moved != block->bytes)
        return write_rest(stream, block, verdict, moved);
    stream->is_in_doubt = false; /* a reset would have been told now */
    return true;
}

static bool can_write(const struct stream *stream)
{
    return stream->is_writable && stream->pending_bytes == 0 && !stream_is_starting(stream);
}

/* More than one block, or output that has to wait behind other. False: no memory. */
static __attribute__((noinline)) bool write_or_keep(struct stream *stream,
                                                    struct stream_output *output)
{
    for (; output != NULL && stream->failure == 0; output = output->next)
        if (!(can_write(stream) ? write_block(stream, output)
                                : keep_spans(stream, output->spans, output->count)))
            return false;
    return true;
}

static inline void write_out(struct stream *stream)
{
    struct stream_output *output = stream->output;

    if (output != NULL) {
        stream->output = NULL;
        bool has_memory = output->next == NULL && can_write(stream) ? write_block(stream, output)
                                                                    : write_or_keep(stream, output);
        return_outputs(stream, output);
        if (!has_memory)
            fail(stream, ENOMEM);
    }
    if (stream->pending_bytes > 0 && stream->is_writable && !stream_is_starting(stream))
        write_pending(stream);
}

void stream_write_out(struct stream *stream)
{
    write_out(stream);
}

/* Tells that what was blocked is gone, if it is. */
static __attribute__((noinline)) void tell_drained(struct stream *stream)
{
    if (stream->pending_bytes > 0 || stream->failure != 0)
        return;
    if (stream->close_when_drained)
        loop_again(stream->loop, &stream->again_task);
    if (!stream->owes_drained)
        return;
    stream->owes_drained = false;
    if (stream->events->drained != NULL)
        stream->events->drained(stream);
}

void stream_run_write(struct loop_task *task)
{
    struct stream *stream = STREAM_OF(task, write_task);

    write_out(stream);
    if (stream->owes_drained || stream->close_when_drained)
        tell_drained(stream);
}

void stream_flush(struct stream *stream)
{
    if (stream->is_closed)
        return;
    stream_write_out(stream);
    /* Nothing is called back from here. */
    if (stream->owes_drained && stream->pending_bytes == 0)
        loop_defer(stream->loop, LOOP_WRITE, &stream->write_task);
}

/* The first span of a turn, or of a further block. */
static inline bool add_block(struct stream *stream, const void *data, size_t size)
{
    struct loop *loop = stream->loop;
    struct stream_output *block = output_borrow(&loop->free_outputs, &loop->free_output_count);

    if (block == NULL)
        return false;
    if (stream->output != NULL) {
        stream->output->last->next = block;
        stream->output->last = block;
    } else {
        stream->output = block;
        loop_defer(loop, LOOP_WRITE, &stream->write_task);
    }
    return output_append(block, data, size);
}

static inline bool add_span(struct stream *stream, const void *data, size_t size)
{
    if (stream->output != NULL && output_append(stream->output->last, data, size))
        return true;
    return add_block(stream, data, size);
}

/* Output of a stream that is gone, or about to be told so, is dropped. */
static bool is_dropped(const struct stream *stream, size_t size)
{
    return size == 0 || stream->is_closed || stream->failure != 0;
}

bool stream_put(struct stream *stream, const void *data, size_t size)
{
    uint8_t *copy;

    if (is_dropped(stream, size))
        return true;
    copy = arena_take(&stream->loop->arena, size);
    if (copy == NULL)
        return false;
    memcpy(copy, data, size);
    return add_span(stream, copy, size);
}

bool stream_lend(struct stream *stream, const void *data, size_t size)
{
    return is_dropped(stream, size) || add_span(stream, data, size);
}

bool stream_forward(struct stream *to, struct stream *from, size_t size)
{
    assert(size <= stream_unread(from));
    if (!is_dropped(to, size)) {
        if (!add_span(to, from->in->data + from->in_start, size))
            return false;
        if (!from->is_lent) {
            from->is_lent = true;
            from->loop->lent_streams++;
            loop_defer(from->loop, LOOP_FREE, &from->lent_task);
        }
    }
    stream_take_off(from, size);
    return true;
}

void stream_run_unlend(struct loop_task *task)
{
    struct stream *stream = STREAM_OF(task, lent_task);

    stream->is_lent = false;
    stream->loop->lent_streams--;
    if (stream->in != NULL && stream->in_start == stream->in_end && !stream->is_kept)
        stream_return_input(stream);
}
