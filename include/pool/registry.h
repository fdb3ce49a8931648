/* registry: which pools exist.
 *
 * Owns the table of pools by (database name, pool user, purpose), with a mutex that logins and
 * upkeep take, never a query. A pool stays while it is referred to or its database is in the
 * configuration.
 */
#pragma once
#include "pool/pool.h"

struct registry;

struct registry *registry_create(int worker_count);
void registry_destroy(struct registry *registry);
struct limits *registry_limits(struct registry *registry);

/* The pool of this database entry and pool user, made if need be, configured from `config`; with a
 * reference. NULL: no memory. */
struct pool *registry_pool(struct registry *registry, const struct config *config,
                           struct database_entry *database, const char *pool_user);
/* The same, of those whose servers are never lent to clients: `pool_user` is the auth_user. */
struct pool *registry_lookup_pool(struct registry *registry, const struct config *config,
                                  struct database_entry *database, const char *pool_user);

/* One that stands in no table and holds no place of any limit, for one connection (server/probe).
 */
struct pool *registry_probe_pool(struct registry *registry, const struct config *config,
                                 struct database_entry *database, const char *user);

/* The same, for the one connection that listens for the clients of registry_pool(). */
struct pool *registry_listen_pool(struct registry *registry, const struct config *config,
                                  struct database_entry *database, const char *pool_user);

/* After a reload: every pool takes over the sizes and modes of `config`; those whose
 * connection_fingerprint changed, or whose database is gone, get a new epoch. Calls back for each
 * pool whose database is gone (borrowed): its clients shall be told "database removed". */
void registry_configure(struct registry *registry, const struct config *config,
                        void (*removed)(struct pool *, void *), void *argument);

/* Calls back for each pool in order of (database, user); borrowed for the call; the registry's
 * mutex is held: short work only. */
void registry_each(struct registry *registry, void (*call)(struct pool *, void *), void *argument);
/* An array of all pools with a reference each (caller releases and frees with memory_free). */
struct pool **registry_list(struct registry *registry, size_t *count);
/* Every pool is draining (shutdown): acquire refuses, releases close. */
void registry_drain(struct registry *registry);
int registry_count(struct registry *registry);

/* Forgets pools that have had no client and no server for so long, with their statistics; 0: never.
 * For upkeep, from time to time. */
struct registry_idle_limits {
    usec_t pool; /* pool_idle_timeout; not for those that min_pool_size keeps */
    usec_t
        automatic; /* autodb_idle_timeout: of databases made from '*', while they are not paused */
};
void registry_forget_idle(struct registry *registry, const struct registry_idle_limits *limits,
                          usec_t now);

/* What operators order. `database` NULL: all of them. What was ordered holds for pools that are
 * made later, too. */
enum registry_verdict { REGISTRY_DONE, REGISTRY_ALREADY, REGISTRY_NO_MEMORY };
/* Paused pools lend and open nothing; what comes back is closed. */
enum registry_verdict registry_pause(struct registry *registry, const char *database, bool paused);
/* KILL: `database`, or every one that has a pool, is paused; its servers are outdated, and its
 * pools go with their statistics as soon as nobody refers to them. False: no memory. */
bool registry_kill(struct registry *registry, const char *database);
/* Is any database paused, or all of them? */
bool registry_has_paused(struct registry *registry);
bool registry_is_paused(struct registry *registry, const char *database);
/* A disabled database takes no new clients. False: no memory. */
bool registry_disable(struct registry *registry, const char *database, bool disabled);
bool registry_is_disabled(struct registry *registry, const char *database);
/* Servers opened so far are closed as soon as they are free. */
void registry_reconnect(struct registry *registry, const char *database);
/* How many there are, on all workers; `outdated`: only those that a reconnect will close. */
int registry_servers(struct registry *registry, const char *database, bool outdated);
