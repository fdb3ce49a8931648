/* client: one downstream connection, from first byte to last.
 *
 * Owned by the client_set of the worker it is on; moves at most once, after authentication, to a
 * home worker of its pool (MECHANISMS §2.5), before BackendKeyData is written. Reads its own
 * messages, waits for servers, and parts from them; what a server owes is in the server's ledger.
 *
 * All functions run on the client's loop. After client_close the memory stays until the LOOP_FREE
 * phase, and longer while a granted server is on its way.
 */
#pragma once
#include "base/log.h"
#include "client/counts.h"
#include "client/moat.h"
#include "ledger/parameters.h"
#include "ledger/session_state.h"
#include "ledger/statements.h"
#include "net/stream.h"
#include "pool/pool.h"
#include "server/server.h"
#include "wire/query.h"

struct client_set;
struct message;      /* of wire */
struct client_login; /* of client/login: what only first bytes and login need; freed when it is over
                      */
struct console_session;    /* of admin */
struct client_replication; /* of client/replication; NULL: an ordinary client */

#define CLIENT_STATES(X)                                                                           \
    X(FIRST_BYTES) /* TLS, SSLRequest, cancel, until the StartupMessage */                         \
    X(FRONT)       /* speaks HTTP: taken over by front_ops */                                      \
    X(LOGIN)       /* authentication */                                                            \
    X(MOVING)      /* in the mail to its home worker */                                            \
    X(WELCOME)     /* authenticated, waits until a server of its pool has logged in once */        \
    X(IDLE)        /* logged in, no server, nothing asked */                                       \
    X(WAITING)     /* in the waiting queue with a query */                                         \
    X(ACTIVE)      /* has a server */                                                              \
    X(CONSOLE)     /* logged in to database pgbouncer */                                           \
    X(CLOSED)
enum client_state {
#define CLIENT_STATE_ENUM(name) CLIENT_##name,
    CLIENT_STATES(CLIENT_STATE_ENUM)
#undef CLIENT_STATE_ENUM
};

struct client {
    struct log_subject subject;
    uint64_t id;
    struct stream stream;
    struct client_set *set;
    enum client_state state;
    TAILQ_ENTRY(client) link;
    struct deadline deadline; /* login, wait or idle: by state */
    struct loop_task grant_task, free_task;
    struct mail mail; /* while MOVING, and for cancels */

    struct moat_guest *guest; /* owned */
    struct client *carrier;   /* it speaks from within that one's connection, which outlives it (a
                                 request over HTTP); NULL: it has a connection of its own */
    struct client_login *login;
    struct console_session *console;
    struct client_replication *replication;
    void
        *front; /* of front_ops: what it is for the room that has taken it over; NULL: nobody has */
    struct address *real_address;          /* said by a proxy; owned. NULL: it is the socket's */
    struct listener_entry *listener;       /* by which it came in; a reference */
    struct listener_count *listener_count; /* counted there */
    struct database_entry *database;       /* references */
    struct user_entry *user;               /* login user; may be NULL (any) */
    char *user_name, *database_name;       /* owned */
    char
        *asked_host; /* owned; by a connection string over HTTP, for its route. NULL: SNI says it */
    char *server_user; /* owned; whom the server shall see, by its route. NULL: as ever */
    int route_mode;    /* pool_mode of its route, or CONFIG_UNSET */
    struct pool *pool; /* a reference; NULL for the console */
    struct client_count *database_count, *user_count; /* counted there; NULL: not */
    bool is_counted; /* in counts->logged_in (else in counts->logging_in) */
    bool is_admin, is_stats_user;

    UT_hash_handle hh;        /* of the set's table by cancel key */
    uint8_t cancel_key[32];   /* process id and secret as the client has them */
    uint32_t cancel_key_size; /* 8 (3.0), or up to 32 (3.2) */
    uint32_t protocol;        /* negotiated: PROTOCOL_3_0 or PROTOCOL_3_2 */

