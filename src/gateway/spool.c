#include "gateway/spool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

struct spool_block {
    struct spool_block *next;
    size_t capacity, used;
    uint8_t data[];
};

void spool_init(struct spool *spool, struct budget *budget, size_t limit)
{
    *spool = (struct spool){.budget = budget, .limit = limit};
}

static void free_first(struct spool *spool)
{
    struct spool_block *first = spool->first;

    spool->first = first->next;
    if (spool->first == NULL)
        spool->last = NULL;
    spool->start = 0;
    budget_give(spool->budget, first->capacity);
    memory_free(first);
}

void spool_clear(struct spool *spool)
{
    while (spool->first != NULL)
        free_first(spool);
    spool->bytes = 0;
    spool->written = 0;
    spool->failure = SPOOL_FINE;
}

static bool add_block(struct spool *spool)
{
    size_t capacity = spool->last == NULL ? SPOOL_BLOCK : SPOOL_BLOCK_LARGE;
    struct spool_block *block = NULL;

    if (budget_take(spool->budget, capacity)) {
        block = memory_zalloc(sizeof(*block) + capacity);
        if (block == NULL)
            budget_give(spool->budget, capacity);
    }
    if (block == NULL) {
        spool->failure = SPOOL_NO_MEMORY;
        return false;
    }
    block->capacity = capacity;
    if (spool->last != NULL)
        spool->last->next = block;
    else
        spool->first = block;
    spool->last = block;
    return true;
}

void spool_put(struct spool *spool, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    if (spool->failure != SPOOL_FINE)
        return;
    if (spool->limit > 0 && size > spool->limit - spool->bytes) {
        spool->failure = SPOOL_TOO_LARGE;
        return;
    }
    while (size > 0) {
        struct spool_block *last = spool->last;
        if (last == NULL || last->used == last->capacity) {
            if (!add_block(spool))
                return;
            last = spool->last;
        }
        size_t room = last->capacity - last->used;
        size_t part = size < room ? size : room;
        memcpy(last->data + last->used, bytes, part);
        last->used += part;
        spool->bytes += part;
        spool->written += part;
        bytes += part;
        size -= part;
    }
}

void spool_text(struct spool *spool, const char *text)
{
    spool_put(spool, text, strlen(text));
}

void spool_number(struct spool *spool, int64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%" PRId64, value);

    spool_put(spool, text, (size_t)size);
}

/* The first block may have been sent, and kept for whom it was lent to. */
static void drop_sent(struct spool *spool)
{
    while (spool->first != NULL && spool->start == spool->first->used &&
           (spool->first->next != NULL || spool->start == spool->first->capacity))
        free_first(spool);
}

struct span spool_front(const struct spool *spool)
{
    const struct spool_block *first = spool->first;
    size_t start = spool->start;

    while (first != NULL && start == first->used) {
        first = first->next;
        start = 0;
    }
    if (first == NULL)
        return (struct span){0};
    return (struct span){first->data + start, first->used - start};
}

void spool_consume(struct spool *spool, size_t size)
{
    drop_sent(spool);
    spool->start += size;
    spool->bytes -= size;
}
