#include "base/cursor.h"

#include <string.h>

/* The next `size` bytes, or NULL and `failed`. A failed cursor stands at its end: a loop over what
 * is left ends. */
static const uint8_t *take(struct cursor *cursor, size_t size)
{
    const uint8_t *at = cursor->at;

    if (cursor_left(cursor) < size) {
        cursor->failed = true;
        cursor->at = cursor->end;
        return NULL;
    }
    if (size > 0)
        cursor->at += size;
    return at;
}

uint8_t cursor_u8(struct cursor *cursor)
{
    const uint8_t *at = take(cursor, 1);

    return at != NULL ? at[0] : 0;
}

uint16_t cursor_u16(struct cursor *cursor)
{
    const uint8_t *at = take(cursor, 2);

    return at != NULL ? (uint16_t)((unsigned)at[0] << 8 | at[1]) : 0;
}

uint32_t cursor_u32(struct cursor *cursor)
{
    const uint8_t *at = take(cursor, 4);

    if (at == NULL)
        return 0;
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int16_t cursor_i16(struct cursor *cursor)
{
    return (int16_t)cursor_u16(cursor);
}

int32_t cursor_i32(struct cursor *cursor)
{
    return (int32_t)cursor_u32(cursor);
}

struct span cursor_bytes(struct cursor *cursor, size_t size)
{
    const uint8_t *at = take(cursor, size);

    return (struct span){at, at != NULL ? size : 0};
}

const char *cursor_string(struct cursor *cursor)
{
    size_t left = cursor_left(cursor);
    const uint8_t *zero = left > 0 ? memchr(cursor->at, 0, left) : NULL;

    if (zero == NULL) {
        cursor->failed = true;
        cursor->at = cursor->end;
        return NULL;
    }
    const char *text = (const char *)cursor->at;
    cursor->at = zero + 1;
    return text;
}

struct span cursor_rest(struct cursor *cursor, size_t limit)
{
    size_t left = cursor_left(cursor);

    if (left > limit) {
        cursor->failed = true;
        cursor->at = cursor->end;
        return (struct span){NULL, 0};
    }
    return cursor_bytes(cursor, left);
}

bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool span_is(struct span span, const char *text)
{
    return span_equal(span, (struct span){(const uint8_t *)text, strlen(text)});
}
