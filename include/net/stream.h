/* stream: one connection's bytes: a non-blocking socket, a transport, an input buffer and pending
 * output.
 *
 * Keeps true:
 * - Events are edge-triggered and added once (MECHANISMS §1.2); `readable` and `writable` are
 * sticky and cleared only by what the socket said. A stream that stops early is put on the loop's
 * list for the next turn.
 * - In the read phase of a turn a stream reads at most one bufferful and then calls events->input,
 * which takes whole messages from stream_input() and leaves the rest. It is called again in later
 * turns as long as it left room (or asked for more room).
 * - Output is collected as spans during the turn (stream_put copies to the loop's arena,
 * stream_forward points into the source's input buffer, stream_lend points to bytes that outlive
 * the turn) and written with one gathered write in LOOP_WRITE. What could not be sent is copied
 * into pending buffers of this stream, so after LOOP_WRITE nobody's input buffer is referred to.
 * - A stream with unsent output is "blocked"; its source must not be read meanwhile (stream_pause):
 * a slow reader costs one buffer.
 * - Nothing is called back from inside stream_put/forward/lend/close; failures of writing are told
 * by events->closed later: what the peer had sent before is offered first (a server's last
 * ErrorResponse), and output is dropped meanwhile.
 *
 * A stream is embedded in its owner (client, server) and lives on one loop at a time; stream_detach
 * and stream_attach move it, with its unread input, flags and TLS state. After stream_close no
 * event is called any more; the memory must stay until the LOOP_FREE phase.
 */
#pragma once
#include "base/cursor.h"
#include "net/address.h"
#include "net/deadline.h"
#include "net/loop.h"
#include "net/tls_context.h"
#include "net/transport.h"

struct stream;

enum stream_end {
    STREAM_EOF,    /* the peer sent FIN (or TLS close_notify) */
    STREAM_RESET,  /* the peer reset, or the network failed; `why` */
    STREAM_FAILED, /* a TLS failure, or no memory; `why` */
};

struct stream_events {
    /* Bytes are in the input buffer. In the read phase. */
    void (*input)(struct stream *stream);
    /* Output that was blocked has all been sent (in LOOP_WRITE). May be NULL. */
    void (*drained)(struct stream *stream);
    /* The peer is gone. All bytes that it sent before were read and offered by input() first,
     * unless the stream is paused: then `closed` comes at once, and unread bytes stay readable with
     * stream_read_rest. Called once; the owner calls stream_close. In the read phase; of a failed
     * write in the next turn's. `why` is never NULL. */
    void (*closed)(struct stream *stream, enum stream_end end, const struct error *why);
    /* connect() or the TLS handshake is done. May be NULL for a stream that does neither. */
    void (*ready)(struct stream *stream);
};

enum { STREAM_PAUSED = 1, STREAM_HELD = 2 };

struct stream_output; /* spans of this turn; borrowed from the loop */

struct stream {
    const struct stream_events *events;
    const struct transport *transport;
    void *transport_state; /* of the TLS transport: struct tls_state */
    struct loop *loop;     /* NULL: between two loops */
    struct event *event;
    int fd; /* -1: closed */
    uint32_t in_start, in_end;
    uint32_t kept_start;           /* with is_kept: where the bytes begin that may be taken back */
    uint32_t in_wanted;            /* room asked for with stream_want; 0: any */
    struct buffer *in;             /* NULL: no bytes */
    struct stream_output *output;  /* NULL: nothing this turn */
    bool is_readable, is_writable; /* sticky */
    uint8_t pauses;                /* who wants no input: STREAM_PAUSED, STREAM_HELD */
    bool is_lent;                  /* spans of this turn point into `in` */
    bool is_kept;                  /* consumed bytes stay in `in` (stream_keep) */
    bool peer_closed;              /* FIN seen, or writing failed; not yet told */
    bool is_connecting, is_handshaking, is_closed, closed_told, is_local;
    bool handshake_is_server; /* we are the accepting side */
    bool close_when_drained;  /* set by the owner before the last output: EOF is told behind it */
    bool owes_drained;        /* output was blocked, and drained() not called since */
    bool must_offer;          /* input() is owed for unread bytes, whether or not more come */
    bool is_bulk;             /* the last read filled its buffer: the next one is larger */
    bool is_in_doubt; /* the last read was short, and nothing was sent since (see `doubt`) */
    bool woke_idle;   /* the last wake-up moved nothing */
    int failure;      /* errno of a write or read that failed; 0: none */
    struct loop_task write_task, again_task, lent_task;
    uint64_t received, sent; /* bytes, above the transport */
    /* Unsent bytes of earlier turns, in order; all buffers but the last are full. */
    struct buffer *pending_first, *pending_last;
    uint32_t pending_start, pending_end; /* in the first, in the last */
    size_t pending_bytes;
    /* Unix sockets: added only while blocked (MECHANISMS §1.3). NULL until it is needed. */
    struct event *write_event;
    /* A reset that comes in one event with bytes before it shows neither as CLOSED nor in a short
     * receive, and there is no second event. So a stream whose last receive was short (in a TLS
     * handshake, too) is read once more within a second or two, unless a write has proven it alive.
     */
    struct deadline doubt;
};

