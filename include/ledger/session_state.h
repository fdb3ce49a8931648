/* session_state: what of a session's state outlives a transaction, and who has it.
 *
 * The text scan says what a text *may* touch; it is never wrong in the other direction but for what
 * no text shows (a function that runs SET inside: MECHANISMS §4.6). What is really there, the
 * server is asked.
 *
 * Pure: no I/O, no allocation. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kinds of state, as bits of a mask: what a client's transaction may have touched
 * (client->touched), what may be left on a server (server->dirt). */
enum session_kind {
    SESSION_SETTINGS = 1 << 0, /* SET, RESET, set_config, DISCARD; not what servers report */
    SESSION_ROLE = 1 << 1,     /* SET ROLE, SET SESSION AUTHORIZATION */
    SESSION_PREPARE = 1 << 2,  /* SQL's PREPARE and DEALLOCATE */
    SESSION_LISTEN = 1 << 3,   /* LISTEN, UNLISTEN */
    SESSION_TEMP = 1 << 4,     /* temporary objects */
    SESSION_CURSOR = 1 << 5,   /* WITH HOLD */
    SESSION_ADVISORY = 1 << 6, /* advisory locks of the session */
    SESSION_LOAD = 1 << 7,     /* LOAD: nothing undoes it */
    SESSION_SEQUENCE = 1 << 8, /* currval, lastval, setseed */
    SESSION_UNKNOWN = 1 << 9,  /* DO, CALL, set_config of a name that is no literal */
    SESSION_ENDING = 1 << 10,  /* DROP, CLOSE: may end what was there; touches nothing new */
    SESSION_APPLIED =
        1 << 11,              /* settings of ours that must be undone when the server is released */
    SESSION_RESETS = 1 << 12, /* RESET, TO DEFAULT, DISCARD ALL: back to what it was at login */
    SESSION_FORGETS = 1 << 13,  /* DISCARD ALL, DISCARD SEQUENCES: currval and the like are gone */
    SESSION_REPORTED = 1 << 14, /* RESET of a setting that servers report */
    SESSION_EXECUTES = 1 << 15, /* EXECUTE: may touch what the texts of its PREPAREs may */
    SESSION_LISTENS = 1 << 16,  /* LISTEN itself, and nothing that only may do it */
};
/* They say what a text may do, not what it leaves: never in server->dirt. */
#define SESSION_HINTS                                                                              \
    ((uint32_t)(SESSION_ENDING | SESSION_RESETS | SESSION_FORGETS | SESSION_REPORTED |             \
                SESSION_EXECUTES | SESSION_LISTENS))
/* What no other server can be brought to. (Statements of SQL's PREPARE can, but for a few:
 * ledger/session_prepared.) */
#define SESSION_PINS                                                                               \
    ((uint32_t)(SESSION_TEMP | SESSION_CURSOR | SESSION_ADVISORY | SESSION_LOAD | SESSION_SEQUENCE))
/* A text that was not read to its end may have touched all that a server can be asked for. */
#define SESSION_DOUBT                                                                              \
    ((uint32_t)(SESSION_SETTINGS | SESSION_ROLE | SESSION_PREPARE | SESSION_LISTEN |               \
                SESSION_TEMP | SESSION_CURSOR | SESSION_ADVISORY | SESSION_UNKNOWN |               \
                SESSION_ENDING))

/* What the text may touch; 0 for nearly all. Of the settings that servers report and that follow a
 * client anyway (TimeZone, client_encoding, ...) it says nothing, nor of SET LOCAL. A text of more
 * than SESSION_SCAN_MAX bytes that looks suspicious is in doubt as a whole. */
#define SESSION_SCAN_MAX 65536
uint32_t session_scan(const char *text, size_t size);

/* Custom settings ("app.tenant") stand in no catalogue: their names come from the text. Those that
 * it sets for the session, lower-cased, each once a mention; what does not fit sets `are_more`. */
#define SESSION_NAME_SIZE 64
#define SESSION_NAMES_MAX 16
struct session_names {
    char names[SESSION_NAMES_MAX][SESSION_NAME_SIZE];
    int count;
    bool are_more;
};
uint32_t session_scan_names(const char *text, size_t size, struct session_names *names);

/* What a text begins with setting or resetting. */
#define SESSION_TARGET_SIZE 128
struct session_target {
    enum {
        SESSION_TARGET_NOTHING,
        SESSION_TARGET_NAME,       /* SET name, RESET name */
        SESSION_TARGET_SETTINGS,   /* RESET ALL */
        SESSION_TARGET_EVERYTHING, /* DISCARD ALL */
    } kind;
    bool is_reset;
    char name[SESSION_TARGET_SIZE]; /* lower-cased; session_authorization is one */
};
void session_scan_target(const char *text, size_t size, struct session_target *target);

/* Where in a text PREPARE of this name stands: the whole text where it is its only statement.
 * False: not exactly once, or the text is in doubt. */
struct session_piece {
    size_t at, size;
};
bool session_find_prepare(const char *text, size_t size, const char *name,
                          struct session_piece *piece);
