/* The input half of net/stream: what events say, reading, handshakes, and the end. All of it in the
 * read phase. */
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "stream_private.h"

/* A full handshake costs about half a millisecond: more of them in a turn would be felt by
 * everybody else. */
#define HANDSHAKE_STEPS_PER_TURN 4

#define DOUBT_LASTS USEC_PER_SEC

/* --- The end --- */

static void tell_closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    if (stream->closed_told)
        return;
    stream->closed_told = true;
    stream->is_readable = false;
    stream->events->closed(stream, end, why);
}

static void tell_eof(struct stream *stream)
{
    struct error why;

    error_set(&why, SQLSTATE_CONNECTION_FAILURE, "closed by the other side");
    tell_closed(stream, STREAM_EOF, &why);
}

static void tell_failed(struct stream *stream, int error_number)
{
    struct error why;
    enum stream_end end = STREAM_RESET;

    if (error_number == ENOMEM) {
        end = STREAM_FAILED;
        error_set(&why, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    } else if (error_number == 0 || error_number == EPROTO) {
        end = STREAM_FAILED;
        error_set(&why, SQLSTATE_CONNECTION_FAILURE, "%s: bytes that break its protocol",
                  stream->transport->name);
    } else {
        error_set(&why, SQLSTATE_CONNECTION_FAILURE, "%s", strerror(error_number));
    }
    tell_closed(stream, end, &why);
}

static int socket_error(const struct stream *stream)
{
    int error_number = 0;
    socklen_t size = sizeof(error_number);

    if (stream->fd < 0)
        return 0;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error_number, &size) != 0)
        return errno;
    return error_number;
}

/* For a stream that is not read now (paused, or its buffer is full): has the peer gone? A reset is
 * not told by CLOSED (libevent shows EPOLLERR as READ and WRITE), so it is asked for. */
static void look_for_end(struct stream *stream)
{
    int error_number = stream->failure;

    if (error_number == 0 && !stream->peer_closed)
        error_number = socket_error(stream);
    if (error_number != 0)
        tell_failed(stream, error_number);
    else if (stream->peer_closed)
        tell_eof(stream);
}

/* --- Input --- */

static bool replace_input(struct stream *stream, size_t capacity)
{
    size_t unread = stream_unread(stream);
    struct buffer *larger = buffer_borrow(&stream->loop->buffers, capacity);

    if (larger == NULL)
        return false;
    if (stream->in != NULL && unread > 0)
        memcpy(larger->data, stream->in->data + stream->in_start, unread);
    stream_return_input(stream);
    stream->is_kept = false;
    stream->in = larger;
    stream->in_start = 0;
    stream->in_end = (uint32_t)unread;
    return true;
}

/* For a buffer that is there already, or is to be larger than usual. */
static bool make_more_room(struct stream *stream)
{
    struct buffer *in = stream->in;
    size_t capacity = stream->is_bulk ? BUFFER_SIZE_BULK : BUFFER_SIZE;

    if (capacity < stream->in_wanted)
        capacity = stream->in_wanted;
    if (in == NULL)
        return replace_input(stream, capacity);
    if (stream->is_lent)
        return true;
    if (in->capacity < capacity)
        return replace_input(stream, capacity);
    /* Moving a message's first bytes is cheaper than receiving into what little room is left behind
     * them. */
    if (stream->in_start > 0 && (in->capacity - stream->in_end < in->capacity / 2 ||
                                 in->capacity - stream->in_start < stream->in_wanted)) {
        size_t unread = stream_unread(stream);
        stream->is_kept = false;
        memmove(in->data, in->data + stream->in_start, unread);
        stream->in_start = 0;
        stream->in_end = (uint32_t)unread;
    }
    return true;
}

static inline bool make_room(struct stream *stream)
{
    if (stream->in != NULL || stream->is_bulk || stream->in_wanted > BUFFER_SIZE)
        return make_more_room(stream);
    stream->in = buffer_borrow_standard(&stream->loop->buffers);
    stream->in_start = stream->in_end = 0;
    return stream->in != NULL;
}

bool stream_make_room(struct stream *stream)
{
    return make_room(stream);
}

static bool has_room(const struct stream *stream)
{
    const struct buffer *in = stream->in;

    return in == NULL || stream->in_end < in->capacity ||
           (!stream->is_lent && (stream->in_start > 0 || stream->in_wanted > in->capacity));
}

