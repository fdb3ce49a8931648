/* memory: allocation that may fail, and forgetting.
 *
 * Nothing here exits: every function returns NULL when memory is short, and the caller ends the one
 * connection that needed it. Freed with memory_free(). Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

void *memory_zalloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *memory_zalloc_array(size_t count, size_t size); /* NULL also when count * size overflows */
void *memory_resize_array(void *memory, size_t count,
                          size_t size);              /* as realloc; old one stays when it fails */
char *memory_strdup(const char *text);               /* NULL gives NULL */
char *memory_strndup(const char *text, size_t size); /* at most size bytes, then a zero byte */
void *memory_dup(const void *data, size_t size);
void memory_free(void *memory); /* NULL is fine */

/* Overwrites, in a way that the compiler keeps. */
void memory_wipe(void *memory, size_t size);

/* Memory for secrets, in src/base/memory_secret.c: no core file holds it. Freed by the two below
 * alone. */
void *memory_zalloc_secret(size_t size) __attribute__((malloc, alloc_size(1)));
char *memory_strdup_secret(const char *text); /* NULL gives NULL */
char *memory_strndup_secret(const char *text, size_t size);
/* Wipes what the caller has used of it, and frees it; also what is not from there. NULL is fine. */
void memory_wipe_and_free(void *memory, size_t size);
void memory_free_secret(char *text); /* the same for a zero-terminated text */
size_t memory_secrets_in_use(void);  /* how many pieces are not freed */

/* Compares in time that depends on size alone. */
bool memory_equal_constant_time(const void *a, const void *b, size_t size);