    struct pool_waiter waiter;
    struct server *server; /* while ACTIVE */
    struct wanted_parameters wanted;
    struct told_parameters told;
    /* Beyond what servers report: what it asked for at startup, which its RESETs return to, and
     * what holds now (references). */
    struct session_profile *startup_profile, *profile;
    struct session_profile *unmended;        /* of client/mend: the profile before */
    struct wanted_parameters startup_wanted; /* of those that servers report */
    struct session_follow *follow;           /* of client/session_follow; NULL: touched nothing */
    struct client_listening *listening;      /* of client/listen; NULL: it never did */
    usec_t pinned_since;
    uint32_t pins;      /* why it keeps its server between transactions: enum session_kind */
    uint8_t probe_left; /* ReadyForQuery that are due until it is known what its session has */
    bool holds_units;   /* each of its units is seen to its end before the next one goes out:
                           statement mode, and who listens */
    uint8_t probe_tries;
    struct prefix_prepares {    /* of SQL's PREPARE, last in the prefix */
        uint8_t in_front, left; /* ReadyForQuery that are due: for what stands in front, for them */
        uint64_t bit, failed;   /* of the next one; of those that could not be made */
    } prepares;
    bool prefix_is_broken; /* its settings could not be applied */
    bool names_are_lost;   /* it has set more custom settings than can be asked for */
    struct client_statements statements;
    struct digest128 last_bound; /* of its last Bind, if its statement is shared; else 0 */

    uint32_t unnamed;       /* its unnamed statement, while it has no server (else the ledger's) */
    uint32_t unnamed_count; /* the number of its last unnamed Parse */
    uint32_t unnamed_now;   /* the number of what the unit that is read has last made of it */
    uint32_t unnamed_unit;  /* the Sync unit, plus one, in which the server's is made or found to be
                               its own */
    struct unnamed_parse *unnamed_kept[2]; /* of src/client/unnamed; NULL: none */

    uint32_t
        pass; /* bytes still to come of a message that is being passed on (or dropped) in parts */
    bool pass_to_server;
    bool is_in_request; /* a query was begun: query_start, xact_start count */
    bool is_in_transaction;
    uint8_t servers_lost;    /* under its request, which none of them had read */
    uint8_t prefix_left;     /* Query messages of its settings that are not confirmed yet */
    bool unit_has_begun;     /* something of the current Sync unit was sent */
    bool tracks_statements;  /* named statements are mapped (transaction and statement mode) */
    bool is_session_mode;    /* keeps its server until it leaves */
    bool is_statement_mode;  /* no transaction may stay open behind a ReadyForQuery */
    bool awaits_rollback;    /* a ROLLBACK of ours is on its way: statement mode, virtual failure */
    uint8_t virtual_failure; /* enum virtual_failure_state: its transaction took, or idled, too
                                long */
    uint8_t virtual_portal;  /* enum query_ending: the unnamed portal, while the error is owed */
    bool needs_server;       /* a message in the input buffer cannot go on without one */
    bool skips_unit; /* an error was answered without a server: what follows is dropped up to its
                        Sync */
    bool flush_was_sent; /* the ledger is full: a Flush makes the server answer (MECHANISMS §5.1) */
    bool withheld_sync;  /* a Sync during COPY IN, which the server would ignore, was kept back */
    bool said_terminate;   /* what it asked before may run to its end, as on PostgreSQL */
    bool is_repeating;     /* its request is sent again when the first run of it has ended */
    bool finds_changed;    /* what is sent again next is the statement whose result has changed */
    const char *over_time; /* what runs was cancelled for its time or its transaction's, and its end
                              is awaited: as the log says it (literal); else NULL */
    bool failed_by_age;    /* its virtual failure is of transaction_timeout */
    bool was_notified;     /* query_wait_notify was said for this wait */
    uint32_t told_lost;    /* kinds of session state of which it knows that they are lost: enum
                              session_kind */
    uint32_t touched; /* session state that its transaction may have touched: enum session_kind */
    uint32_t unnamed_touches;   /* what its unnamed statement would touch */
    uint32_t prepared_touches;  /* what an EXECUTE of its may touch */
    uint32_t unit;              /* number of the Sync unit that is being read */
    uint32_t delta_unit;        /* unit of the last statement delta */
    uint32_t parses_of_its_own; /* of texts that are not shared */
    uint32_t copy_data_unit;    /* the Sync unit, plus one, in which CopyData was sent last */
    uint32_t deallocates_unit;  /* the Sync unit, plus one, in which an unnamed Parse takes names */
    char deallocates[QUERY_NAME_SIZE]; /* which; "": all */
    /* A cancel that waits until the head of the ledger is the client's. NULL: none. */
    void (*cancel_done)(void *argument);
    void *cancel_argument;
    usec_t connect_time, request_time, query_start, xact_start, wait_start;
    usec_t waited; /* before the server that it has, or had, was there; for log_min_duration */
    struct effective effective; /* what holds for it, of the snapshot with this generation */
    uint64_t effective_generation;
};

