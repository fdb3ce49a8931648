/* stream_peer: streams whose other end is a plain socket of the test, and a loop that is turned by
 * hand. */
#pragma once
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"

#define SIDE_GOT_MAX (8 * 1024 * 1024)

/* One stream, and what it was told. */
struct side {
    struct stream stream; /* first */
    int peer;             /* the other end; -1: closed */
    uint8_t *got;         /* all that was consumed */
    size_t got_size;
    int inputs, closed, drained, ready;
    enum stream_end end;
    char why[ERROR_MESSAGE_MAX];
    bool leaves_input;                   /* consumes nothing */
    void (*on_input)(struct side *side); /* instead of consuming */
    void (*on_closed)(struct side *side);
    struct side *other;
};

static inline struct side *side_of(struct stream *stream)
{
    return (struct side *)stream;
}

static inline void side_take(struct side *side)
{
    struct span input = stream_input(&side->stream);

    ck_assert_uint_le(side->got_size + input.size, SIDE_GOT_MAX);
    memcpy(side->got + side->got_size, input.data, input.size);
    side->got_size += input.size;
    stream_consume(&side->stream, input.size);
}

static void side_input(struct stream *stream)
{
    struct side *side = side_of(stream);

    side->inputs++;
    ck_assert(!stream->pauses && !stream->is_closed && side->closed == 0);
    if (side->on_input != NULL)
        side->on_input(side);
    else if (!side->leaves_input)
        side_take(side);
}

static void side_closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    struct side *side = side_of(stream);

    ck_assert(!stream->is_closed);
    side->closed++;
    side->end = end;
    strcpy(side->why, why->message);
    if (side->on_closed != NULL)
        side->on_closed(side);
}

static void side_drained(struct stream *stream)
{
    ck_assert(!stream_is_blocked(stream));
    side_of(stream)->drained++;
}

static void side_ready(struct stream *stream)
{
    side_of(stream)->ready++;
}

static const struct stream_events side_events = {
    .input = side_input, .drained = side_drained, .closed = side_closed, .ready = side_ready};

static inline void tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;

    ck_assert_int_eq(bind(listening, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listening, 5), 0);
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fds[0], (struct sockaddr *)&address, size), 0);
    fds[1] = accept(listening, NULL, NULL);
    ck_assert_int_ge(fds[1], 0);
    close(listening);
    setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static inline struct side *side_create(struct loop *loop, int fd, int peer)
{
    struct side *side = calloc(1, sizeof(*side));
    struct error error;

    side->peer = peer;
    side->got = malloc(SIDE_GOT_MAX);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    ck_assert(stream_open(&side->stream, loop, fd, &side_events, &error));
    return side;
}

static inline struct side *tcp_side(struct loop *loop)
{
    int fds[2];

    tcp_pair(fds);
    return side_create(loop, fds[0], fds[1]);
}

static inline struct side *local_side(struct loop *loop)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    return side_create(loop, fds[0], fds[1]);
}

static inline void side_destroy(struct side *side)
{
    stream_close(&side->stream);
    if (side->peer >= 0)
        close(side->peer);
    free(side->got);
    free(side);
}

static inline void peer_send(struct side *side, const void *data, size_t size)
{
    ck_assert_int_eq(send(side->peer, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

static inline void peer_says(struct side *side, const char *text)
{
    peer_send(side, text, strlen(text));
}

static inline void peer_closes(struct side *side)
{
    close(side->peer);
    side->peer = -1;
}

static inline void peer_resets(struct side *side)
{
    struct linger linger = {.l_onoff = 1};

    setsockopt(side->peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    peer_closes(side);
}

struct tick {
    struct loop_task task; /* first */
    struct loop *loop;
};

static void end_after_turn(struct loop_task *task)
{
    loop_stop(((struct tick *)task)->loop);
}

/* One turn, which does not wait. */
static inline void turn(struct loop *loop)
{
    struct tick tick = {{.run = end_after_turn}, loop};

    loop_again(loop, &tick.task);
    loop_run(loop);
}

static inline void turns(struct loop *loop, int count)
{
    for (int i = 0; i < count; i++)
        turn(loop);
}

/* Turns until `condition` holds; the kernel may take its time. */
#define turn_until(loop, condition)                                                                \
    do {                                                                                           \
        usec_t give_up_ = clock_monotonic() + 10 * USEC_PER_SEC;                                   \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_monotonic() < give_up_, "never: %s", #condition);                  \
            turn(loop);                                                                            \
        }                                                                                          \
    } while (0)

#define assert_got(side, text)                                                                     \
    do {                                                                                           \
        ck_assert_uint_eq((side)->got_size, strlen(text));                                         \
        ck_assert_mem_eq((side)->got, text, strlen(text));                                         \
    } while (0)

/* What the peer can read now is exactly `text`. */
#define assert_peer_reads(side, text)                                                              \
    do {                                                                                           \
        char read_[4096] = "";                                                                     \
        ssize_t size_ = recv((side)->peer, read_, sizeof(read_) - 1, MSG_DONTWAIT);                \
        ck_assert_int_eq(size_, (ssize_t)strlen(text));                                            \
        ck_assert_str_eq(read_, text);                                                             \
    } while (0)