static inline enum transport_verdict fill(struct stream *stream)
{
    struct buffer *in = stream->in;
    enum transport_verdict verdict;

    do {
        size_t moved = 0;
        verdict = stream->transport->read(stream, in->data + stream->in_end,
                                          in->capacity - stream->in_end, &moved);
        stream->in_end += (uint32_t)moved;
        stream->received += moved;
        if (verdict == TRANSPORT_DRY && !stream->peer_closed)
            return TRANSPORT_DRY;
        /* Bytes and FIN may come in one event, and there is no second one (MECHANISMS §1.2). */
        if (verdict == TRANSPORT_DRY)
            verdict = moved > 0 ? TRANSPORT_MOVED : TRANSPORT_EOF;
        else if (verdict == TRANSPORT_MOVED && moved == 0)
            return TRANSPORT_DRY;
    } while (verdict == TRANSPORT_MOVED && stream->in_end < in->capacity);
    if (verdict == TRANSPORT_FAILED && stream->failure == 0)
        stream->failure = errno != 0 ? errno : EPROTO;
    return verdict;
}

enum transport_verdict stream_fill(struct stream *stream)
{
    return fill(stream);
}

static void begin_doubt(struct stream *stream)
{
    stream->is_in_doubt = true;
    if (!deadline_is_set(&stream->doubt))
        deadline_set(stream->loop->doubts, &stream->doubt, stream->loop->now + DOUBT_LASTS);
}

void stream_end_doubt(struct deadline *deadline, struct deadline_list *list)
{
    struct stream *stream = STREAM_OF(deadline, doubt);

    if (!stream->is_in_doubt)
        return;
    stream->is_in_doubt = false;
    stream->woke_idle = false;
    /* A handshake is not gone on with for nothing each second: only a reset counts. */
    if (stream->is_handshaking && stream->failure == 0)
        stream->failure = socket_error(stream);
    else
        stream->is_readable = true;
    if (stream->is_readable || stream->failure != 0)
        loop_again(list->loop, &stream->again_task);
}

/* A read that moved nothing, or did not leave the socket dry. */
static void note_odd_read(struct stream *stream, enum transport_verdict verdict, bool has_moved)
{
    stream->is_readable = verdict == TRANSPORT_MOVED || verdict == TRANSPORT_WANT_WRITE;
    if (has_moved)
        return;
    if (verdict == TRANSPORT_WANT_WRITE)
        stream_await_writable(stream);
    if (verdict == TRANSPORT_DRY && stream->transport == &transport_plain) {
        if (stream->woke_idle)
            stream->loop->idle_wakeups++;
        stream->woke_idle = true;
    }
}

/* What a read of `moved` bytes has said about the socket. */
static inline void note_read(struct stream *stream, enum transport_verdict verdict, uint64_t moved)
{
    stream->is_bulk = moved >= BUFFER_SIZE;
    if (moved > 0)
        stream->woke_idle = false;
    if (verdict != TRANSPORT_DRY || moved == 0) {
        note_odd_read(stream, verdict, moved > 0);
        return;
    }
    stream->is_readable = false;
    begin_doubt(stream);
}

/* Calls input(). False: the stream closed, or left this loop, in it. */
static bool offer_input(struct stream *stream)
{
    struct loop *loop = stream->loop;

    stream->must_offer = false;
    loop->current = stream;
    stream->events->input(stream);
    return loop->current == stream;
}

/* What is to be done after a read that did not leave the socket dry. */
static void go_on_reading(struct stream *stream, enum transport_verdict verdict)
{
    if (verdict == TRANSPORT_EOF || verdict == TRANSPORT_FAILED) {
        /* What ended it first counts: a write that failed before the end was read. */
        if (stream->failure != 0)
            tell_failed(stream, stream->failure);
        else
            tell_eof(stream);
    } else if (stream_is_starting(stream)) {
        loop_again(stream->loop, &stream->again_task);
    } else if (stream->is_readable && stream->is_lent && !stream->pauses) {
        /* Output of this turn points into the buffer: it has room again in the next. */
        loop_again(stream->loop, &stream->again_task);
    } else if (stream->pauses || (stream->is_readable && !has_room(stream))) {
        if (stream->peer_closed)
            look_for_end(stream);
        else if (stream->is_readable)
            begin_doubt(stream);
    } else if (verdict == TRANSPORT_MOVED) {
        loop_again(stream->loop, &stream->again_task);
    }
}

/* Reads once, offers what is there, tells the end, in this order. Nobody may touch the stream
 * afterwards. */
