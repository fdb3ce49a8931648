/* ledger: what a server still owes us, in order.
 *
 * Owns the ring of expected answers of one server: an entry for each client or pooler message that
 * the server will answer, and what is to happen with that answer. Keeps true: entries leave in the
 * order in which they came; an entry leaves only by an answer, by the end of its Sync unit after an
 * error, or with the server. ledger_is_free()  <=>  the last ReadyForQuery said 'I', nothing is
 * owed, no COPY runs, no error waits for its Sync: the server may go back to its pool (PITFALLS
 * §1).
 *
 * Follows PostgreSQL's manual, chapter "Message Flow", and tcop/postgres.c's rule that after an
 * error in an extended-protocol message everything up to the next Sync is skipped, Query and
 * FunctionCall too.
 *
 * Of the unnamed statement it keeps what was confirmed: whose the server holds, and what its owner
 * (the client) has, for they differ once a client changes servers. Only answers count: a Parse that
 * was skipped leaves both as they were.
 *
 * No I/O, no clock, no allocation. Called only on the loop that the server is on.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_ENTRIES 256 /* a power of two; a client that pipelines deeper waits for answers */

enum ledger_kind {
    LEDGER_QUERY,
    LEDGER_PARSE,
    LEDGER_BIND,
    LEDGER_DESCRIBE,
    LEDGER_EXECUTE,
    LEDGER_CLOSE,
    LEDGER_SYNC,
    LEDGER_FUNCTION_CALL,
    LEDGER_COPY_END, /* a CopyDone or CopyFail: owes nothing, marks a place (MECHANISMS §5.2) */
};

enum ledger_action {
    LEDGER_FORWARD,    /* the answer is the client's */
    LEDGER_SWALLOW,    /* the pooler asked */
    LEDGER_LEFT,       /* the client asked and has left: for nobody, but a cancel may strike it */
    LEDGER_SYNTHESIZE, /* nothing was sent: the pooler makes the answer up when its turn comes */
};

/* What a settled entry came to. */
enum ledger_outcome {
    LEDGER_PENDING,
    LEDGER_DONE,    /* answered; for SYNTHESIZE: its turn has come, say it now */
    LEDGER_FAILED,  /* its answer was an error */
    LEDGER_SKIPPED, /* an earlier error of its Sync unit */
};

/* `answer` of a swallowed Parse or Query whose error is nobody's: what stands behind it says what
 * is wrong. */
#define LEDGER_MAY_FAIL 1

struct ledger_entry {
    uint8_t kind, action, outcome;
    uint8_t answer; /* SYNTHESIZE: the type byte to say ('1', '3'). FORWARD: the caller's number of
                       an error of its own, which stands for the one that was provoked; or 0.
                         SWALLOW: LEDGER_MAY_FAIL, or 0 */
    uint32_t unnamed; /* what its success makes of the unnamed statement; 0: it is not concerned */
    void *tag;        /* the caller's; NULL: nobody needs to hear of it */
};

/* An unnamed statement, as a number: each unnamed Parse of a client has its own, from
 * LEDGER_UNNAMED_FIRST on. Zero is none, too, where the whole says what there is. */
enum {
    LEDGER_UNNAMED_NONE = 1,
    LEDGER_UNNAMED_UNKNOWN, /* none, or some other client's */
    LEDGER_UNNAMED_FIRST,
};
/* In the number of one that the server holds under a name of ours: what it has as its unnamed
 * statement stays as it is. */
#define LEDGER_UNNAMED_SHARED 0x80000000u

struct ledger {
    struct ledger_entry entries[LEDGER_ENTRIES];
    uint32_t settled, head,
        tail; /* free-running: [settled, head) has outcomes to be taken, [head, tail) is owed */
    uint32_t syncs;             /* entries owed that end in a ReadyForQuery */
    uint32_t doubtful_syncs;    /* dropped at a CopyInResponse; answered after all if the COPY fails
                                   before the server has read them */
    uint32_t unnamed;           /* what the server holds; the numbers are those of one client */
    uint32_t unnamed_of_client; /* what the client would find on a connection of its own */
    uint8_t status;             /* of the last ReadyForQuery: 'I', 'T', 'E' */
    bool is_skipping;           /* an error came and its Sync was not sent yet */
    bool is_unsynced;           /* extended messages were sent behind the last Sync or Query */
    bool executes_unsynced;     /* an Execute is among them: a Sync would commit what it did */
    bool copy_in;               /* CopyInResponse came, its end (CommandComplete or error) not */
    bool copy_out;
    bool copy_both;
    bool copy_ended; /* during copy_in: the client's CopyDone or CopyFail was sent already */
    bool error_in_swallowed; /* an entry with SWALLOW was answered by an error; cleared by the
                                caller */
    bool failed_quietly;     /* a Query with LEDGER_MAY_FAIL was; cleared by the caller */
};

