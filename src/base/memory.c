#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* malloc(0) may return NULL; here NULL means "no memory" and nothing else. */
static size_t at_least_one(size_t size)
{
    return size > 0 ? size : 1;
}

void *memory_zalloc(size_t size)
{
    return calloc(1, at_least_one(size));
}

void *memory_zalloc_array(size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return memory_zalloc(total);
}

void *memory_resize_array(void *memory, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return realloc(memory, at_least_one(total));
}

char *memory_strdup(const char *text)
{
    return text != NULL ? memory_dup(text, strlen(text) + 1) : NULL;
}

char *memory_strndup(const char *text, size_t size)
{
    size_t length = text != NULL ? strnlen(text, size) : 0;
    char *copy = malloc(length + 1);

    if (copy == NULL)
        return NULL;
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

void *memory_dup(const void *data, size_t size)
{
    void *copy = malloc(at_least_one(size));

    if (copy != NULL && size > 0)
        memcpy(copy, data, size);
    return copy;
}

void memory_free(void *memory)
{
    free(memory);
}

void memory_wipe(void *memory, size_t size)
{
    if (size > 0)
        explicit_bzero(memory, size);
}

bool memory_equal_constant_time(const void *a, const void *b, size_t size)
{
    /* volatile: the compiler must not stop at the first difference. */
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    unsigned difference = 0;

    for (size_t i = 0; i < size; i++)
        difference |= (unsigned)(left[i] ^ right[i]);
    return difference == 0;
}
