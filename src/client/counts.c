#include "client/counts.h"

#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "base/table.h"

enum count_kind { COUNT_DATABASES, COUNT_USERS, COUNT_KINDS };

struct client_count {
    UT_hash_handle hh; /* by name */
    enum count_kind kind;
    int count; /* at least 1: a counter goes with the last client that it counts */
    char name[];
};

struct client_counts {
    _Atomic int logging_in, logged_in;
    pthread_mutex_t mutex; /* guards the tables and what is in them */
    struct client_count *tables[COUNT_KINDS];
    struct listener_count *listeners;
};

struct client_counts *client_counts_create(void)
{
    struct client_counts *counts = memory_zalloc(sizeof(*counts));

    if (counts != NULL)
        (void)pthread_mutex_init(&counts->mutex, NULL);
    return counts;
}

static void drop(struct client_counts *counts, struct client_count *count)
{
    HASH_DEL(counts->tables[count->kind], count);
    memory_free(count);
}

void client_counts_destroy(struct client_counts *counts)
{
    struct client_count *count, *next;

    if (counts == NULL)
        return;
    for (int kind = 0; kind < COUNT_KINDS; kind++)
        HASH_ITER (hh, counts->tables[kind], count, next)
            drop(counts, count);
    while (counts->listeners != NULL) {
        struct listener_count *listener = counts->listeners;
        counts->listeners = listener->next;
        memory_free(listener);
    }
    (void)pthread_mutex_destroy(&counts->mutex);
    memory_free(counts);
}

/* ---- in all ---- */

static bool raise_below(_Atomic int *count, int limit)
{
    int now = atomic_load_explicit(count, memory_order_relaxed);

    do {
        if (limit > 0 && now >= limit)
            return false;
    } while (!atomic_compare_exchange_weak(count, &now, now + 1));
    return true;
}

bool client_counts_begin_login(struct client_counts *counts, int limit)
{
    return raise_below(&counts->logging_in, limit);
}

void client_counts_end_login(struct client_counts *counts)
{
    atomic_fetch_sub(&counts->logging_in, 1);
}

bool client_counts_logged_in(struct client_counts *counts, int limit)
{
    return raise_below(&counts->logged_in, limit);
}

void client_counts_left(struct client_counts *counts)
{
    atomic_fetch_sub(&counts->logged_in, 1);
}

int client_counts_logging_in_now(const struct client_counts *counts)
{
    return atomic_load(&counts->logging_in);
}

int client_counts_logged_in_now(const struct client_counts *counts)
{
    return atomic_load(&counts->logged_in);
}

/* ---- by name. All of this is under the mutex ---- */

static struct client_count *find(const struct client_counts *counts, enum count_kind kind,
                                 const char *name)
{
    struct client_count *count = NULL;

    HASH_FIND(hh, counts->tables[kind], name, strlen(name), count);
    return count;
}

static struct client_count *add(struct client_counts *counts, enum count_kind kind,
                                const char *name)
{
    size_t length = strlen(name);
    struct client_count *count = memory_zalloc(sizeof(*count) + length + 1);

    if (count == NULL)
        return NULL;
    count->kind = kind;
    memcpy(count->name, name, length + 1);
    HASH_ADD_KEYPTR(hh, counts->tables[kind], count->name, length, count);
    if (TABLE_ADDED(count))
        return count;
    memory_free(count);
    return NULL;
}

static struct client_count *raise_by_name(struct client_counts *counts, enum count_kind kind,
                                          const char *name, int limit, bool *reached)
{
    struct client_count *count = find(counts, kind, name);

    *reached = count != NULL && limit > 0 && count->count >= limit;
    if (*reached)
        return NULL;
    if (count == NULL)
        count = add(counts, kind, name);
    if (count != NULL)
        count->count++;
    return count;
}

/* ---- by name ---- */

static struct client_count *count_name(struct client_counts *counts, enum count_kind kind,
                                       const char *name, int limit, bool *reached)
{
    (void)pthread_mutex_lock(&counts->mutex);
    struct client_count *count = raise_by_name(counts, kind, name, limit, reached);
    (void)pthread_mutex_unlock(&counts->mutex);
    return count;
}

struct client_count *client_count_database(struct client_counts *counts, const char *name,
                                           int limit, bool *reached)
{
    return count_name(counts, COUNT_DATABASES, name, limit, reached);
}

struct client_count *client_count_user(struct client_counts *counts, const char *name, int limit,
                                       bool *reached)
{
    return count_name(counts, COUNT_USERS, name, limit, reached);
}

void client_count_release(struct client_counts *counts, struct client_count *count)
{
    if (count == NULL)
        return;
    (void)pthread_mutex_lock(&counts->mutex);
    if (--count->count == 0)
        drop(counts, count);
    (void)pthread_mutex_unlock(&counts->mutex);
}

static int count_of(struct client_counts *counts, enum count_kind kind, const char *name)
{
    (void)pthread_mutex_lock(&counts->mutex);
    const struct client_count *count = find(counts, kind, name);
    int now = count != NULL ? count->count : 0;
    (void)pthread_mutex_unlock(&counts->mutex);
    return now;
}

int client_count_of_database(struct client_counts *counts, const char *name)
{
    return count_of(counts, COUNT_DATABASES, name);
}

int client_count_of_user(struct client_counts *counts, const char *name)
{
    return count_of(counts, COUNT_USERS, name);
}

/* ---- listeners ---- */

static struct listener_count *add_listener(struct client_counts *counts, const char *name)
{
    size_t length = strlen(name);
    struct listener_count *listener = memory_zalloc(sizeof(*listener) + length + 1);

    if (listener == NULL)
        return NULL;
    memcpy(listener->name, name, length + 1);
    listener->next = counts->listeners;
    counts->listeners = listener;
    return listener;
}

struct listener_count *client_count_listener(struct client_counts *counts, const char *name)
{
    (void)pthread_mutex_lock(&counts->mutex);
    struct listener_count *listener = counts->listeners;
    while (listener != NULL && strcmp(listener->name, name) != 0)
        listener = listener->next;
    if (listener == NULL)
        listener = add_listener(counts, name);
    (void)pthread_mutex_unlock(&counts->mutex);
    return listener;
}
