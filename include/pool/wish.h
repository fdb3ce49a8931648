/* wish: who wants a connection of its own, which nobody else will ever have (replication).
 *
 * A wish waits for a place in its pool and under the limits, not for a member: in order of asking,
 * in front of those who would open an ordinary one, and while it waits it counts in the pool's
 * published size, so that the next member that becomes free, or an idle one, is closed for it. The
 * place is promised to the wish's worker (POOL_DEDICATE), which takes the wish and opens the
 * connection; a wish that has left by then gives its place back.
 *
 * Embedded in whoever wants (server/dedicated). The lists are under the pool's mutex; all functions
 * are called on the wish's own worker.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/clock.h"

struct pool;
struct pool_advice;
struct pool_member;

struct pool_wish {
    struct pool *pool; /* while it waits; borrowed */
    int worker;
    usec_t since;     /* the order of the list; kept when the connection could not be opened */
    bool is_promised; /* a place is on its way to its worker */
    TAILQ_ENTRY(pool_wish) link;
};
TAILQ_HEAD(pool_wishes, pool_wish);

/* Waits from now on, as if since `since`; *advice says what else to do. */
void pool_wish_make(struct pool *pool, struct pool_wish *wish, int worker, usec_t since, usec_t now,
                    struct pool_advice *advice);
/* Waits no longer (idempotent); *advice may open something for others. */
void pool_wish_leave(struct pool_wish *wish, usec_t now, struct pool_advice *advice);
/* After POOL_DEDICATE on this worker: the wish that the place is for, out of the list; NULL: it has
 * left, then pool_dedicated_abandoned. */
struct pool_wish *pool_wish_take(struct pool *pool, int worker);

/* The place cannot be used: gives it back. */
void pool_dedicated_abandoned(struct pool *pool, struct pool_advice *advice);
/* The member exists from now on: LENT until pool_member_closed, and never in the idle list. */
void pool_dedicated_init(struct pool *pool, struct pool_member *member, int worker, usec_t now);
