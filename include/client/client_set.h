/* client_set: the clients of one worker, and what they share. That worker's thread. */
#pragma once
#include "auth/user_cache.h"
#include "client/breaker.h"
#include "client/client.h"
#include "client/first_bytes.h"
#include "pool/registry.h"
#include "server/server_set.h"

TAILQ_HEAD(client_list, client);

/* What the console (room admin) does with a client of database pgbouncer; filled in by admin,
 * handed over by main. */
struct console_ops {
    /* A client has logged in to the console and got its login answer: client->console may be set
     * here. False: no memory. */
    bool (*opened)(struct client *client);
    /* Input came (Query, Terminate, ...): takes whole messages from client->stream. */
    void (*input)(struct client *client);
    /* The client is closed: frees client->console. */
    void (*closed)(struct client *client);
};

/* The same for all workers. */
struct client_shared {
    struct client_counts *counts;
    struct moat *moat;
    _Atomic int client_ceiling; /* what descriptors allow of max_client_conn; 0: all of it */
    struct registry *registry;
    const struct parameter_names *parameter_names;
    const struct console_ops *console;
    void *console_argument;        /* struct workers *, for admin */
    const struct front_ops *front; /* NULL: HTTP is not built */
    uint8_t mock_key[32];          /* THREATS §2.7: salts of unknown users */
    struct scram_cache
        *scram_cache; /* client/login: verifiers made from plain passwords, one PBKDF2 per user */
    struct breaker *breaker;         /* client/login: failures, to be answered late */
    struct user_cache *user_cache;   /* client/user_lookup: what auth_query has said */
    struct passthrough *passthrough; /* passwords that servers are asked about */
    _Atomic uint64_t ids;            /* of clients and servers; next one */
    _Atomic int shutdown;            /* enum shutdown_mode */
    _Atomic bool is_suspended;       /* SUSPEND: who logs in from now on is held, too */
    uid_t own_uid;
};
enum shutdown_mode { SHUTDOWN_NO, SHUTDOWN_WAIT_FOR_CLIENTS, SHUTDOWN_WAIT_FOR_SERVERS };

struct passthrough;

/* client/startup_trial: startup packets that PostgreSQL has accepted, each in its pool. */
struct startup_finding;
struct startup_findings {
    struct startup_finding *by_key; /* table */
    int count;
};

struct client_set {
    struct loop *loop;
    int worker;
    int worker_count;
    struct client_set **siblings; /* of all workers, this one too; fixed before threads start. Only
                                     to address messages */
    struct server_set *servers;   /* of the same worker */
    const struct config *config;  /* this worker's snapshot; swapped by worker/ */
    struct client_shared *shared;
    struct offload *offload;
    struct statement_table statements;
    struct client_list clients; /* logged in, or on the way to */
    struct client *by_key;      /* table by cancel key */
    struct startup_findings findings;
    int count;
    struct tally errors;    /* that clients were told by us */
    bool is_finished;       /* who arrives now is closed at once */
    struct mail place_mail; /* somebody here lost its place: client_set_look_for_dropped */
    _Atomic bool place_mail_is_posted;
    struct deadline_list first_byte_deadlines, handshake_deadlines, passthrough_deadlines;
    struct deadline_list login_deadlines, refusal_deadlines, wait_deadlines, notify_deadlines,
        idle_deadlines, transaction_deadlines;
};

bool client_set_init(struct client_set *set);
/* Closes all clients without a message (fast exit), and whoever arrives later. Their memory goes
 * in a turn of the loop that must follow: a server may be on its way to one of them. */
void client_set_finish(struct client_set *set);
/* The clients of database `name` are told and closed ("database removed"); NULL: all waiting ones
 * ("server shutting down"). */
void client_set_close_database(struct client_set *set, const char *name, const struct error *why);
/* The clients of all databases but the console, in the same way. */
void client_set_close_pools(struct client_set *set, const struct error *why);
/* KILL USER: the sessions of this name are told and closed, but for client `except`. How many. */
int client_set_end_user(struct client_set *set, const char *name, uint64_t except,
                        const struct error *why);
/* KILL_CLIENT: the client with this id, if it is here. */
bool client_set_end_client(struct client_set *set, uint64_t id, const struct error *why);
/* Clients of this set that lost their place to newcomers (client/moat) are closed. Any thread. */
void client_set_look_for_dropped(struct client_set *set);
/* SUSPEND: nothing is read from logged-in clients (but for the console) until they are let go. */
void client_set_hold(struct client_set *set);
void client_set_let_go(struct client_set *set);
/* How many have unsent output; `close`: those are ended ("suspend_timeout"). */
int client_set_unsent(struct client_set *set, bool close);
/* SHUTDOWN WAIT_FOR_SERVERS: clients that wait, or hold no server, are closed as they ask. */
void client_set_drain(struct client_set *set);
