/* wait_queue: who waits for a server, and what became of the wait.
 *
 * A waiter is embedded in whoever wants a server (client, lookup). Its state is an atomic and moves
 * only by compare-and-swap: QUEUED -> GRANTED by a releaser on any worker, or QUEUED -> GONE by its
 * owner; nothing else. List nodes are unlinked by their owner afterwards (MECHANISMS §2.4). A
 * GRANTED waiter's memory must outlive the arrival of the server.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/error.h"

struct pool;
struct pool_member;
struct pool_waiter;

enum waiter_state {
    WAITER_NONE,    /* does not wait */
    WAITER_QUEUED,  /* in the queue of its shard, and perhaps in the pool's */
    WAITER_GRANTED, /* a server is on its way, or has just arrived */
    WAITER_GONE,    /* left the queue; nodes are being unlinked */
};

struct pool_waiter {
    _Atomic int state;
    int worker;        /* whose loop it lives on; set by pool_acquire */
    struct pool *pool; /* while not NONE */
    usec_t since;      /* when the wait began: the order of the queue. Kept when a grant failed */
    bool is_over;      /* `since` is of a wait that has ended: the next one begins a new one. False:
                          `since` is kept */
    /* On the waiter's own loop: a server is there (state is GRANTED; pool_waiter_done() first
     * thing), or none will come and why. */
    void (*granted)(struct pool_waiter *waiter, struct pool_member *member);
    void (*refused)(struct pool_waiter *waiter, const struct error *why);
    TAILQ_ENTRY(pool_waiter) local_link;  /* shard's list: this worker only */
    TAILQ_ENTRY(pool_waiter) remote_link; /* pool's list: under its mutex */
    bool in_refused; /* claimed by pool_refuse_waiters, and about to be told; on local_link */
    bool in_local, is_local_only; /* its own worker alone looks at these; local-only: never was in
                                     the pool's list */
    bool in_remote;               /* under the pool's mutex */
};
TAILQ_HEAD(pool_waiters, pool_waiter);

static inline bool waiter_is_waiting(const struct pool_waiter *waiter)
{
    int state = atomic_load_explicit(&waiter->state, memory_order_acquire);
    return state == WAITER_QUEUED || state == WAITER_GRANTED;
}

static inline bool waiter_is_queued(const struct pool_waiter *waiter)
{
    return atomic_load_explicit(&waiter->state, memory_order_acquire) == WAITER_QUEUED;
}

/* For the pool: QUEUED -> `next`. False: somebody else was first. */
static inline bool waiter_claim(struct pool_waiter *waiter, enum waiter_state next)
{
    int queued = WAITER_QUEUED;

    return atomic_compare_exchange_strong_explicit(&waiter->state, &queued, (int)next,
                                                   memory_order_acq_rel, memory_order_acquire);
}

/* For the pool: into a list in the order of `since`; among equals the one that came first stays
 * first. */
void waiters_insert_local(struct pool_waiters *waiters, struct pool_waiter *waiter);
void waiters_insert_remote(struct pool_waiters *waiters, struct pool_waiter *waiter);
/* For the pool: the oldest of a remote list whose state is QUEUED and whose worker is not in
 * `without` (bit w: worker w). */
struct pool_waiter *waiters_oldest_remote(struct pool_waiters *waiters, uint64_t without);