void ledger_init(struct ledger *ledger); /* 'I', nothing owed: a server that has just logged in */

/* Room for `count` more entries. */
static inline bool ledger_has_room(const struct ledger *ledger, uint32_t count)
{
    return ledger->tail - ledger->settled + count <= LEDGER_ENTRIES;
}

/* A message was sent (or, SYNTHESIZE, withheld). The caller has seen to room. Does nothing but
 * settle it as SKIPPED (to be taken) when the server is skipping to a Sync. During COPY IN a Sync
 * leaves no entry: the server ignores it. */
void ledger_expect(struct ledger *ledger, enum ledger_kind kind, enum ledger_action action,
                   uint8_t answer, void *tag);

/* The message that was expected last is about the unnamed statement: a Parse (its number), or a
 * Close (NONE). What the client asked itself counts for the client, too. To be called at once: a
 * made-up answer may have had its turn already. */
void ledger_note_unnamed(struct ledger *ledger, uint32_t unnamed);
/* Something owed may still change what is known of the unnamed statement. */
bool ledger_unnamed_is_open(const struct ledger *ledger);

enum ledger_verdict {
    LEDGER_TO_CLIENT,  /* forward this message */
    LEDGER_TO_NOBODY,  /* swallow it */
    LEDGER_READY,      /* a ReadyForQuery for the client; ledger->status is set */
    LEDGER_READY_OURS, /* a ReadyForQuery of a message of the pooler */
    LEDGER_ASYNC,      /* ParameterStatus, Notice, Notification: the caller knows what to do */
    LEDGER_UNASKED,    /* nothing was asked that this answers: the server must be closed */
};

/* A whole message (or its head: only 'Z' needs its body's byte, `status`) of type `type` came.
 * Settles entries. */
enum ledger_verdict ledger_match(struct ledger *ledger, uint8_t type, uint8_t status);

/* The error that the oldest thing owed was sent for (its `answer`), 0: none, or for nobody. */
uint8_t ledger_provoked(const struct ledger *ledger);

/* Entries with a tag or to synthesize that are settled, oldest first; false: no more. Take them
 * after each match and each expect, before what follows is forwarded. (Entries without a tag that
 * were forwarded or swallowed are passed over.) */
static inline bool ledger_has_settled(const struct ledger *ledger)
{
    return ledger->settled != ledger->head;
}
bool ledger_take_settled(struct ledger *ledger, struct ledger_entry *entry);

static inline bool ledger_is_empty(const struct ledger *ledger)
{
    return ledger->settled == ledger->tail;
}
/* Something was sent that is not answered yet. */
static inline bool ledger_is_owing(const struct ledger *ledger)
{
    return ledger->head != ledger->tail;
}
bool ledger_is_free(const struct ledger *ledger);
/* The oldest thing owed is the client's Bind or Describe in a Sync unit that began outside of a
 * transaction, and nothing was sent behind that unit: if it fails, the unit has had no effect, and
 * may be sent again. */
bool ledger_may_repeat(const struct ledger *ledger);
/* The unit in which an error came just now is asked again: its ReadyForQuery is the pooler's.
 * False: its Sync is still to be sent. */
bool ledger_swallow_sync(struct ledger *ledger);
/* The client has left: what is owed to it is for nobody. `disown` (with `argument`) is given each
 * tag that waits for its answer, and returns what still has to hear of it, or NULL. */
void ledger_disown(struct ledger *ledger, void *(*disown)(void *tag, void *argument),
                   void *argument);
/* The oldest thing owed is the client's Bind, and no other one is owed. */
bool ledger_owes_one_bind(const struct ledger *ledger);
/* The tag of the oldest thing owed; NULL: none. */
void *ledger_head_tag(const struct ledger *ledger);
/* The oldest thing owed is the client's, or was. */
bool ledger_head_is_clients(const struct ledger *ledger);
/* What runs is the client's, or was: a cancel may be sent (MECHANISMS §5.4). A Parse or Close of
 * the pooler's in the client's own Sync unit is no reason to wait: PostgreSQL keeps its answer back
 * until the client's statement has something to say, and an error of that Parse is the client's. */
bool ledger_may_cancel(const struct ledger *ledger);
/* All that is still owed is settled as SKIPPED (the server is gone). Take the settled ones next. */
void ledger_abandon(struct ledger *ledger);
