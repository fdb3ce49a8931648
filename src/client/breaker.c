#include "client/breaker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/digest.h"
#include "base/memory.h"

#define SETS 2048
#define WAYS 4

/* One identity or prefix. Each failure moves `full_at` on by a part of the window; beyond it there
 * have been too many. */
struct record {
    uint64_t key; /* 0: none */
    usec_t full_at;
    usec_t told_at; /* that it has tripped: once a window; 0: never */
};

struct breaker {
    pthread_mutex_t mutex; /* guards the records */
    _Atomic uint64_t failed, delayed;
    struct record records[SETS][WAYS];
};

struct breaker *breaker_create(void)
{
    struct breaker *breaker = memory_zalloc(sizeof(*breaker));

    if (breaker != NULL)
        (void)pthread_mutex_init(&breaker->mutex, NULL);
    return breaker;
}

void breaker_destroy(struct breaker *breaker)
{
    if (breaker == NULL)
        return;
    (void)pthread_mutex_destroy(&breaker->mutex);
    memory_free(breaker);
}

/* ---- keys ---- */

static uint64_t identity_key(const char *database, const char *user)
{
    const uint64_t names[] = {1, digest64(database, strlen(database)),
                              digest64(user, strlen(user))};

    return digest64(names, sizeof(names)) | 1;
}

/* As in client/moat: the address, of IPv6 its first 64 bits, all Unix sockets together. */
static uint64_t prefix_key(const struct address *address)
{
    uint64_t bits[2] = {address->u.any.sa_family, 0};

    if (address->u.any.sa_family == AF_INET)
        memcpy(&bits[1], &address->u.v4.sin_addr, 4);
    else if (address->u.any.sa_family == AF_INET6)
        memcpy(&bits[1], &address->u.v6.sin6_addr, 8);
    return digest64(bits, sizeof(bits)) | 1;
}

/* ---- the table ---- */

/* Its own record, made from the one whose failures are the longest ago. */
static struct record *find(struct breaker *breaker, uint64_t key)
{
    struct record *set = breaker->records[(key >> 1) % SETS];
    struct record *oldest = &set[0];

    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].full_at < oldest->full_at)
            oldest = &set[i];
    }
    *oldest = (struct record){.key = key};
    return oldest;
}

enum level { LEVEL_FEW, LEVEL_FULL, LEVEL_BEYOND };

static enum level count(struct breaker *breaker, uint64_t key, int failures, usec_t now)
{
    struct record *record = find(breaker, key);
    usec_t step = BREAKER_WINDOW / failures;

    if (record->full_at < now)
        record->full_at = now;
    if (record->full_at + step <= now + BREAKER_WINDOW) {
        record->full_at += step;
        return LEVEL_FEW;
    }
    if (record->told_at != 0 && now - record->told_at < BREAKER_WINDOW)
        return LEVEL_BEYOND;
    record->told_at = now;
    return LEVEL_FULL;
}

struct breaker_verdict breaker_failed(struct breaker *breaker, const char *database,
                                      const char *user, const struct address *address,
                                      const struct breaker_limits *limits, usec_t now)
{
    struct breaker_verdict verdict = {.delay = limits->base};

    if (limits->failures > 0 && limits->delay > 0) {
        (void)pthread_mutex_lock(&breaker->mutex);
        enum level identity = count(breaker, identity_key(database, user), limits->failures, now);
        enum level prefix = count(breaker, prefix_key(address), limits->failures, now);
        (void)pthread_mutex_unlock(&breaker->mutex);
        verdict.has_tripped = identity == LEVEL_FULL || prefix == LEVEL_FULL;
        if ((identity != LEVEL_FEW || prefix != LEVEL_FEW) && verdict.delay < limits->delay)
            verdict.delay = limits->delay;
    }
    atomic_fetch_add_explicit(&breaker->failed, 1, memory_order_relaxed);
    if (verdict.delay > 0)
        atomic_fetch_add_explicit(&breaker->delayed, 1, memory_order_relaxed);
    return verdict;
}

void breaker_counts(struct breaker *breaker, uint64_t *failed, uint64_t *delayed)
{
    *failed = atomic_load_explicit(&breaker->failed, memory_order_relaxed);
    *delayed = atomic_load_explicit(&breaker->delayed, memory_order_relaxed);
}
