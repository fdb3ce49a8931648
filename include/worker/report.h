/* report: rows of all workers, merged; the only way by which admin (and http) see clients, servers
 * and pools.
 *
 * A report asks every worker by message; each fills in rows from its own client_set, server_set and
 * pool shards on its own thread; the last answer completes the merge and `done` is called on the
 * loop that asked. Nobody walks another worker's lists.
 */
#pragma once
#include "base/tally.h"
#include "worker/workers.h"

enum report_kind {
    REPORT_POOLS,
    REPORT_CLIENTS,
    REPORT_SERVERS,
    REPORT_SOCKETS, /* listening sockets, clients (also those in login) and servers */
    REPORT_STATS,
    REPORT_DATABASES,
    REPORT_LISTS,
    REPORT_WORKERS,
    REPORT_ERRORS,
    REPORT_CLIENT, /* the one with `client_id`: `subject` */
    REPORT_LISTENERS,
    REPORT_HOLDERS, /* who has the servers of `pool`, and how many of its waiters are before
                       `subject` */
};

#define REPORT_SETTINGS 4

/* One client or server (SHOW CLIENTS, SHOW SERVERS). Texts are copies. */
struct report_connection {
    bool is_server;
    char user[128], database[64], state[24], replication[12];
    char address[64], local_address[64];
    int port, local_port;
    int64_t connect_time, request_time; /* realtime seconds; 0: none */
    int64_t wait;                       /* microseconds */
    bool close_needed;
    uint64_t pointer, link; /* opaque; 0: none */
    int remote_pid;
    char tls[80];
    char application_name[64];
    int prepared_statements;
    uint64_t id;
    /* Of a client's session (SHOW SESSIONS). */
    const char *session_state; /* literal: session_state, or "session" in that mode */
    int followed_settings, followed_statements; /* what other servers can be brought to */
    char pins[256];                             /* why it keeps its server; "": it does not */
    int64_t pinned_since;                       /* realtime seconds; 0: it is not */
    uint64_t server_id;                         /* 0: none */
    int server_pid;
    /* Of the socket (SHOW SOCKETS, FDS). */
    bool is_listener;
    int fd, link_fd;
    uint32_t input_end, input_start, message_left, output_start;
    size_t output_bytes;
    char settings[REPORT_SETTINGS][24]; /* client_encoding, standard_conforming_strings, DateStyle,
                                           TimeZone of a client */
};
/* One worker (SHOW WORKERS). */
struct report_worker {
    int clients, servers, buffers_lent, buffers_free;
    uint64_t turns, idle_wakeups, servers_opened, servers_moved_in;
    int64_t lag; /* microseconds that it took to come to the question */
    size_t statement_bytes;
};
/* A client, as far as SHOW WHY is about it. */
struct report_subject {
    bool is_found;
    uint64_t id;
    char state[24], user[128], database[64];
    int64_t wait, query; /* microseconds that it waits, and that its query has taken; 0: none */
    int64_t wait_start;  /* on the monotonic clock */
    uint64_t server_id;
    struct pool *pool; /* a reference; NULL: none */
};
/* A server of the pool that a client waits for, and who has it. */
struct report_holder {
    uint64_t server_id, client_id; /* client 0: nobody */
    char state[24], user[128], application_name[64];
    int remote_pid;
    bool is_in_transaction;
    int64_t query, xact; /* microseconds that they have taken */
};
struct report_pool {
    char database[64], user[128];
    int clients_active, clients_waiting, cancels_active, cancels_waiting;
    int servers_active, servers_active_cancel, servers_being_canceled, servers_idle, servers_used,
        servers_tested, servers_login;
    int64_t max_wait; /* microseconds */
    enum pool_mode mode;
    const char *load_balance_hosts; /* literal or NULL */
    int size_limit;                 /* pool_size; 0: none */
    /* The names stand in the configuration: nobody else chose them (THREATS §4.6). */
    bool database_is_configured, user_is_configured;
    char failure[160]; /* what the last login said, while no server is there; "": nothing failed */
    struct pool_stats stats;
};
/* A listener of the configuration (SHOW LISTENERS). */
struct report_listener {
    char name[64];
    char addresses[256]; /* those that are open, with commas between them */
    int port;
    int protocols; /* SPEAKS_... */
    int pool_mode; /* enum pool_mode or CONFIG_UNSET */
    enum tls_mode tls;
    enum auth_type auth;
    char databases[256]; /* "": all */
    bool has_console, is_proxied;
    int open; /* connections now */
    uint64_t accepted, strangers;
};
struct report {
    enum report_kind kind;
    struct workers *workers;
    struct loop *loop;                                   /* where done is called */
    void (*done)(struct report *report, void *argument); /* then report_destroy */
    void *argument;
    bool failed;                           /* no memory */
    struct report_connection *connections; /* CLIENTS, SERVERS: by worker, then as they stand */
    struct report_pool *pools;             /* POOLS, STATS: ordered by database, user */
    size_t count;
    int free_clients, used_clients, login_clients, free_servers, used_servers; /* LISTS */
    int server_statements, buffers_lent, buffers_free;
    struct report_worker *workers_rows;          /* WORKERS: one for each */
    struct tally *client_errors, *server_errors; /* ERRORS */
    struct report_listener *listeners;           /* LISTENERS: count of them */
    struct report_subject subject;               /* CLIENT, HOLDERS */
    struct report_holder *holders;               /* HOLDERS: count of them */
    int waiting_before;
};
/* What CLIENT and HOLDERS are about. */
struct report_question {
    uint64_t client_id;
    const struct report_subject *subject;
};
struct report *report_ask(struct workers *workers, struct loop *loop, enum report_kind kind,
                          const struct report_question *question,
                          void (*done)(struct report *, void *), void *argument);
struct report *report_start(struct workers *workers, struct loop *loop, enum report_kind kind,
                            void (*done)(struct report *, void *), void *argument);
void report_destroy(struct report *report);

/* Totals by database, and averages (worker/stats). */
struct report_stats_row {
    char database[64];
    struct pool_stats total;
    struct pool_stats average; /* counts per second; times per query, transaction, assignment */
};
