/* buffer: memory for bytes in flight, lent by a loop.
 *
 * A stream borrows a buffer when bytes arrive and gives it back when it is drained; an idle
 * connection holds none. The standard size is BUFFER_SIZE, and BUFFER_SIZE_BULK while much comes
 * in; larger ones (up to a caller's limit) are made for a message that must lie contiguous and are
 * freed, not kept. The memory is not cleared. The arena holds small bytes (injected messages,
 * rewritten heads) until the end of the turn. One loop's thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define BUFFER_SIZE       16384
#define BUFFER_SIZE_BULK  65536
#define BUFFERS_KEPT      256 /* of the standard size, per loop; what is more is freed */
#define BUFFERS_KEPT_BULK 16

struct buffer {
    SLIST_ENTRY(buffer) link;
    size_t capacity;
    uint8_t data[];
};

struct buffer_list {
    SLIST_HEAD(, buffer) free, free_bulk;
    int free_count, free_bulk_count;
    int lent_count; /* for SHOW MEM */
};

/* A buffer of at least `capacity` bytes (BUFFER_SIZE if less). NULL: no memory. */
struct buffer *buffer_borrow(struct buffer_list *list, size_t capacity);
/* One of the standard size, which is nearly always in the list. */
static inline struct buffer *buffer_borrow_standard(struct buffer_list *list)
{
    struct buffer *buffer = SLIST_FIRST(&list->free);

    if (buffer == NULL)
        return buffer_borrow(list, BUFFER_SIZE);
    SLIST_REMOVE_HEAD(&list->free, link);
    SLIST_NEXT(buffer, link) = NULL;
    list->free_count--;
    list->lent_count++;
    return buffer;
}
void buffer_keep_or_free(struct buffer_list *list, struct buffer *buffer);
/* Any loop's list. NULL is fine. */
static inline void buffer_return(struct buffer_list *list, struct buffer *buffer)
{
    if (buffer == NULL)
        return;
    list->lent_count--;
    if (buffer->capacity != BUFFER_SIZE || list->free_count >= BUFFERS_KEPT) {
        buffer_keep_or_free(list, buffer);
        return;
    }
    SLIST_INSERT_HEAD(&list->free, buffer, link);
    list->free_count++;
}
void buffer_list_finish(struct buffer_list *list); /* frees what is kept; what is lent stays */

struct arena_chunk;
struct arena {
    struct arena_chunk *first, *current;
    size_t used; /* of current */
};
/* Bytes that live until arena_reset at the end of the turn; consecutive calls return adjacent
 * memory where they fit one chunk. NULL: no memory. */
uint8_t *arena_take(struct arena *arena, size_t size);
void arena_reset(struct arena *arena); /* keeps one chunk of 64 KiB */
void arena_finish(struct arena *arena);
