/* spool: an answer's body in the making: written at one end, sent from the other.
 *
 * Blocks of memory in a row, so that nothing is moved when it grows, and what was sent is given
 * back. Bounded: what would make it hold more than `limit` bytes at once, or all requests together
 * more than their budget, sets `failure` and writes nothing more, until spool_clear. One thread.
 */
#pragma once
#include "base/cursor.h"
#include "gateway/budget.h"

#define SPOOL_BLOCK       4096  /* the first */
#define SPOOL_BLOCK_LARGE 65536 /* later ones */

enum spool_failure { SPOOL_FINE, SPOOL_TOO_LARGE, SPOOL_NO_MEMORY };

struct spool_block;

struct spool {
    struct budget *budget;
    size_t limit; /* 0: none */
    struct spool_block *first, *last;
    size_t start; /* of the first block: sent */
    size_t bytes; /* unsent */
    uint64_t written;
    enum spool_failure failure;
};

void spool_init(struct spool *spool, struct budget *budget, size_t limit);
void spool_clear(struct spool *spool); /* empty, and fine; also at its end */

void spool_put(struct spool *spool, const void *data, size_t size);
void spool_text(struct spool *spool, const char *text);
void spool_number(struct spool *spool, int64_t value);

/* The front of what is there, as far as it lies in a row; empty: nothing. */
struct span spool_front(const struct spool *spool);
/* Takes that many bytes off the front, at most spool_front().size. Their memory is given back only
 * by the next call, so that they may be lent until then. */
void spool_consume(struct spool *spool, size_t size);
