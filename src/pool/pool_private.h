/* pool_private: what the files of this room share.
 *
 * pool.c has the pool's life and its shards' hit path, pool_queue.c who waits, pool_growth.c the
 * members' beginning and end. Locks: the pool's mutex and that of limits are never held together.
 */
#pragma once
#include "pool/pool.h"

/* A worker that has not told its waiters of a failure after this time never will. */
#define POOL_TELLING_MAX USEC_PER_SEC

static inline uint64_t worker_bit(int worker)
{
    return UINT64_C(1) << worker;
}

/* A pool with one reference, not configured yet; NULL: no memory. */
struct pool *pool_create(struct limits *limits, const char *database, const char *user,
                         enum pool_purpose purpose, int worker_count, int number);
/* What the registry finds a pool by; the caller's to free. NULL: no memory. */
char *pool_key(const char *database, const char *user, enum pool_purpose purpose, size_t *size);
/* Takes the caller's references to `database` and `user` (which may be NULL). Raises the epoch when
 * connections of before are no longer right. */
void pool_configure(struct pool *pool, const struct config *config, struct database_entry *database,
                    struct user_entry *user);

/* Moves the members that `shard` has idle; its own worker only. */
void shard_put_idle(struct pool_shard *shard, struct pool_member *member, usec_t now);
void shard_take_idle(struct pool_shard *shard, struct pool_member *member);

/* ---- pool_queue.c ---- */

/* No member is to be had on `worker` now: queues the waiter, or refuses. */
enum pool_verdict pool_wait(struct pool *pool, int worker, struct pool_waiter *waiter, usec_t now,
                            struct pool_advice *advice, struct error *error);
/* Takes the waiter that a free member on `worker` goes to out of the queue, GRANTED; NULL: none. */
struct pool_waiter *pool_claim_waiter(struct pool *pool, int worker, usec_t now);
/* The same, among the waiters of the pool's list. */
struct pool_waiter *pool_claim_remote(struct pool *pool, int worker);
/* Brings the waiters of this worker, its own, into the pool's list as well. Under the mutex. */
void pool_register_waiters(struct pool *pool, int worker);

/* ---- pool_growth.c ---- */

/* For whom, and how, something is to be done. */
struct pool_need {
    usec_t now;
    int worker;      /* where to open; -1: where the oldest waiter is */
    int served;      /* this many waiters are about to be served without it */
    bool is_arrival; /* a waiter has just come: it may try before a passing failure's pause is over
                      */
    bool is_filling; /* nobody waits: up to min_pool_size */
    bool asks_again; /* asks limits although the pool stands in line there */
};
/* What to do for those who wait. Called with the mutex held; returns with it released. */
void pool_advise(struct pool *pool, const struct pool_need *need, struct pool_advice *advice);
/* May a client not even wait? Under the mutex. */
bool pool_refuses(const struct pool *pool, usec_t now, struct error *error);
/* `size` or `wished` has changed. Under the mutex. */
void pool_publish_size(struct pool *pool);
/* Gives one slot of `from` back to limits; the oldest pool that waits for one opens. */
void pool_pass_slot_on(struct pool *from, usec_t now, struct pool_advice *advice);
/* A member must close because there are more than the limit allows. */
bool pool_claim_surplus(struct pool *pool, struct pool_member *member);

/* ---- pool_wish.c. Under the mutex ---- */

/* A wish waits, and a connection may be opened for it, as far as the pool itself is concerned. */
bool pool_wishes_may_open(struct pool *pool, usec_t now);
/* A wish waits, and the pool is full: an idle member is to be closed for it. */
bool pool_wishes_need_room(struct pool *pool);
/* Takes a place for the oldest wish that has none; returns its worker. */
int pool_wishes_promise(struct pool *pool);
