/* limits: the one place that says yes to a new server connection, for limits above a pool:
 * max_db_connections, max_user_connections.
 *
 * One mutex for all of them, taken only when a connection opens or closes, never together with a
 * pool's mutex, never over I/O or allocation of unknown size. A slot is reserved before a
 * connection is opened and given back when its end was seen. Each limit keeps the pools that it
 * blocks in order of their asking; a freed slot goes to the oldest as a reservation of its own
 * (MECHANISMS §2.7). Any thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct pool;
struct limit;
struct limits;

enum limit_kind { LIMIT_DATABASE, LIMIT_USER };
#define LIMIT_KINDS 2

/* What one pool has of one limit, and its place in that limit's lists. Under the mutex of limits.
 */
struct limits_share {
    struct pool *pool;
    struct limit *limit; /* NULL before the first reservation */
    int max;             /* when it last asked; 0: no limit */
    TAILQ_ENTRY(limits_share) holder_link, blocked_link;
};

/* Embedded in each pool; zero at first. Under the mutex of limits. */
struct limits_place {
    struct limits_share shares[LIMIT_KINDS];
    int slots;      /* that this pool has */
    int coming;     /* those of them that limits_wants_back() called back */
    uint64_t asked; /* order of asking, while blocked */
};

struct limits *limits_create(void);
void limits_destroy(struct limits *limits);

enum limits_verdict { LIMITS_RESERVED, LIMITS_BLOCKED, LIMITS_NO_MEMORY };

/* Reserves one slot for `pool` under its database's and its user's limits (the values that are in
 * the pool now), or notes it as blocked (once). When blocked: `*victim` is a pool under the same
 * limit with an idle server to evict, and `*victim_worker` where (victim NULL: none). The victim
 * has a reference for the caller. */
enum limits_verdict limits_reserve(struct limits *limits, struct pool *pool, struct pool **victim,
                                   int *victim_worker);

/* Gives back a slot. Returns the oldest blocked pool that now holds a reservation (counted for it;
 * it must open a connection or give back), with a reference; NULL: none. Call again for what
 * limits_release returned only if that pool gives back. */
struct pool *limits_release(struct limits *limits, struct pool *pool);

/* Notes `pool` as blocked without reserving, as when its freed slot has just gone to an older one
 * (NO_MEMORY: it is not noted). */
enum limits_verdict limits_stand_in_line(struct limits *limits, struct pool *pool);

/* The pool no longer waits for a slot. Does nothing while somebody waits in it. */
void limits_forget(struct limits *limits, struct pool *pool);

/* A member of `pool` is about to become idle: true when a pool that waits for a slot under the same
 * limit should have its place, so that the member must be closed (limits_release follows). */
bool limits_wants_back(struct limits *limits, struct pool *pool);

/* The pool ends: forgets it. It has no slot. */
void limits_detach(struct limits *limits, struct pool *pool);

/* Servers now counted, for SHOW DATABASES and SHOW USERS. */
int limits_database_count(struct limits *limits, const char *database);
int limits_user_count(struct limits *limits, const char *user);