/* Takes over `fd` (already connected, or accepted), on `loop`. False: no memory or descriptors (fd
 * is closed). */
bool stream_open(struct stream *stream, struct loop *loop, int fd,
                 const struct stream_events *events, struct error *error);
/* Starts connect(); events->ready when done, events->closed when refused. False: failed at once
 * (errno's text in error). */
bool stream_connect(struct stream *stream, struct loop *loop, const struct address *to,
                    const struct socket_options *options, const struct stream_events *events,
                    struct error *error);

/* Starts TLS (what was put before goes out in plain before it): the accepting side (bytes that were
 * already read, such as a ClientHello of direct TLS, are taken from the input buffer into the
 * handshake) or the connecting side (`server_name` for SNI and verify-full; may be an address).
 * events->ready or closed follows. With direct TLS on the connecting side `alpn` is "postgresql",
 * else NULL. */
bool stream_start_tls_accept(struct stream *stream, struct tls_context *context,
                             struct error *error);
bool stream_start_tls_connect(struct stream *stream, struct tls_context *context,
                              const char *server_name, const char *alpn, struct error *error);
bool stream_is_tls(const struct stream *stream);
/* "TLSv1.3/TLS_AES_256_GCM_SHA384", "" without TLS. */
void stream_tls_text(const struct stream *stream, char *text, size_t size);
/* Until this is called, what an accepted connection has said over TLS is wiped from OpenSSL's
 * memory as it is read: there may be passwords in it. */
void stream_tls_secrets_are_over(struct stream *stream);
/* The host name that the peer has asked for (SNI). False: none, or it does not fit. */
bool stream_tls_server_name(const struct stream *stream, char *text, size_t size);
/* What was chosen by ALPN: TLS_ALPN_..., 0: nothing. */
unsigned stream_tls_alpn(const struct stream *stream);
/* Whether the handshake resumed a session. */
bool stream_tls_resumed(const struct stream *stream);
/* The peer has shown a certificate that verifies. */
bool stream_tls_has_peer(const struct stream *stream);
/* Its common name. False: there is none, or it does not fit. */
bool stream_tls_peer_name(const struct stream *stream, char *text, size_t size);
/* Its common name, or a DNS or IP name beside it, is `name`: as names of hosts are compared
 * (without regard to case, a leading *. for one label). */
/* SHA-256 of it, in hexadecimal. */
bool stream_tls_peer_fingerprint(const struct stream *stream, char *text, size_t size);
bool stream_tls_peer_is(const struct stream *stream, const char *name);
/* The same of the certificate that we have shown in this handshake. */
bool stream_tls_own_is(const struct stream *stream, const char *name);

/* The channel binding tls-server-end-point: a hash of the certificate that the accepting side has
 * shown in this handshake, by the hash of its signature (SHA-256 for MD5 and SHA-1). Returns its
 * size; 0: no TLS, or a signature that names no hash (Ed25519). */
