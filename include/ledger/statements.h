/* statements: named prepared statements in transaction mode.
 *
 * Three things: shared statements (one worker's table, content-addressed by text, parameter types
 * and the settings that decide their meaning, counted by the clients' names that refer to them), a
 * client's names, and what a server holds (an LRU of digests; it survives a move to another
 * worker). The name on servers is "PGBOUNCER_" and the digest in hex: the same on every worker.
 *
 * Changes of a client's names and of a server's set are deltas: made when the message is sent,
 * settled when its answer comes or it is skipped (PITFALLS §3 "error in the middle of a batch").
 * Within a Sync unit the optimistic view is right, because what follows an error is skipped; the
 * caller holds messages that depend on unsettled deltas of an earlier unit (MECHANISMS §3.3). Names
 * are compared by their first 63 bytes.
 *
 * No I/O. One loop's thread.
 */
#pragma once
#include <stdbool.h>
#include <sys/queue.h>

#include "base/cursor.h"
#include "base/table.h"

#define STATEMENT_NAME_PREFIX   "PGBOUNCER_"
#define STATEMENT_NAME_SIZE     43 /* prefix, 32 hex digits, zero byte */
#define CLIENT_NAME_SIGNIFICANT 63

struct shared_statement {
    UT_hash_handle hh;
    struct digest128 digest;
    char name[STATEMENT_NAME_SIZE];
    int references;
    uint16_t type_count;
    uint32_t touches;    /* session state that it may touch when it runs */
    uint32_t generation; /* how often servers have said that its result is another now */
    size_t query_size;   /* without its zero byte */
    size_t parse_size;
    uint8_t parse[]; /* the whole Parse message under `name`, ready to send */
};
struct statement_table {
    struct shared_statement *by_digest;
    size_t bytes;
};
/* The shared statement of this text, types and settings, with a reference. NULL: no memory. */
struct shared_statement *statement_acquire(struct statement_table *table, const char *query,
                                           struct span types, uint16_t type_count,
                                           uint64_t settings);
/* Its literals may say "now", "today", ...: each Parse of it has a value of its own, so that it
 * must not be shared. In doubt it is so. */
bool statement_keeps_time(const char *query);
/* Without a reference; NULL: nobody has it. */
struct shared_statement *statement_find(const struct statement_table *table,
                                        struct digest128 digest);
void statement_release(struct statement_table *table, struct shared_statement *statement);
void statement_table_finish(struct statement_table *table);

/* A name of one client. */
struct client_statement {
    UT_hash_handle hh;
    struct shared_statement *statement; /* a reference */
    char *name;                         /* significant part; owned */
    struct statement_delta *defined_by; /* not confirmed yet: whose doing it is */
    uint32_t described; /* the statement's generation, plus one, when its client asked for its
                           result's description; 0: it never did */
};
struct client_statements {
    struct client_statement *by_name;
    int count;
    int unsettled; /* deltas whose answers have not come */
};

/* What a server holds. */
struct server_statement {
    UT_hash_handle hh;
    struct digest128 digest;
    char name[STATEMENT_NAME_SIZE];
    TAILQ_ENTRY(server_statement) lru_link; /* most recently used first */
    uint32_t generation;                    /* of the statement, when it was parsed here */
    bool is_confirmed;
    bool is_stale; /* its plan no longer fits, or it is not there: closed and parsed before use */
};
TAILQ_HEAD(server_statement_lru, server_statement);
struct server_statements {
    struct server_statement *by_digest;
    struct server_statement_lru lru;
    int count;
};
void server_statements_init(struct server_statements *statements);
void server_statements_finish(struct server_statements *statements);
/* DEALLOCATE ALL, DISCARD ALL were executed: what was parsed before is gone, what is on its way is
 * not. */
void server_statements_forget(struct server_statements *statements);
/* PostgreSQL said that a cached plan no longer fits, or that a statement of ours is not there. It
 * does not say which: all are parsed again before their next use. */
void server_statements_mark_stale(struct server_statements *statements);
/* It was this one: its result is another now (a new generation), unless another server's copy,
 * which was parsed before, has told so already. */
void server_statements_note_change(struct server_statements *statements,
                                   struct shared_statement *statement);
void client_statements_forget(struct client_statements *statements, struct statement_table *table);
/* Has it, confirmed or being parsed; makes it the most recently used. */
struct server_statement *server_statements_find(struct server_statements *statements,
                                                const struct shared_statement *statement);
struct server_statement *server_statements_add(struct server_statements *statements,
                                               const struct shared_statement *statement);
