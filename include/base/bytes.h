/* bytes: a bounded writer.
 *
 * Writes big-endian integers, text and spans one after another. Two kinds: over fixed memory of the
 * caller (bytes_over), or growing on the heap up to a limit (bytes_init, released with
 * bytes_finish). What does not fit sets `failed`, which stays set, and writes nothing more: check
 * once at the end. One thread at a time.
 */
#pragma once
#include "base/cursor.h"

struct bytes {
    uint8_t *data;
    size_t size;     /* written so far */
    size_t capacity; /* of data */
    size_t limit;    /* growing kind: never larger than this; fixed kind: equals capacity */
    bool grows;
    bool failed;
};

struct bytes bytes_over(void *memory, size_t capacity);
void bytes_init(struct bytes *bytes, size_t limit);
void bytes_finish(struct bytes *bytes);        /* frees a growing one; zeroes the struct */
void bytes_finish_secret(struct bytes *bytes); /* the same, wiping first */
void bytes_clear(struct bytes *bytes);         /* size 0, failed false; keeps the memory */

void bytes_u8(struct bytes *bytes, uint8_t value);
void bytes_u16(struct bytes *bytes, uint16_t value);
void bytes_u32(struct bytes *bytes, uint32_t value);
void bytes_put(struct bytes *bytes, const void *data, size_t size);
void bytes_string(struct bytes *bytes, const char *text); /* with its zero byte */
void bytes_text(struct bytes *bytes, const char *text);   /* without */
void bytes_format(struct bytes *bytes, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* without a zero byte */

/* Overwrites 4 bytes at `offset`, which must have been written. */
void bytes_patch_u32(struct bytes *bytes, size_t offset, uint32_t value);

/* Room for `size` more bytes: their address, counted as written; NULL and failed when they do not
 * fit. */
uint8_t *bytes_reserve(struct bytes *bytes, size_t size);

static inline bool bytes_ok(const struct bytes *bytes)
{
    return !bytes->failed;
}
static inline struct span bytes_span(const struct bytes *bytes)
{
    return (struct span){bytes->data, bytes->size};
}
