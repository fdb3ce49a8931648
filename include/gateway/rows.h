/* rows: what a server answers, as JSON (SERVERLESS §4): one pass from the messages into a spool,
 * and no tree for any of it.
 *
 * For one statement: rows_begin, a RowDescription or none, DataRows, rows_end. What is written is
 * an object: fields, rows, command, rowCount, rowAsArray. Bodies are whole messages; false:
 * malformed. What did not fit shows in the spool. One thread.
 */
#pragma once
#include "base/bytes.h"
#include "base/cursor.h"
#include "gateway/spool.h"

struct rows_mode {
    bool as_arrays; /* rows as arrays, else as objects by column name */
    bool raw_text;  /* every value a string, else by its type */
};

struct rows {
    struct rows_mode mode;
    struct bytes description; /* the body of the RowDescription: names and types of the columns */
    uint16_t column_count;
    uint64_t count;
};

#define ROWS_DESCRIPTION_MAX (1024 * 1024) /* 1,664 columns of names with 63 bytes fit */

void rows_init(struct rows *rows);
void rows_finish(struct rows *rows);

/* `description` empty: the statement gives no rows. */
bool rows_begin(struct rows *rows, struct rows_mode mode, struct span description,
                struct spool *spool);
bool rows_add(struct rows *rows, struct span data_row, struct spool *spool);
/* `tag` NULL: the query was empty. */
void rows_end(struct rows *rows, const char *tag, struct spool *spool);

/* An ErrorResponse's body as the object that Neon's drivers make an error of. */
void rows_error(struct span body, struct spool *spool);
/* The same with nothing but a message and, unless NULL, a code and a hint. */
void rows_own_error(const char *message, const char *code, const char *hint, struct spool *spool);
