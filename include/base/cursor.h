/* cursor: a reader of foreign bytes that cannot overrun.
 *
 * Reads past the end give zero (or an empty span) and set `failed`, which stays set: decode
 * everything, then ask once with cursor_finished() or cursor_ok(). Borrows the bytes; no
 * allocation. Integers are big-endian (network order).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else owns. `data` may be NULL when `size` is 0. Not zero-terminated. */
struct span {
    const uint8_t *data;
    size_t size;
};

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct cursor cursor_over(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    /* NULL + 0 is undefined in C, and an empty span may be NULL. */
    return (struct cursor){.at = bytes, .end = size > 0 ? bytes + size : bytes, .failed = false};
}

static inline size_t cursor_left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

/* Nothing read past the end so far. */
static inline bool cursor_ok(const struct cursor *cursor)
{
    return !cursor->failed;
}

/* All bytes were read and none too many. */
static inline bool cursor_finished(const struct cursor *cursor)
{
    return !cursor->failed && cursor->at == cursor->end;
}

uint8_t cursor_u8(struct cursor *cursor);
uint16_t cursor_u16(struct cursor *cursor);
uint32_t cursor_u32(struct cursor *cursor);
int16_t cursor_i16(struct cursor *cursor);
int32_t cursor_i32(struct cursor *cursor);

/* `size` bytes, or an empty span and `failed`. */
struct span cursor_bytes(struct cursor *cursor, size_t size);

/* Text up to a zero byte, which is taken too; the returned pointer is zero-terminated within the
 * cursor's bytes. NULL and `failed` when no zero byte is left. */
const char *cursor_string(struct cursor *cursor);

/* All that is left, if that is not more than `limit` bytes; else empty and `failed`. */
struct span cursor_rest(struct cursor *cursor, size_t limit);

bool span_equal(struct span a, struct span b);
bool span_is(struct span span, const char *text);
