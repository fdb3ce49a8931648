/* pool_fakes: pools without a configuration file, and members and waiters without sockets.
 *
 * A fake pool holds on to a database entry and settings of its own; fake_pool_finish() asserts that
 * nobody else refers to the pool any more.
 */
#pragma once
#include "../src/pool/pool_private.h"
#include "pool/pool.h"

struct fake_pool_options {
    const char *database, *user; /* NULL: "shop", "anna" */
    int workers;                 /* 0: 1 */
    int number;                  /* worker `number + 1` modulo workers is the first home */
    int pool_size;               /* 0: unlimited */
    int max_db_connections, max_user_connections;
    usec_t locality;
    bool round_robin;
};

struct fake_pool {
    struct pool *pool;
    struct config config;
    struct database_entry database;
};

void fake_pool_init(struct fake_pool *fake, struct limits *limits,
                    const struct fake_pool_options *options);
/* As a reload would. */
void fake_pool_resize(struct fake_pool *fake, int pool_size);
void fake_pool_limit(struct fake_pool *fake, int max_db_connections);
void fake_pool_finish(struct fake_pool *fake);

/* A waiter that notes what it was told. */
struct fake_waiter {
    struct pool_waiter waiter;
    struct pool_member *member; /* granted */
    int refusals;
    struct error why;
};
void fake_waiter_init(struct fake_waiter *fake);

/* Does what a POOL_OPEN says, up to the connecting; drops the advice's reference. */
void fake_open(struct pool_member *member, const struct pool_advice *advice, usec_t now);
/* Lets a waiter of its own ask on `worker`, and a new member log in and be granted to it. The pool
 * must have room. */
void fake_lend(struct pool *pool, int worker, struct pool_member *member, usec_t now);
/* Releases a member that nobody waits for: it must become idle. */
void fake_rest(struct pool_member *member, usec_t now);
/* Ends a member; any advice is claimed to be `order`, and is dropped. */
void fake_end(struct pool_member *member, usec_t now, enum pool_order order);
void fake_drop(const struct pool_advice *advice);
