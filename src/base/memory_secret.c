/* Memory for secrets: one stretch of addresses that no core file holds.
 *
 * Cells of a few sizes, each with its size in front; what was freed is wiped and handed out again.
 * Pages are taken from the system as they are first used, and kept. Where the stretch is full, or
 * the system gave none, secrets lie on the heap like everything else: a core file is then all that
 * can show them, and there is none unless core_dumps=1. */
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define ARENA_SIZE ((size_t)1 << 30) /* of addresses */
#define CELL_STEP  16                /* small ones are a multiple of this */
#define SMALL_MAX  256
#define LARGE_MAX  131072 /* with its head; sizes double from SMALL_MAX on */
#define CLASSES    (SMALL_MAX / CELL_STEP + 9)

/* In front of what is handed out, so that that is aligned as malloc's is. */
struct cell {
    uint64_t capacity; /* of the cell, this head too */
    struct cell *next; /* of the free ones */
};
_Static_assert(sizeof(struct cell) == CELL_STEP, "what follows a cell's head is aligned");

static struct {
    pthread_mutex_t mutex; /* guards all of it; base is written once */
    uint8_t *_Atomic base; /* NULL: not asked for yet, or there is none */
    size_t used, in_use;
    bool was_asked;
    struct cell *free[CLASSES];
} arena = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void open_arena(void)
{
    arena.was_asked = true;
    void *base = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return;
    (void)madvise(base, ARENA_SIZE, MADV_NOHUGEPAGE);
    if (madvise(base, ARENA_SIZE, MADV_DONTDUMP) != 0) {
        munmap(base, ARENA_SIZE);
        return;
    }
    arena.base = base;
}

static int class_of(size_t size, size_t *capacity)
{
    int class = SMALL_MAX / CELL_STEP - 1;

    if (size <= SMALL_MAX) {
        *capacity = (size + CELL_STEP - 1) / CELL_STEP * CELL_STEP;
        return (int)(*capacity / CELL_STEP) - 1;
    }
    for (*capacity = SMALL_MAX; *capacity < size; *capacity *= 2)
        class ++;
    return class;
}

/* Under the mutex. NULL: no room. */
static struct cell *take_cell(size_t size)
{
    size_t capacity;
    int class = class_of(size, &capacity);
    struct cell *cell = arena.free[class];

    if (!arena.was_asked)
        open_arena();
    if (cell != NULL) {
        arena.free[class] = cell->next;
    } else {
        if (arena.base == NULL || capacity > ARENA_SIZE - arena.used)
            return NULL;
        cell = (struct cell *)(void *)(arena.base + arena.used);
        arena.used += capacity;
        cell->capacity = capacity;
    }
    arena.in_use++;
    return cell;
}

void *memory_zalloc_secret(size_t size)
{
    struct cell *cell = NULL;

    if (size <= LARGE_MAX - sizeof(*cell)) {
        (void)pthread_mutex_lock(&arena.mutex);
        cell = take_cell(size + sizeof(*cell));
        (void)pthread_mutex_unlock(&arena.mutex);
    }
    if (cell == NULL)
        return memory_zalloc(size);
    ASAN_UNPOISON_MEMORY_REGION(cell + 1, size);
    return cell + 1; /* new, or wiped when it was freed */
}

static bool is_in_arena(const void *memory)
{
    const uint8_t *at = memory, *base = arena.base;

    return base != NULL && at >= base && at < base + ARENA_SIZE;
}

void memory_wipe_and_free(void *memory, size_t size)
{
    if (memory == NULL)
        return;
    memory_wipe(memory, size);
    if (!is_in_arena(memory)) {
        memory_free(memory);
        return;
    }
    struct cell *cell = (struct cell *)memory - 1;
    size_t capacity;

    ASAN_POISON_MEMORY_REGION(memory, cell->capacity - sizeof(*cell));
    (void)pthread_mutex_lock(&arena.mutex);
    int class = class_of(cell->capacity, &capacity);
    cell->next = arena.free[class];
    arena.free[class] = cell;
    arena.in_use--;
    (void)pthread_mutex_unlock(&arena.mutex);
}

size_t memory_secrets_in_use(void)
{
    (void)pthread_mutex_lock(&arena.mutex);
    size_t count = arena.in_use;
    (void)pthread_mutex_unlock(&arena.mutex);
    return count;
}

char *memory_strdup_secret(const char *text)
{
    return memory_strndup_secret(text, text != NULL ? strlen(text) : 0);
}

char *memory_strndup_secret(const char *text, size_t size)
{
    if (text == NULL)
        return NULL;
    size_t length = strnlen(text, size);
    char *copy = memory_zalloc_secret(length + 1);
    if (copy != NULL)
        memcpy(copy, text, length);
    return copy;
}

void memory_free_secret(char *text)
{
    if (text != NULL)
        memory_wipe_and_free(text, strlen(text));
}
