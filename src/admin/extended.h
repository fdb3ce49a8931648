/* extended: the console over the extended query protocol.
 *
 * A session's prepared statements and portals, few and short. A statement is a command without
 * parameters; it is parsed when it is prepared and run when its portal is executed. Columns are
 * text, or binary where the Bind asks for it (drivers such as pgx and Npgsql do).
 */
#pragma once
#include "base/cursor.h"

struct bytes;
struct console_session;

#define EXTENDED_STATEMENTS_MAX 64

/* A prepared statement or a portal. */
struct extended_entry {
    struct extended_entry *next;
    char *name, *query;
    /* Of a portal: result formats as the Bind gave them (none: text, one: for all), and how many
     * rows were taken so far by Executes with a limit. */
    int16_t *formats;
    size_t format_count;
    uint32_t taken;
};

struct extended {
    struct extended_entry *statements, *portals;
    size_t statement_count, portal_count;
    struct extended_entry *portal; /* that is being executed */
    uint32_t max_rows;             /* of the Execute; 0: all */
    bool is_executing;             /* the answer under way is an Execute's */
    bool skips_to_sync;            /* after an error */
};

/* Is it of the extended protocol? */
bool extended_has(uint8_t type);
/* Takes the body of a message of it. */
void extended_take(struct console_session *session, uint8_t type, struct span body);
/* The rows of `table` (RowDescription, DataRows, notices) as the portal under way wants them.
 * False: it is suspended, and no tag follows. */
bool extended_rows(struct console_session *session, struct span table, struct bytes *out);
void extended_finish(struct extended *extended);