/* The least recently used beyond `limit` entries that is not `keep`, taken out (the caller owns it:
 * closes it on the server, then frees it or puts it back); NULL: none. */
/* Takes this statement out (it is about to be closed and parsed again); the caller owns it. NULL:
 * not held. */
struct server_statement *server_statements_take(struct server_statements *statements,
                                                const struct shared_statement *statement);
struct server_statement *server_statements_evict(struct server_statements *statements, int limit,
                                                 const struct server_statement *keep);

const struct client_statement *client_statements_find(const struct client_statements *statements,
                                                      const char *name);
/* Its client asks for the description of what the statement returns. */
void client_statements_note_described(const struct client_statements *statements, const char *name);
/* What its client knows of the result is of an earlier generation. */
static inline bool client_statement_is_outdated(const struct client_statement *named)
{
    return named->described != 0 && named->described <= named->statement->generation;
}
/* Forgets all names: the client's end. */
void client_statements_clear(struct client_statements *statements, struct statement_table *table);

/* A change that waits for its answer; the tag of a ledger entry. Owned by the ledger entry; freed
 * by statement_delta_settle. */
enum statement_delta_kind {
    DELTA_DEFINE, /* client: name -> statement, and/or server: holds it */
    DELTA_REMOVE, /* client: the name is closed (its old statement is kept for a return) */
    DELTA_EVICT,  /* server: the statement is closed */
    DELTA_CALLED, /* nothing changes: by which name the client calls the statement that it may not
                     have */
};
struct statement_delta {
    enum statement_delta_kind kind;
    char *name;                         /* client's name, or NULL: no client is concerned */
    struct shared_statement *statement; /* a reference; DEFINE: new, REMOVE: old */
    struct digest128 digest;            /* server's set is concerned: which */
    bool concerns_server;
    bool is_by_tag;         /* done if `was_told`, whatever became of the message */
    bool was_told;          /* the CommandComplete that says so came */
    bool counts_for_client; /* in the client's `unsettled`, although no name of its changes */
    struct server_statement *evicted; /* EVICT: to put back */
    /* A DEFINE and the REMOVE that took its name before its answer: if the one fails, there is
     * nothing that the other could bring back. NULL: none, or settled. */
    struct statement_delta *removed_by, *removes;
};
/* Makes the change at once in the client's names (and/or the server's set) and remembers how to
 * undo it. NULL: no memory (nothing changed). */
struct statement_delta *client_statements_define(struct client_statements *statements,
                                                 struct statement_table *table, const char *name,
                                                 struct shared_statement *statement);
struct statement_delta *client_statements_remove(struct client_statements *statements,
                                                 struct statement_table *table, const char *name);
/* SQL that takes a name away: what its CommandComplete says counts. */
struct statement_delta *client_statements_deallocate(struct client_statements *statements,
                                                     struct statement_table *table,
                                                     const char *name);
/* SQL that takes all names away (client_statements_forget does, at its CommandComplete): what later
 * units say of names waits for it. */
struct statement_delta *client_statements_deallocate_all(struct client_statements *statements);
/* "DEALLOCATE" came in answer to the message of this delta. */
void statement_delta_told(struct statement_delta *delta);
/* A delta that concerns only the server: it will hold the statement / no longer hold `evicted`. */
struct statement_delta *server_statements_define(struct server_statements *statements,
                                                 const struct shared_statement *statement);
/* (Takes `evicted` over, also when there is no memory.) */
struct statement_delta *server_statements_closing(struct server_statement *evicted);
/* For a Parse that is sent to provoke an error: the client's name, whole. NULL: no memory. */
struct statement_delta *client_statements_called(const char *name);
/* By which name the client knows the statement whose name on servers is this; NULL: by none. Walks
 * all its names: for errors only. */
const char *client_statements_name_of(const struct client_statements *statements,
                                      const char *server_name);
/* The answer came (`done`), or the message failed or was skipped (undo). `client` may be NULL (it
 * left). Frees the delta. */
void statement_delta_settle(struct statement_delta *delta, bool done,
                            struct client_statements *client, struct statement_table *table,
                            struct server_statements *server);
/* The client goes on without the server before the answer comes: for it the message has failed.
 * What the server's set is concerned in stays; else the delta is freed, and NULL returned. */
struct statement_delta *statement_delta_part(struct statement_delta *delta,
                                             struct client_statements *client,
                                             struct statement_table *table);
/* The client leaves before the answer comes. What the server's set is concerned in stays, without
 * any part in the client or in the table; else the delta is freed, and NULL returned. */
struct statement_delta *statement_delta_disown(struct statement_delta *delta,
                                               struct statement_table *table);
