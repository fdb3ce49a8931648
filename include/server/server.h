/* server: one upstream connection, from connect to close.
 *
 * Owned by the server_set of the worker it is on; moves between workers only while idle, as a
 * message. What it owes is in its ledger, what its session has in `parameters` and `statements`. A
 * server that becomes free, new ones too, goes through server_release: there is no second way to
 * get one. It goes back to its pool only when server_is_clean() (PITFALLS §1, one function
 * decides); else it is reset (session mode) or closed.
 *
 * All functions run on the server's loop. After server_close the memory stays until the LOOP_FREE
 * phase.
 */
#pragma once
#include "base/bytes.h"
#include "base/log.h"
#include "ledger/ledger.h"
#include "ledger/parameters.h"
#include "ledger/session_settings.h"
#include "ledger/statements.h"
#include "net/stream.h"
#include "pool/pool.h"

struct server_set;
struct server;
struct server_login; /* of server/login: what only a login needs; freed when it is over */
struct server_dedicated;
struct server_probe;

#define SERVER_STATES(X)                                                                           \
    X(CONNECTING) /* resolving, connect(), TLS */                                                  \
    X(LOGIN)      /* startup sent, until its ReadyForQuery (and connect_query's) */                \
    X(IDLE)       /* in its shard's idle list */                                                   \
    X(ACTIVE)     /* lent: `owner` is set, or its release is due this turn */                      \
    X(TESTED)     /* running the reset or check query */                                           \
    X(RECOVERING) /* its client has left in the middle of something, which is cleared up */        \
    X(CANCELING)  /* free, but a cancel request for it is still in flight */                       \
    X(MOVING)     /* detached, in the mail */                                                      \
    X(CLOSING)    /* Terminate was sent; its end is awaited, at most SERVER_CLOSING_WAIT */        \
    X(CLOSED)
enum server_state {
#define SERVER_STATE_ENUM(name) SERVER_##name,
    SERVER_STATES(SERVER_STATE_ENUM)
#undef SERVER_STATE_ENUM
};
const char *server_state_name(
    enum server_state state); /* as SHOW SERVERS: new idle active tested being_canceled */

/* Who has the server. Called on the server's loop. */
struct server_events {
    /* A settled ledger entry with a tag or to synthesize. In order with the answers that are
     * forwarded. */
    void (*settled)(struct server *server, const struct ledger_entry *entry);
    /* After a ReadyForQuery was forwarded (status in the ledger), with what the client had to be
     * told of settings in front of it; or, `ours`, one of a message of the pooler was swallowed.
     * ledger.error_in_swallowed, swallowed_error: the pooler's message failed. */
    void (*ready)(struct server *server, bool ours);
    /* With READY_WATCH_OPEN: a ReadyForQuery that left a transaction open was swallowed. */
    void (*left_open)(struct server *server);
    /* With READY_WATCH_ALL: one was swallowed, and the owner is to say it when the time has come.
     */
    void (*ready_held)(struct server *server);
    /* A NotificationResponse's body. NULL: nobody looks at them. */
    void (*notified)(struct server *server, struct span body);
    /* A DataRow in answer to a message of the pooler. NULL: nobody looks at them. */
    void (*row)(struct server *server, struct span body);
    /* Something arrived that may let held messages go on (COPY started, a swallowed answer, room in
     * the ledger). */
    void (*progress)(struct server *server);
    /* PostgreSQL says that a statement's result has changed, of what is the oldest thing owed; the
     * owner is told. */
    void (*changed)(struct server *server);
    /* An error came that the owner had provoked; it is not forwarded. `error`: the owner's number.
     */
    void (*provoked)(struct server *server, uint8_t error);
    /* A statement of ours was stale, and the owner's unit has failed with it, before anything that
     * the owner could have seen: the unit's answers are swallowed from here on, and the owner,
     * which still has what it sent, sends it again when ready(ours) tells that the server stands.
     */
    void (*repeat)(struct server *server);
    /* A CommandComplete that changes what the client may rely on: "DEALLOCATE ALL", "DISCARD ALL".
     */
    void (*forgot_statements)(struct server *server);
    /* By which name the client calls what is `server_name` there: in an error that answers a
     * message with this tag (NULL: none). NULL: by that one. */
    const char *(*client_name)(struct server *server, const void *tag, const char *server_name);
    /* What was cancelled ran for too long: which time limit (as PostgreSQL says "user request"),
     * else NULL. */
    const char *(*cancelled_for)(const struct server *server);
    /* The server reported a setting; `asked`: in answer to the client's own message. */
    void (*parameter)(struct server *server, int slot, bool asked);
    /* It is gone or was closed; the owner is detached already. `why` is for the client. An
     * ErrorResponse of the server's (57P01, ...) was forwarded before if `told`. */
    void (*gone)(struct server *server, const struct error *why, bool told);
};