#define STREAM_END_POINT_MAX 64
size_t stream_tls_end_point(const struct stream *stream, uint8_t hash[STREAM_END_POINT_MAX]);

/* Unread input: address and size. Valid until the end of the turn's read phase, or until
 * stream_consume. */
static inline struct span stream_input(const struct stream *stream)
{
    if (!stream->in)
        return (struct span){0};
    return (struct span){stream->in->data + stream->in_start, stream->in_end - stream->in_start};
}
/* Takes `size` bytes off the front (they stay in memory until the end of the turn if they were
 * forwarded). */
void stream_consume(struct stream *stream, size_t size);
/* What is consumed from here on (there is unread input) stays in memory and can be taken back,
 * until stream_forget, or until a read needs its room. */
static inline void stream_keep(struct stream *stream)
{
    stream->kept_start = stream->in_start;
    stream->is_kept = stream->in != NULL;
}
static inline bool stream_is_kept(const struct stream *stream)
{
    return stream->is_kept;
}
/* Takes back all that was consumed since stream_keep (it is kept): unread input begins there again.
 * Offered only when somebody asks for it, or more comes. */
void stream_rewind(struct stream *stream);
void stream_forget(struct stream *stream);
/* Asks that `size` unread bytes shall fit contiguously (a message that must lie whole): the buffer
 * grows at the next read. */
void stream_want(struct stream *stream, size_t size);
/* Stops and starts calling events->input. While paused only `closed` is told (also in the next
 * turn, if the FIN was seen before). Resuming offers unread input in the next turn. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);
/* The same by somebody else (an operator's SUSPEND): input comes when neither holds it back. */
void stream_hold(struct stream *stream);
void stream_let_go(struct stream *stream);

/* Output, in the order of the calls. False: no memory (the owner closes the stream). */
bool stream_put(struct stream *stream, const void *data, size_t size); /* copied now */
bool stream_lend(struct stream *stream, const void *data,
                 size_t size); /* must stay unchanged until the end of the turn */
/* The first `size` bytes of `from`'s unread input; consumes them. */
bool stream_forward(struct stream *to, struct stream *from, size_t size);

/* Bytes that were not sent in an earlier turn, or a TLS record half written. */
static inline bool stream_is_blocked(const struct stream *stream)
{
    return stream->pending_bytes > 0;
}
/* Nothing collected this turn and nothing pending. */
static inline bool stream_is_flushed(const struct stream *stream)
{
    return stream->pending_bytes == 0 && stream->output == NULL;
}
/* Bytes that the socket has taken, as it counts them (with TLS: records). */
static inline uint64_t stream_sent(const struct stream *stream)
{
    return stream->transport->sent ? stream->transport->sent(stream) : stream->sent;
}
/* Of what was sent since stream_sent() was `since` nothing has arrived at the peer's machine, when
 * it sent what we have read of it last. False also where that cannot be known. After a FIN, or a
 * last message behind which the peer reads no more, this says that the peer has not read it. */
bool stream_nothing_arrived(const struct stream *stream, uint64_t since);
/* Writes what is collected now instead of in LOOP_WRITE (for a last message before a close). */
void stream_flush(struct stream *stream);

/* Closes at once; collected output of this turn is written first as far as the socket takes it.
 * Idempotent. */
void stream_close(struct stream *stream);

/* A stream that moves to another loop: takes it off its loop (no events, no tasks), later puts it
 * on `loop`, where unread input, readiness and a FIN are noticed again. It must be flushed. */
void stream_detach(struct stream *stream);
bool stream_attach(struct stream *stream, struct loop *loop);

/* Reads from the socket now, outside the read phase, and says whether there was anything: bytes
 * (they are in the input buffer), FIN or an error. For a server that has just arrived from another
 * worker (MECHANISMS §1.1). */
bool stream_has_unasked_input(struct stream *stream);
/* After `closed` was told of a paused stream, or of one with a full buffer: reads what the socket
 * still holds, as far as there is room. False: there is no unread input. */
bool stream_read_rest(struct stream *stream);
