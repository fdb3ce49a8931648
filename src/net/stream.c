#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "stream_private.h"

static bool prepare_loop(struct loop *loop)
{
    if (loop->doubts != NULL)
        return true;
    loop->doubts = memory_zalloc(sizeof(*loop->doubts));
    if (loop->doubts == NULL)
        return false;
    deadline_list_init(loop->doubts, loop, stream_end_doubt, NULL);
    return true;
}

static bool add_events(struct stream *stream)
{
    short wanted = EV_READ | EV_CLOSED | EV_ET | EV_PERSIST;

    if (stream->fd < 0)
        return true;

    /* Unix sockets would wake for OUT at each read of the peer [MECHANISMS §1.3]. */
    if (!stream->is_local)
        wanted |= EV_WRITE;
    stream->event = event_new(stream->loop->base, stream->fd, wanted, stream_on_event, stream);
    return stream->event != NULL && event_add(stream->event, NULL) == 0;
}

static void remove_events(struct stream *stream)
{
    if (stream->event != NULL)
        event_free(stream->event);
    if (stream->write_event != NULL)
        event_free(stream->write_event);
    stream->event = stream->write_event = NULL;
}

static void init(struct stream *stream, struct loop *loop, int fd,
                 const struct stream_events *events)
{
    *stream = (struct stream){
        .events = events,
        .transport = &transport_plain,
        .loop = loop,
        .fd = fd,
        .is_writable = true,
        .write_task = {.run = stream_run_write},
        .again_task = {.run = stream_run_again},
        .lent_task = {.run = stream_run_unlend},
    };
}

/* The last step of opening. */
static bool start_events(struct stream *stream, struct error *error)
{
    if (prepare_loop(stream->loop) && add_events(stream))
        return true;
    stream_close(stream);
    return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
}

bool stream_open(struct stream *stream, struct loop *loop, int fd,
                 const struct stream_events *events, struct error *error)
{
    int domain = AF_UNSPEC;
    socklen_t size = sizeof(domain);

    init(stream, loop, fd, events);
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    stream->is_local = domain == AF_UNIX;
    return start_events(stream, error);
}

bool stream_open_without_socket(struct stream *stream, struct loop *loop,
                                const struct stream_events *events, struct error *error)
{
    init(stream, loop, -1, events);
    return start_events(stream, error);
}

