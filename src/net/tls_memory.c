/* OpenSSL's memory. What it needs to read a private key (the file's bytes without their base64, the
 * numbers as octets) it gives back unwiped: while a key is read all that its thread frees is wiped.
 * The key itself then lies in the secure heap (auth/crypto). */
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tls_private.h"

static _Thread_local bool is_wiping;

static void *take(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(size);
}

static void give_back(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    if (is_wiping && memory != NULL)
        memory_wipe(memory, malloc_usable_size(memory));
    free(memory);
}

static void *take_more(void *memory, size_t size, const char *file, int line)
{
    if (!is_wiping || memory == NULL)
        return realloc(memory, size);
    size_t before = malloc_usable_size(memory);
    void *larger = size > 0 ? malloc(size) : NULL;
    if (larger != NULL)
        memcpy(larger, memory, before < size ? before : size);
    if (larger != NULL || size == 0)
        give_back(memory, file, line);
    return larger;
}

bool tls_memory_init(void)
{
    return CRYPTO_set_mem_functions(take, take_more, give_back) == 1;
}

void tls_memory_wipe(bool wipe)
{
    is_wiping = wipe;
}
