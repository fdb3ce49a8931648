#include "net/buffer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define ARENA_CHUNK_SIZE 65536

struct arena_chunk {
    struct arena_chunk *next;
    size_t capacity;
    uint8_t data[];
};

/* Not memory_zalloc: clearing 16 KiB for each buffer would cost more than what is read into it. */
static struct buffer *allocate(size_t capacity)
{
    struct buffer *buffer = NULL;
    size_t size;

    if (!__builtin_add_overflow(sizeof(*buffer), capacity, &size))
        buffer = malloc(size);
    if (buffer != NULL)
        buffer->capacity = capacity;
    return buffer;
}

struct buffer *buffer_borrow(struct buffer_list *list, size_t capacity)
{
    struct buffer *buffer = NULL;

    if (capacity <= BUFFER_SIZE) {
        if (!SLIST_EMPTY(&list->free))
            return buffer_borrow_standard(list);
        capacity = BUFFER_SIZE;
    } else if (capacity == BUFFER_SIZE_BULK && !SLIST_EMPTY(&list->free_bulk)) {
        buffer = SLIST_FIRST(&list->free_bulk);
        SLIST_REMOVE_HEAD(&list->free_bulk, link);
        list->free_bulk_count--;
    }
    if (buffer == NULL)
        buffer = allocate(capacity);
    if (buffer == NULL)
        return NULL;
    SLIST_NEXT(buffer, link) = NULL;
    list->lent_count++;
    return buffer;
}

/* What buffer_return() does with those that it does not keep itself. */
void buffer_keep_or_free(struct buffer_list *list, struct buffer *buffer)
{
    if (buffer->capacity != BUFFER_SIZE_BULK || list->free_bulk_count >= BUFFERS_KEPT_BULK) {
        memory_free(buffer);
        return;
    }
    SLIST_INSERT_HEAD(&list->free_bulk, buffer, link);
    list->free_bulk_count++;
}

void buffer_list_finish(struct buffer_list *list)
{
    struct buffer *buffer;

    while ((buffer = SLIST_FIRST(&list->free)) != NULL) {
        SLIST_REMOVE_HEAD(&list->free, link);
        memory_free(buffer);
    }
    while ((buffer = SLIST_FIRST(&list->free_bulk)) != NULL) {
        SLIST_REMOVE_HEAD(&list->free_bulk, link);
        memory_free(buffer);
    }
    list->free_count = 0;
    list->free_bulk_count = 0;
}

/* A chunk behind the current one, with at least `size` bytes. */
static bool add_chunk(struct arena *arena, size_t size)
{
    size_t capacity = size > ARENA_CHUNK_SIZE ? size : ARENA_CHUNK_SIZE;
    struct arena_chunk *chunk = NULL;
    size_t total;

    if (!__builtin_add_overflow(sizeof(*chunk), capacity, &total))
        chunk = malloc(total);
    if (chunk == NULL)
        return false;
    chunk->next = NULL;
    chunk->capacity = capacity;
    if (arena->current != NULL)
        arena->current->next = chunk;
    else
        arena->first = chunk;
    arena->current = chunk;
    arena->used = 0;
    return true;
}

uint8_t *arena_take(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = arena->current;

    if (chunk == NULL || size > chunk->capacity - arena->used) {
        if (!add_chunk(arena, size))
            return NULL;
        chunk = arena->current;
    }
    uint8_t *memory = chunk->data + arena->used;
    arena->used += size;
    return memory;
}

static void free_chunks(struct arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        memory_free(chunk);
        chunk = next;
    }
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *kept = arena->first;

    if (kept == NULL || (arena->used == 0 && kept == arena->current))
        return;
    if (kept->capacity > ARENA_CHUNK_SIZE) {
        arena_finish(arena);
        return;
    }
#ifdef PGWEIR_DEBUG_CHECKS
    /* Whoever still points here shall not read yesterday's bytes. */
    memset(kept->data, 0xDD, kept->capacity);
#endif
    free_chunks(kept->next);
    kept->next = NULL;
    arena->current = kept;
    arena->used = 0;
}

void arena_finish(struct arena *arena)
{
    free_chunks(arena->first);
    *arena = (struct arena){0};
}
