/* spans: what a stream will write at the end of the turn, as addresses and sizes.
 *
 * A block of spans is borrowed from a free list of the loop with the first byte put out in a turn,
 * and goes back when that was written. More than one block is chained. One loop's thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/memory.h"

#define OUTPUT_SPANS 64
#define OUTPUTS_KEPT 256 /* per loop; what is more is freed */

struct stream_output {
    struct stream_output *next; /* the next block of this stream, or in the free list */
    struct stream_output *last; /* of the chain; in its first block only */
    size_t bytes;               /* of this block's spans */
    int count;
    struct iovec spans[OUTPUT_SPANS];
};

/* NULL: no memory. */
static inline struct stream_output *output_borrow(struct stream_output **free_list, int *free_count)
{
    struct stream_output *output = *free_list;

    if (output != NULL) {
        *free_list = output->next;
        --*free_count;
    } else {
        output = malloc(sizeof(*output));
        if (output == NULL)
            return NULL;
    }
    output->next = NULL;
    output->last = output;
    output->bytes = 0;
    output->count = 0;
    return output;
}

static inline void output_return(struct stream_output **free_list, int *free_count,
                                 struct stream_output *output)
{
    if (*free_count >= OUTPUTS_KEPT) {
        memory_free(output);
        return;
    }
    output->next = *free_list;
    *free_list = output;
    ++*free_count;
}

static inline void outputs_finish(struct stream_output **free_list)
{
    while (*free_list != NULL) {
        struct stream_output *next = (*free_list)->next;
        memory_free(*free_list);
        *free_list = next;
    }
}

/* Appends one span; joined with the last one where they are neighbours in memory. False: the block
 * is full. */
static inline bool output_append(struct stream_output *output, const void *data, size_t size)
{
    int count = output->count;

    if (count > 0) {
        struct iovec *last = &output->spans[count - 1];
        if ((const uint8_t *)last->iov_base + last->iov_len == (const uint8_t *)data) {
            last->iov_len += size;
            output->bytes += size;
            return true;
        }
        if (count == OUTPUT_SPANS)
            return false;
    }
    /* iovec has no const of its own; nobody writes through it. */
    output->spans[count] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    output->count = count + 1;
    output->bytes += size;
    return true;
}