static inline struct client *client_of_stream(struct stream *stream)
{
    return (struct client *)((char *)stream - offsetof(struct client, stream));
}
/* The client whose connection it is. */
static inline const struct client *client_carrier(const struct client *client)
{
    return client->carrier != NULL ? client->carrier : client;
}
static inline struct client *client_of_waiter(struct pool_waiter *waiter)
{
    return (struct client *)((char *)waiter - offsetof(struct client, waiter));
}

/* An accepted socket on its way to its worker. */
struct client_arrival {
    int fd;
    struct address peer;
    struct moat_guest *guest;
    struct listener_entry *listener; /* a reference */
    struct listener_count *listener_count;
};
/* Takes over an accepted socket on this worker, with guest and reference, and starts with
 * first_bytes. Counts it in counts->logging_in and listener_count->open (which the acceptor has
 * raised already). */
void client_accept(struct client_set *set, const struct client_arrival *arrival);

/* A client that speaks from within `carrier` (state FRONT), over memory: from its StartupMessage on
 * as any other, and proved by a password in clear. It never leaves the carrier's loop, and counts
 * in all but the number of connections: there the carrier does, from the first login on. NULL: no
 * memory. */
struct memory_peer;
struct client *client_open_within(struct client *carrier, struct memory_peer *peer);

/* client/proxied: where it comes from, as rules and limits know it. False: the socket is gone. */
bool client_address(const struct client *client, struct address *address);

void client_move_state(struct client *client, enum client_state next);
const char *client_state_name(enum client_state state); /* as SHOW CLIENTS: idle, waiting, active */

/* Ends it without a message. `reason` is for the log ("closing because: REASON (age=Ns)"). */
void client_close(struct client *client, const char *reason);
/* Says why (FATAL with the error's code and text), then ends it. The log gets the text as reason
 * and "pooler error". */
void client_refuse(struct client *client, const struct error *error);
void client_refuse_text(struct client *client, const char *sqlstate, const char *text);

/* client/login: the StartupMessage was read (its bytes are still in the input buffer; login copies
 * what it keeps). */
struct startup_packet;
void login_start(struct client *client, const struct startup_packet *packet);
void login_finish(
    struct client *client); /* frees client->login and what it waits for; idempotent */
/* client/welcome: authenticated; finds database and pool, moves to its home, waits for a server to
 * have logged in once, sends the login answer, and hands the client over to client/requests (or to
 * the console). */
void welcome_start(struct client *client);

/* client/requests: the logged-in client's messages. Installs the stream's events; state IDLE, or
 * ACTIVE where the client has its server already. */
void requests_start(struct client *client);
void requests_process(struct client *client); /* goes on with what is in the input buffer */
/* A query begins (if none has): its time and count. */
void requests_begin(struct client *client);
void requests_grant_task(struct loop_task *task); /* run of client->grant_task: asks for a server */
/* What holds a client back may be over: reads on. */
void requests_go_on(struct client *client);

