#include "pool/wait_queue.h"

#include <stddef.h>

/* Nearly always a waiter is the newest; only one whose grant failed comes back to an older place.
 */
void waiters_insert_local(struct pool_waiters *waiters, struct pool_waiter *waiter)
{
    struct pool_waiter *before = TAILQ_LAST(waiters, pool_waiters);

    while (before != NULL && before->since > waiter->since)
        before = TAILQ_PREV(before, pool_waiters, local_link);
    if (before != NULL)
        TAILQ_INSERT_AFTER(waiters, before, waiter, local_link);
    else
        TAILQ_INSERT_HEAD(waiters, waiter, local_link);
}

void waiters_insert_remote(struct pool_waiters *waiters, struct pool_waiter *waiter)
{
    struct pool_waiter *before = TAILQ_LAST(waiters, pool_waiters);

    while (before != NULL && before->since > waiter->since)
        before = TAILQ_PREV(before, pool_waiters, remote_link);
    if (before != NULL)
        TAILQ_INSERT_AFTER(waiters, before, waiter, remote_link);
    else
        TAILQ_INSERT_HEAD(waiters, waiter, remote_link);
}

struct pool_waiter *waiters_oldest_remote(struct pool_waiters *waiters, uint64_t without)
{
    struct pool_waiter *waiter;

    TAILQ_FOREACH (waiter, waiters, remote_link) {
        if (waiter_is_queued(waiter) && (without & UINT64_C(1) << waiter->worker) == 0)
            return waiter;
    }
    return NULL;
}