/* Of server->ready_watch; none of it where the answers of servers are as their clients shall have
 * them. */
enum server_ready_watch { READY_WATCH_OPEN = 1, READY_WATCH_ALL = 2 };

/* Of server/recover: how far the clearing up is. */
struct recovery {
    const char *reason; /* for the log, if it has to be closed: literal */
    usec_t end;         /* when it is given up; 0: not known yet */
    usec_t cancel_at;   /* when what runs is cancelled; 0: not known yet */
    usec_t cancel_delay;
    uint64_t received; /* bytes, when it began */
    bool may_finish;   /* what runs is not cancelled */
    bool must_reset;
    bool flush_was_sent;
    uint8_t rollbacks;
};

struct server {
    struct log_subject subject;
    uint64_t id;
    struct stream stream;
    struct pool_member member;
    struct server_set *set;
    enum server_state state;
    TAILQ_ENTRY(server) link; /* of the set */
    struct deadline deadline; /* connect, idle, cancel-wait: by state */
    struct loop_task release_task, free_task;

    const struct server_events *events; /* with owner */
    void *owner;                        /* the client that has it; NULL: nobody */
    struct stream *peer;                /* the owner's stream: where answers go */
    struct told_parameters *told;       /* the owner's: what its client was told of settings */
    struct pool_stats *stats;           /* of the pool on this worker */

    struct ledger ledger;
    struct server_parameters parameters;
    bool holds_probe;                /* statements that ask for the state of its session */
    struct session_profile *profile; /* what its session has beyond them (a reference) */
    struct server_statements statements;
    struct bytes
        borrowed; /* Close messages of the names that it got for SQL, sent when its owner parts */
    int borrowed_count;
    uint32_t pass; /* bytes of a message that is being passed on or swallowed in parts */
    bool pass_to_client;
    bool request_is_partial;      /* half a message of the client's was sent to it */
    bool must_close;              /* not fit for anybody else; `close_reason` */
    bool told_error;              /* the last thing forwarded was a FATAL ErrorResponse */
    const char *close_reason;     /* literal */
    struct error swallowed_error; /* what the pooler's own message was answered */

    uint32_t dirt;          /* session state that clients may have left on it: enum session_kind */
    uint64_t unnamed_owner; /* id of the client whose numbers ledger.unnamed has; 0: nobody's yet */
    uint32_t process;       /* BackendKeyData */
    uint8_t cancel_key[256];
    uint32_t cancel_key_size;
    int cancels_in_flight;
    struct address address; /* where it is connected to */
    const char *host;       /* of the entry's list: for TLS and cancels; borrowed from `database` */
    uint64_t losses_seen;   /* resolver_losses when its address was compared with the name's */
    struct database_entry *database; /* a reference: what it was opened with */
    struct tls_context *tls;         /* a reference */
    struct server_login *login;
    struct server_dedicated *dedicated; /* who waits for it to be opened; borrowed */
    struct server_probe *probe;         /* it only finds out whether a password is right (owned) */
    struct recovery recovery;
    uint64_t sent_before; /* stream_sent() when it was lent */
    uint32_t turns;       /* how often it was lent: a cancel is for one turn only */
    usec_t connect_time, request_time;
    struct mail mail; /* while MOVING */
    struct pool_waiter *moving_to;
    bool owner_holds;  /* the owner waits for the ledger to move: progress() after each input */
    bool has_moved_in; /* arrived this turn: looked at before use */
    bool ended_unread; /* it ended, and had read nothing of what this owner sent */
    bool may_repeat; /* nothing was answered yet of what the owner sent; `peer` is set, and keeps it
                      */
    bool found_changed; /* the last stale statement: its result is another now (else it was gone) */
    bool was_used;      /* by a client */
    uint8_t ready_watch;    /* enum server_ready_watch: what the owner is asked before its client is
                               told of a ReadyForQuery */
    bool is_session_owners; /* the owner keeps it until it leaves */
    bool end_was_seen;      /* its FIN or reset came */
    bool is_listening;      /* for the clients of its pool (server/subscription) */
    bool is_dedicated;      /* opened for one client: closed when that leaves */
    bool is_probe;          /* in no count of its pool */
    bool is_physical;       /* and no SQL can be said there */
    bool login_was_refused; /* its login got an ErrorResponse: no use to try again */
};

