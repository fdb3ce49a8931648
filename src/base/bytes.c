#include "base/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define FIRST_CAPACITY 128

struct bytes bytes_over(void *memory, size_t capacity)
{
    return (struct bytes){.data = memory, .capacity = capacity, .limit = capacity};
}

void bytes_init(struct bytes *bytes, size_t limit)
{
    *bytes = (struct bytes){.limit = limit, .grows = true};
}

void bytes_finish(struct bytes *bytes)
{
    if (bytes->grows)
        memory_free(bytes->data);
    *bytes = (struct bytes){0};
}

void bytes_finish_secret(struct bytes *bytes)
{
    memory_wipe(bytes->data, bytes->capacity);
    bytes_finish(bytes);
}

void bytes_clear(struct bytes *bytes)
{
    bytes->size = 0;
    bytes->failed = false;
}

/* Not realloc: it would leave the old bytes, which may be secret, behind in freed memory. */
static bool grow(struct bytes *bytes, size_t needed)
{
    size_t capacity = bytes->capacity > 0 ? bytes->capacity : FIRST_CAPACITY;

    while (capacity < needed)
        capacity = capacity > bytes->limit / 2 ? bytes->limit : capacity * 2;
    if (capacity > bytes->limit)
        capacity = bytes->limit;
    uint8_t *data = memory_zalloc(capacity);
    if (data == NULL)
        return false;
    if (bytes->size > 0)
        memcpy(data, bytes->data, bytes->size);
    memory_wipe(bytes->data, bytes->size);
    memory_free(bytes->data);
    bytes->data = data;
    bytes->capacity = capacity;
    return true;
}

static bool make_room(struct bytes *bytes, size_t size)
{
    if (bytes->grows && size <= bytes->limit - bytes->size && grow(bytes, bytes->size + size))
        return true;
    bytes->failed = true;
    return false;
}

static inline bool has_room(struct bytes *bytes, size_t size)
{
    if (bytes->failed)
        return false;
    return size <= bytes->capacity - bytes->size || make_room(bytes, size);
}

uint8_t *bytes_reserve(struct bytes *bytes, size_t size)
{
    if (!has_room(bytes, size))
        return NULL;
    if (bytes->data == NULL) /* nothing in nothing: still an address, as promised */
        return has_room(bytes, 1) ? bytes->data : NULL;
    uint8_t *at = bytes->data + bytes->size;
    bytes->size += size;
    return at;
}

static void store_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

void bytes_u8(struct bytes *bytes, uint8_t value)
{
    uint8_t *at = bytes_reserve(bytes, 1);

    if (at != NULL)
        at[0] = value;
}

void bytes_u16(struct bytes *bytes, uint16_t value)
{
    uint8_t *at = bytes_reserve(bytes, 2);

    if (at == NULL)
        return;
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

void bytes_u32(struct bytes *bytes, uint32_t value)
{
    uint8_t *at = bytes_reserve(bytes, 4);

    if (at != NULL)
        store_u32(at, value);
}

void bytes_put(struct bytes *bytes, const void *data, size_t size)
{
    if (size == 0)
        return;
    uint8_t *at = bytes_reserve(bytes, size);
    if (at != NULL)
        memcpy(at, data, size);
}

void bytes_string(struct bytes *bytes, const char *text)
{
    bytes_put(bytes, text, strlen(text) + 1);
}

void bytes_text(struct bytes *bytes, const char *text)
{
    bytes_put(bytes, text, strlen(text));
}

/* What does not fit with printf's zero byte behind it goes by way of the heap: it may fit without,
 * or after growing. */
__attribute__((format(printf, 2, 0))) static void
format_by_heap(struct bytes *bytes, const char *format, va_list arguments)
{
    char *text = NULL;
    int length = vasprintf(&text, format, arguments);

    if (length < 0) {
        bytes->failed = true;
        return;
    }
    bytes_put(bytes, text, (size_t)length);
    memory_free_secret(text);
}

void bytes_format(struct bytes *bytes, const char *format, ...)
{
    if (bytes->failed)
        return;
    size_t room = bytes->capacity - bytes->size;
    char *at = room > 0 ? (char *)bytes->data + bytes->size : NULL;
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(at, room, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < room) {
        bytes->size += (size_t)length;
        return;
    }
    va_start(arguments, format);
    format_by_heap(bytes, format, arguments);
    va_end(arguments);
}

void bytes_patch_u32(struct bytes *bytes, size_t offset, uint32_t value)
{
    if (bytes->failed) /* the place may never have been written */
        return;
    assert(bytes->size >= 4 && offset <= bytes->size - 4);
    store_u32(bytes->data + offset, value);
}