bool stream_connect(struct stream *stream, struct loop *loop, const struct address *to,
                    const struct socket_options *options, const struct stream_events *events,
                    struct error *error)
{
    int fd = socket(to->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    init(stream, loop, fd, events);
    if (fd < 0) {
        stream->is_closed = true;
        return error_set(error, SQLSTATE_CANNOT_CONNECT, "%s", strerror(errno));
    }
    stream->is_local = address_is_local(to);
    stream->is_connecting = true;
    stream->is_writable = false;
    socket_apply_options(fd, to, options);
    if (connect(fd, &to->u.any, to->size) == 0) {
        stream->is_writable = true;
        loop_again(loop, &stream->again_task);
    } else if (errno != EINPROGRESS) {
        int error_number = errno;
        stream_close(stream);
        return error_set(error, SQLSTATE_CANNOT_CONNECT, "%s", strerror(error_number));
    }
    return start_events(stream, error);
}

/* The input buffer, if output of this turn points into it, stays until that is written. */
static void leave_lent_input(struct stream *stream)
{
    loop_cancel_task(stream->loop, &stream->lent_task);
    stream->is_lent = stream->is_kept = false;
    stream->loop->lent_streams--;
    SLIST_INSERT_HEAD(&stream->loop->spent, stream->in, link);
    stream->in = NULL;
}

/* Takes the stream out of everything that its loop may still look at. */
static void leave_loop(struct stream *stream)
{
    struct loop *loop = stream->loop;

    remove_events(stream);
    loop_cancel_task(loop, &stream->again_task);
    loop_cancel_task(loop, &stream->write_task);
    deadline_clear(&stream->doubt);
    if (loop->current == stream)
        loop->current = NULL;
}

/* TCP answers unread bytes at a close with a reset, which can overtake our last words at the peer.
 * What is there is thrown away. */
static void forget_unread(struct stream *stream)
{
    struct buffer *buffer = buffer_borrow_standard(&stream->loop->buffers);

    if (buffer == NULL)
        return;
    ssize_t size = recv(stream->fd, buffer->data, buffer->capacity, 0);
    (void)size;
    buffer_return(&stream->loop->buffers, buffer);
}

static void say_goodbye(struct stream *stream)
{
    bool has_last_words = stream->output != NULL;

    stream_write_out(stream);
    if (stream->failure != 0)
        return;
    stream->transport->shutdown(stream);
    if (stream->fd >= 0 && !stream->is_local && (has_last_words || stream->is_readable))
        forget_unread(stream);
}

static void close_on_loop(struct stream *stream)
{
    if (!stream_is_starting(stream) && stream->failure == 0 &&
        (stream->event != NULL || stream->fd < 0))
        say_goodbye(stream);
    if (stream->is_lent)
        leave_lent_input(stream);
    if (stream->in != NULL)
        stream_return_input(stream);
    stream_drop_output(stream);
    leave_loop(stream);
}

void stream_close(struct stream *stream)
{
    if (stream->is_closed)
        return;
    stream->is_closed = true;
    if (stream->loop != NULL)
        close_on_loop(stream);
    else
        memory_free(stream->in);
    stream->in = NULL;
    stream->transport->finish(stream);
    stream->transport_state = NULL;
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

void stream_consume(struct stream *stream, size_t size)
{
    assert(size <= stream_unread(stream));
    stream_take_off(stream, size);
}

void stream_rewind(struct stream *stream)
{
    assert(stream->is_kept);
    stream->in_start = stream->kept_start;
    stream->in_wanted = 0;
    stream->is_kept = false;
}

void stream_forget(struct stream *stream)
{
    if (!stream->is_kept)
        return;
    stream->is_kept = false;
    if (stream->in_start == stream->in_end && !stream->is_lent)
        stream_return_input(stream);
}

void stream_want(struct stream *stream, size_t size)
{
    /* A quarter of what the indexes can count: no caller's limit comes near. */
    stream->in_wanted = size < UINT32_MAX / 4 ? (uint32_t)size : UINT32_MAX / 4;
    if (stream->is_readable && !stream->pauses)
        loop_again(stream->loop, &stream->again_task);
}

static void stop_input(struct stream *stream, uint8_t who)
{
    stream->pauses |= who;
    if (stream->peer_closed && !stream->closed_told)
        loop_again(stream->loop, &stream->again_task);
}

static void start_input(struct stream *stream, uint8_t who)
{
    if (!(stream->pauses & who))
        return;
    stream->pauses &= (uint8_t)~who;
    if (stream->pauses)
        return;
    stream->must_offer = stream_unread(stream) > 0;
    if (stream->must_offer || stream->is_readable || stream->peer_closed)
        loop_again(stream->loop, &stream->again_task);
}

void stream_pause(struct stream *stream)
{
    stop_input(stream, STREAM_PAUSED);
}

void stream_resume(struct stream *stream)
{
    start_input(stream, STREAM_PAUSED);
}

void stream_hold(struct stream *stream)
{
    stop_input(stream, STREAM_HELD);
}

void stream_let_go(struct stream *stream)
{
    start_input(stream, STREAM_HELD);
}

void stream_detach(struct stream *stream)
{
    struct loop *loop = stream->loop;
    struct buffer *copy = NULL;
    size_t unread = stream_unread(stream);

    assert(stream_is_flushed(stream) && !stream_is_starting(stream));
    if (stream->is_lent) {
        if (unread > 0) {
            copy = buffer_borrow(&loop->buffers, unread);
            if (copy != NULL)
                memcpy(copy->data, stream->in->data + stream->in_start, unread);
            else
                stream->failure = ENOMEM; /* told on the other loop */
        }
        leave_lent_input(stream);
        stream->in = copy;
        stream->in_start = 0;
        stream->in_end = copy != NULL ? (uint32_t)unread : 0;
    }
    if (stream->in != NULL)
        loop->buffers.lent_count--;
    leave_loop(stream);
    stream->loop = NULL;
}

bool stream_attach(struct stream *stream, struct loop *loop)
{
    stream->loop = loop;
    if (stream->in != NULL)
        loop->buffers.lent_count++;
    stream->must_offer = stream_unread(stream) > 0;
    if (stream->failure != 0)
        stream->peer_closed = stream->is_readable = true;
    if (stream->must_offer || stream->is_readable || stream->peer_closed)
        loop_again(loop, &stream->again_task);
    return prepare_loop(loop) && add_events(stream);
}

bool stream_has_unasked_input(struct stream *stream)
{
    enum transport_verdict verdict;

    if (stream_unread(stream) > 0 || stream->peer_closed || stream->closed_told)
        return true;
    if (!stream_make_room(stream))
        return true;
    verdict = stream_fill(stream);
    bool has_bytes = stream_unread(stream) > 0;
    if (!has_bytes && verdict != TRANSPORT_EOF && verdict != TRANSPORT_FAILED) {
        stream->is_readable = false;
        stream_return_input(stream);
        return false;
    }
    /* The owner will close it; if it does not, it is told in the next turn as ever. */
    stream->is_readable = true;
    stream->must_offer = has_bytes;
    stream->peer_closed = verdict == TRANSPORT_EOF || verdict == TRANSPORT_FAILED;
    loop_again(stream->loop, &stream->again_task);
    return true;
}

bool stream_nothing_arrived(const struct stream *stream, uint64_t since)
{
    uint64_t sent = stream_sent(stream) - since;
    int unacknowledged = 0;

    if (sent == 0)
        return true;
    if (stream->is_local || stream->fd < 0)
        return false;
    /* Each segment of the peer's acknowledges all that was there when it was sent. */
    return ioctl(stream->fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged >= 0 &&
           (uint64_t)unacknowledged >= sent;
}

bool stream_read_rest(struct stream *stream)
{
    if (!stream->is_closed && stream_make_room(stream) && stream->in_end < stream->in->capacity)
        stream_fill(stream);
    return stream_unread(stream) > 0;
}