static void take_input(struct stream *stream)
{
    enum transport_verdict verdict = TRANSPORT_WANT_READ; /* not asked */
    uint64_t before = stream->received;

    if (stream->pauses) {
        look_for_end(stream);
        return;
    }
    if (stream->is_readable) {
        if (!make_room(stream)) {
            tell_failed(stream, ENOMEM);
            return;
        }
        if (stream->in_end < stream->in->capacity) {
            verdict = fill(stream);
            note_read(stream, verdict, stream->received - before);
        }
    }
    if ((stream->received > before || (stream->must_offer && stream_unread(stream) > 0)) &&
        !offer_input(stream))
        return;
    if (stream->in != NULL && stream->in_start == stream->in_end && !stream_needs_input(stream))
        stream_return_input(stream);
    if (verdict != TRANSPORT_DRY)
        go_on_reading(stream, verdict);
}

/* --- Connecting and handshakes --- */

static bool finish_connect(struct stream *stream)
{
    int error_number;

    if (!stream->is_writable && !stream->is_readable)
        return false;
    error_number = socket_error(stream);
    if (error_number != 0) {
        tell_failed(stream, error_number);
        return false;
    }
    stream->is_connecting = false;
    stream->is_writable = true;
    return true;
}

static void become_ready(struct stream *stream)
{
    struct loop *loop = stream->loop;

    if (stream->pending_bytes > 0)
        loop_defer(loop, LOOP_WRITE, &stream->write_task);
    if (stream->events->ready != NULL) {
        loop->current = stream;
        stream->events->ready(stream);
        if (loop->current != stream)
            return;
    }
    if (stream_is_starting(stream))
        loop_again(loop, &stream->again_task);
    else
        take_input(stream);
}

static enum transport_verdict step_handshake(struct stream *stream, struct error *error)
{
    enum transport_verdict verdict = stream->transport->handshake(stream, error);

    /* As in fill(): a FIN behind the last bytes shows only in another receive. */
    if (stream->peer_closed && (verdict == TRANSPORT_DRY || verdict == TRANSPORT_WANT_READ)) {
        verdict = stream->transport->handshake(stream, error);
        if (verdict == TRANSPORT_DRY || verdict == TRANSPORT_WANT_READ)
            verdict = TRANSPORT_EOF;
    }
    return verdict;
}

static void go_on_with_handshake(struct stream *stream)
{
    struct loop *loop = stream->loop;
    struct error error = {.message = ""};

    if (loop->handshake_steps >= HANDSHAKE_STEPS_PER_TURN) {
        loop_again(loop, &stream->again_task);
        return;
    }
    loop->handshake_steps++;
    switch (step_handshake(stream, &error)) {
    case TRANSPORT_MOVED:
        stream->is_handshaking = false;
        begin_doubt(stream); /* its last receive may have been short */
        stream->is_readable =
            true; /* the transport may hold bytes that came with the last flight */
        become_ready(stream);
        break;
    case TRANSPORT_DRY:
    case TRANSPORT_WANT_READ:
        stream->is_readable = false;
        begin_doubt(stream);
        break;
    case TRANSPORT_WANT_WRITE:
        stream_await_writable(stream);
        break;
    case TRANSPORT_EOF:
        tell_eof(stream);
        break;
    case TRANSPORT_FAILED:
        tell_closed(stream, STREAM_FAILED, &error);
        break;
    }
}

static void go_on_starting(struct stream *stream)
{
    if (stream->failure != 0)
        tell_failed(stream, stream->failure);
    else if (!stream->is_connecting)
        go_on_with_handshake(stream);
    else if (finish_connect(stream))
        become_ready(stream);
}

/* --- Events --- */

void stream_on_event(int fd, short what, void *argument)
{
    struct stream *stream = argument;

    (void)fd;
    loop_wake(stream->loop);
    if ((what & EV_WRITE) != 0)
        stream->is_writable = true;
    if ((what & EV_READ) != 0)
        stream->is_readable = true;
    if ((what & EV_CLOSED) != 0)
        stream->is_readable = stream->peer_closed = true;
    if (stream->pending_bytes > 0 && stream->is_writable)
        loop_defer(stream->loop, LOOP_WRITE, &stream->write_task);
    /* If that is queued, it runs later in this turn or early in the next, and sees the flags:
     * input() is called once a turn. */
    if (stream->again_task.is_queued || stream->closed_told)
        return;
    if (stream_is_starting(stream))
        go_on_starting(stream);
    else if (stream->is_readable)
        take_input(stream);
}

void stream_run_again(struct loop_task *task)
{
    struct stream *stream = STREAM_OF(task, again_task);

    if (stream->closed_told)
        return;
    if (stream->close_when_drained && stream_is_flushed(stream) && stream->failure == 0)
        tell_eof(stream);
    else if (stream_is_starting(stream))
        go_on_starting(stream);
    else if (stream->is_readable || stream->must_offer || stream->peer_closed)
        take_input(stream);
}
