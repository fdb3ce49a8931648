/* random: unguessable bytes from the kernel. Any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Fills `size` bytes from getrandom(2); cannot fail once the kernel's pool is ready (aborts
 * otherwise). */
void random_bytes(void *memory, size_t size);
uint64_t random_u64(void);