/* client/attach */
extern const struct server_events attach_server_events;
/* What holds for this client of the global, the database's and the user's limits; looked up once a
 * snapshot. */
const struct effective *client_effective(struct client *client);
void attach_acquire(struct client *client); /* asks for a server: ACTIVE, WAITING, or refused */
void attach_granted(struct pool_waiter *waiter, struct pool_member *member);
void attach_refused(struct pool_waiter *waiter, const struct error *why);
/* A Query of ours, whose answers are swallowed. False: the client is closed. */
bool attach_ask(struct client *client, const char *query);
void attach_part(struct client *client); /* the server is clean and the mode says so */
/* In the middle of something, whose answers are for nobody: the server is cleared up without the
 * client. `reason` is a literal. */
void attach_abandon(struct client *client, const char *reason);
void attach_leave(struct client *client,
                  const char *reason); /* the client ends: server and queue are left */

/* A server of its own, which it keeps: ACTIVE. False: the server turned out to be dead. */
bool attach_dedicated(struct client *client, struct server *server);

/* client/replication: "none", "logical", "physical" (SHOW CLIENTS). */
const char *replication_name(const struct client *client);
bool replication_is_physical(const struct client *client);
/* The client ends: so does its server, or its asking for one. */
void replication_leave(struct client *client);
void replication_finish(struct client *client); /* frees client->replication; idempotent */

/* client/prepared: its server has said, and it is told, that the result of a statement is another
 * now; of which, is known where only one Bind is owed. */
void prepared_note_changed(struct client *client);

/* client/unnamed: forgets what was kept. */
void unnamed_finish(struct client *client);
/* Its unnamed statement is shared, and has this name on servers. */
bool unnamed_is_called(const struct client *client, const char *server_name);

/* client/statement_limits: the error that statement_limit_refuse provoked has come. */
void statement_limit_tell(struct client *client, uint8_t limit);

/* client/replay: a request that had no effect is sent again. A stale statement has made it fail;
 * the ReadyForQuery of that has come. */
void replay_begin(struct client *client);
void replay_ready(struct client *client);
/* Its server, which it is parted from, has ended and had read nothing of it. False: the client must
 * be told. */
bool replay_elsewhere(struct client *client);

/* client/statement_mode: no transaction may outlive its ReadyForQuery.
 * The client is told (an ERROR behind what its statements were answered), the server gets a
 * ROLLBACK, and when that is answered (statement_mode_rolled_back) the client has its ReadyForQuery
 * with 'I'. False: the client is closed. */
void statement_mode_refuse(struct client *client);
bool statement_mode_rolled_back(struct client *client);

/* client/virtual_failure: a transaction that idled or took too long is rolled back, its server goes
 * back to its pool, and its client, which is told when it next asks, has a failed transaction
 * without a server. */
enum virtual_failure_state {
    VIRTUAL_FAILURE_NONE,
    VIRTUAL_FAILURE_OWED,        /* the client does not know yet */
    VIRTUAL_FAILURE_ROLLED_BACK, /* the client has ended it; the Sync of that unit is due */
    VIRTUAL_FAILURE_TOLD,        /* its units meet a real failed block */
};
enum virtual_failure_reason { VIRTUAL_FAILURE_IDLENESS, VIRTUAL_FAILURE_AGE };
void virtual_failure_begin(struct client *client, enum virtual_failure_reason reason);
/* A message of a virtually failed client that has no server. False: it needs one. */
bool virtual_failure_take(struct client *client, const struct message *message);
/* The client got a server: a failed block is opened in front of its unit, which is held until that
 * stands. False: the client is closed. */
bool virtual_failure_open(struct client *client);
/* A ReadyForQuery came for what is in front of the unit. False: the client is closed. */
bool virtual_failure_opened(struct client *client);
/* A ReadyForQuery came, for the client's unit or for the ROLLBACK. True: nothing else is to be done
 * about it. */