static inline struct server *server_of_stream(struct stream *stream)
{
    return (struct server *)((char *)stream - offsetof(struct server, stream));
}
static inline struct server *server_of_member(struct pool_member *member)
{
    return (struct server *)((char *)member - offsetof(struct server, member));
}

/* Does what pool advice says, on whatever worker it names. `set` is the caller's own. */
void server_follow(struct server_set *set, const struct pool_advice *advice);

/* For SQL that names a prepared statement the server holds it under its client's own name until the
 * client parts from it. */
#define SERVER_BORROWED_MAX 100
void server_borrow_name(struct server *server, const char *name);

/* POOL_OPEN on this worker: makes a server and starts connecting (server/login). Failure goes back
 * through the pool. */
void server_open(struct server_set *set, struct pool *pool);

/* A client takes a server that pool_acquire or `granted` gave it. False: it turned out to be dead
 * (closed here; acquire again). */
bool server_attach(struct server *server, const struct server_events *events, void *owner,
                   struct stream *peer, struct told_parameters *told);
/* server/check: it has been idle for so long that it is asked first whether it is still there.
 * Then server_check; who wanted it waits (pool_wait_for_check), and it is released, or closed. */
bool server_is_stale(const struct server *server);
void server_check(struct server *server);
/* The owner parts from it and asks no more. Clean: released in this turn's LOOP_GRANT; session
 * mode's reset first if `must_reset`; not clean: closed, `reason` in the log ("client disconnect
 * while server was not ready", ...). */
void server_detach(struct server *server, bool must_reset, const char *reason);
/* The owner has an answer, or is about to: its request is not sent again. */
static inline void server_forget_request(struct server *server)
{
    server->may_repeat = false;
    stream_forget(server->peer);
}
/* server/recover: the owner has left in the middle of something (its tags in the ledger are
 * disowned already). The server is cleared up within client_gone_timeout and then goes the way of
 * server_detach; what cannot be cleared up (half a message, a broken server) is closed. */
struct server_leaver {
    const char *reason; /* literal: why it is closed, if it is */
    bool terminated; /* it said Terminate: what it asked before runs to its end, as PostgreSQL does
                      */
    bool must_reset; /* as for server_detach */
};
void server_recover(struct server *server, const struct server_leaver *leaver);
/* An operator's order: closed at once in whatever state it is, and what runs on it cancelled. It
 * has no owner any more. `reason` is a literal. */
void server_kill(struct server *server, const char *reason);
/* Nothing owed, 'I', nothing half sent in either direction, no COPY, no cancel in flight. */
bool server_is_clean(const struct server *server);
/* To the next waiter, here or on another worker, or to the idle list. The server is clean and has
 * no owner. */
void server_release(struct server *server);
/* Ends it: Terminate if it is healthy, owner told through `gone` if there is one (with `why`; NULL:
 * "server conn crashed?"). The pool is told when its end was seen, or after SERVER_CLOSING_WAIT
 * (MECHANISMS §2.7). `reason` is a literal, for the log. */
#define SERVER_CLOSING_WAIT USEC_PER_SEC
void server_close(struct server *server, const char *reason, const struct error *why);
void server_move_state(struct server *server, enum server_state next);
/* A Query of the pooler's own, whose answers are swallowed. False: no memory, or no room in the
 * ledger. */
bool server_put_query(struct server *server, const char *query);
/* That is what its session has now, beyond what it reports. */
void server_set_profile(struct server *server, struct session_profile *profile);

/* server/answers: stream events of a server that is logged in. */
void server_input(struct stream *stream);
void server_drained(struct stream *stream);
void server_closed(struct stream *stream, enum stream_end end, const struct error *why);

extern const struct stream_events server_stream_events; /* of a server that is logged in */

/* server/login: what connecting and login do with input; `server_login_done` and
 * `server_login_failed` end it. */
void server_login_start(struct server *server);
void server_login_finish(
    struct server *server); /* frees server->login, cancels what is under way; idempotent */

/* server/cancel: sends `server`'s key to its host over a side connection (TLS as the main one);
 * holds the server (cancels_in_flight) until that connection's end, and at most
 * cancel_wait_timeout. `done` (may be NULL) is called at that end. No more than cancel_max_inflight
 * are under way at once, over all workers; others wait, and are dropped when what they were to
 * strike has ended. */
struct server_cancel_request {
    void (*done)(void *argument);
    void *argument;
    bool is_last; /* the server is closed next: the cancel goes out all the same */
};
void server_cancel(struct server *server, struct server_cancel_request request);
