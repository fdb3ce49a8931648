/* query: what stands in the messages that clients send. PostgreSQL manual, "Message Formats".
 *
 * Parsers get a whole body (struct message, MESSAGE_WHOLE) unless they say otherwise; false:
 * malformed. Results point into the body. No allocation. Any thread.
 */
#pragma once
#include "base/cursor.h"

struct parse_message {
    const char *name; /* "" is the unnamed statement */
    const char *query;
    struct span types; /* the parameter type OIDs as they stand on the wire: 4 bytes each */
    uint16_t type_count;
};
bool parse_message_read(struct span body, struct parse_message *parse);

/* The names of a Bind; `rest` is what follows them (formats, values, result formats), not looked
 * into. Works on the part of the body that is there: false also when the names are not complete yet
 * (`*need_more` then). */
struct bind_message {
    const char *portal, *statement;
    struct span rest;
};
bool bind_message_read(struct span body_part, struct bind_message *bind, bool *need_more);

/* What follows the names in a whole Bind. */
struct bind_values {
    uint16_t parameter_count, format_count;
    struct span formats; /* of the results: 2 bytes each */
};
bool bind_values_read(struct span rest, struct bind_values *values);

/* Describe and Close: what is 'S' (statement) or 'P' (portal). */
struct target_message {
    uint8_t kind;
    const char *name;
};
bool target_message_read(struct span body, struct target_message *target);

/* Execute. */
bool execute_message_read(struct span body, const char **portal, uint32_t *max_rows);

/* The first SQL word of a text, upper-cased into `word` (cut): leading white space, comments
 * (nested) and empty statements skipped. "" when there is none or the text starts with something
 * else. Works on the first `size` bytes. */
void query_first_word(const char *text, size_t size, char *word, size_t word_size);

/* What a text does with a name of a prepared statement, as far as its first statement shows. */
enum query_name_use {
    QUERY_NAMES_NOTHING,
    QUERY_EXECUTES,    /* EXECUTE, also in EXPLAIN and CREATE TABLE AS */
    QUERY_PREPARES,    /* PREPARE */
    QUERY_DEALLOCATES, /* DEALLOCATE */
    QUERY_FORGETS_ALL, /* DEALLOCATE ALL, DISCARD ALL; no name */
};
#define QUERY_NAME_SIZE 64
struct query_name {
    enum query_name_use use;
    char name[QUERY_NAME_SIZE]; /* as PostgreSQL reads it: lower-cased unless quoted, cut */
    size_t end; /* what stands behind it in the text is all that is left to look at; 0: the whole */
};
/* Works on the first `size` bytes. */
void query_name_read(const char *text, size_t size, struct query_name *read);

/* What a whole text does to a transaction that has failed. Two words that mean the same count as
 * one: ABORT is ROLLBACK, END is COMMIT. */
enum query_ending {
    QUERY_OTHER,    /* anything else; also more than one statement, AND CHAIN, TO SAVEPOINT */
    QUERY_EMPTY,    /* nothing but white space, comments and semicolons */
    QUERY_ROLLBACK, /* one statement, which ends the transaction */
    QUERY_COMMIT,
};
enum query_ending query_ending(const char *text, size_t size);