bool virtual_failure_ready(struct client *client);
/* What stands in a ReadyForQuery that no server said. */
static inline uint8_t virtual_failure_status(const struct client *client)
{
    return client->virtual_failure >= VIRTUAL_FAILURE_OWED &&
                   client->virtual_failure != VIRTUAL_FAILURE_ROLLED_BACK
               ? 'E'
               : 'I';
}

/* client/unnamed, for a client without a server: the Parse, which is whole, is its unnamed
 * statement from now on (`parse` NULL: it has none). */
void unnamed_define(struct client *client, const struct message *parse);
/* The whole Parse message of its unnamed statement, if it was kept; else an empty span. */
struct span unnamed_find(const struct client *client);

/* client/expired: of the set's deadline lists (client_set_init). */
void expired_wait(struct deadline *deadline, struct deadline_list *list);
void expired_notify(struct deadline *deadline, struct deadline_list *list);
void expired_idle(struct deadline *deadline, struct deadline_list *list);
void expired_transaction(struct deadline *deadline, struct deadline_list *list);

/* client/cancel: a CancelRequest was read on `from`, which is closed when its work is done. */
struct cancel_request;
void cancel_start(struct client *from, const struct cancel_request *request);

/* client/session_follow: a row in answer to a message of ours; and the end of it. */
void session_take_row(struct client *client, struct span body);
void session_probe_ready(struct client *client);
void session_follow_finish(struct client *client);
/* Its transaction is over and nothing is owed: parts from its server, or is asked about, or stays.
 */
void session_rest(struct client *client);
/* client/session: the kinds of state (enum session_kind) in words, with commas; cut to fit. */
void session_describe(uint32_t mask, char *text, size_t size);
/* client/session_pins: it keeps its server from now on, for these kinds of state. False: its pool
 * has no place for another one (pin_limit). */
bool session_pin(struct client *client, uint32_t pins);
/* It keeps its server: what it was given anew meanwhile is brought there, and held messages go on.
 */
void attach_go_on_pinned(struct client *client);

/* client/listen: LISTEN in transaction and statement mode.
 *
 * A text of the client, which has a server, may change what it listens to. */
void listen_touch(struct client *client, uint32_t touches);
/* It has got a server: what it listens to goes there in front of its unit, so that UNLISTEN,
 * ROLLBACK and pg_listening_channels() mean what they say. False: the client is closed. */
bool listen_bring(struct client *client);
/* A ReadyForQuery came that it is to be told of when all is known of what it listens to. */
void listen_ready(struct client *client);
/* Its server says a notification, a row, and that it is ready in answer to us. */
void listen_hear(struct client *client, struct span body);
void listen_take_row(struct client *client, struct span body);
void listen_answered(struct client *client);
/* Something of it is under way: its messages wait. */
bool listen_is_busy(const struct client *client);
/* Its server is asked for what it listens to. */
bool listen_is_asking(const struct client *client);
/* What waits is told at the end of the turn, if it may be. */
void listen_tell_later(struct client *client);
/* The server has gone. */
void listen_part(struct client *client);
/* The client ends; then its memory does. Both idempotent. */
void listen_leave(struct client *client);
void listen_finish(struct client *client);
/* For client/listen: a ReadyForQuery was said. */
void attach_ready(struct client *client);

/* Sets the time limit that holds now: of a query, of a transaction, of idling in one. */
void attach_arm(struct client *client);
/* Of idling outside of one (client_idle_timeout). */
void attach_arm_idle(struct client *client);

/* For client/cancel. The waiting client leaves the queue and is told 57014. */
void requests_cancel_waiting(struct client *client);
/* Sends a cancel to the client's server, defers it while the head of the ledger is ours, or drops
 * it when nothing of the client's runs. `done` is called exactly once, at the end of it, perhaps at
 * once. */
void attach_cancel(struct client *client, void (*done)(void *argument), void *argument);
/* Frees a closed client whose grant has arrived; for attach. */
void client_free_if_closed(struct client *client);
