/* tally: how often each kind of error has come, and when last.
 *
 * A kind is an SQLSTATE with a cause: the text up to the first thing that varies (a name, a number
 * behind a colon or quote). Fixed memory: what finds no place any more is counted together. One
 * writer, which is its thread; others ask that thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define TALLY_KINDS_MAX  64
#define TALLY_CAUSE_SIZE 64

struct tally_entry {
    char sqlstate[6];
    char cause[TALLY_CAUSE_SIZE];
    uint64_t count;
    int64_t last; /* seconds of 1970 */
};

struct tally {
    struct tally_entry entries[TALLY_KINDS_MAX];
    size_t count;
    struct tally_entry others;
};

/* `cause` may be any text; "" is a cause like others. */
void tally_add(struct tally *tally, const char *sqlstate, const char *cause);
/* Adds another's numbers. */
void tally_merge(struct tally *sum, const struct tally *part);
