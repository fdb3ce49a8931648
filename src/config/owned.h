/* owned: freeing text through the const pointers that the snapshot shows to the other rooms. */
#pragma once
#include <stdint.h>

#include "base/memory.h"

static inline void owned_free(const char *text)
{
    memory_free((void *)(uintptr_t)text);
}

static inline void owned_free_secret(const char *text)
{
    memory_free_secret((char *)(uintptr_t)text);
}
