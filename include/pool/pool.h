/* pool: the servers of one (database entry, pool user), who has them, and who waits for one.
 *
 * Knows members (embedded in servers) and waiters (embedded in clients), not sockets; calls nobody:
 * it returns what is to be done, and the caller (server/) does it. Sharded by worker (MECHANISMS
 * §2.3): each home worker's shard has its idle members and its local waiters, touched by that
 * worker alone, and publishes an atomic idle count; the hit path (an idle member here; a waiter
 * here) takes no lock. The mutex is for misses: remote waiters, opening, closing, sizes. It is
 * never held over I/O or allocation, nor together with that of limits.
 *
 * Keeps true: a member is handed to one waiter; every waiter QUEUED while a member is idle, or may
 * be opened, is found by somebody (no lost wake-up); `size` counts every member from the decision
 * to open to its seen end, and never exceeds what the limits allow; the queue is FIFO over all
 * workers but for waiter_locality.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/histogram.h"
#include "base/table.h"
#include "config/snapshot.h"
#include "pool/limits.h"
#include "pool/wait_queue.h"
#include "pool/wish.h"

#define WORKERS_MAX      64
#define POOL_OPENING_MAX 4 /* logins at once, after the first success (MECHANISMS §6) */
#define POOL_RETRY_FIRST (100 * USEC_PER_MSEC)
#define POOL_RETRY_MAX                                                                             \
    (500 * USEC_PER_MSEC) /* while clients wait; and never more than server_login_retry */

enum member_state {
    MEMBER_OPENING, /* connecting or logging in */
    MEMBER_LENT,    /* with a waiter, or on its way from one to release */
    MEMBER_IDLE,    /* in the idle list of its shard */
    MEMBER_MOVING,  /* in the mail to another worker */
};

/* One server as the pool sees it. On one worker at a time. */
struct pool_member {
    struct pool *pool;
    enum member_state state;
    int worker;
    uint64_t epoch;    /* of the pool, when it was opened */
    bool is_surplus;   /* told to close because there are too many; under the pool's mutex */
    bool is_checked;   /* being asked whether it is still there */
    bool is_dedicated; /* opened for one client, and never anybody else's (pool/wish.h) */
    usec_t opened_at, idle_since;
    TAILQ_ENTRY(pool_member) idle_link;
};
TAILQ_HEAD(pool_members, pool_member);

/* Counters of SHOW STATS (COMPAT 5.3), of one pool on one worker. Written by that worker only. */
struct pool_stats {
    uint64_t server_assignments, xacts, queries, received, sent;
    uint64_t xact_time, query_time, wait_time; /* microseconds */
    uint64_t client_parses, server_parses, binds, client_logins;
    /* Beyond PgBouncer's: how the times are spread. A server that was there at once is no wait. */
    struct histogram waits, queries_took, xacts_took, logins_took;
    uint64_t login_time; /* from accept to the login answer */
};

struct pool_shard {
    struct pool_members idle;    /* most recently used first */
    struct pool_waiters waiters; /* oldest first */
    struct pool_waiters refused; /* out of the queue, about to be told */
    _Atomic int idle_count;      /* published; what others may look at */
    _Atomic int64_t oldest_idle; /* idle_since of the longest idle member; 0: none */
    _Atomic int local_only; /* waiters here that are not in the pool's `remote`; written by this
                               worker alone */
    _Atomic int64_t oldest_waiter; /* `since` of the first in `waiters`; 0: none */
    _Atomic int clients;           /* that live here; for choosing a home */
    int waiter_count;              /* nodes in `waiters` */
    struct pool_stats stats;
} __attribute__((aligned(64)));

/* What the first server said at login (ParameterStatus), for all clients of the pool. Immutable,
 * reference-counted. */
struct pool_welcome {
    _Atomic int references;
    size_t size;
    uint8_t data[]; /* pairs of zero-terminated texts: name, value */
};
void pool_welcome_release(struct pool_welcome *welcome); /* NULL is fine */

enum pool_failure {
    POOL_FAILURE_NONE,
    POOL_FAILURE_PASSING, /* refused connect, DNS, 57P03: tried again soon, waiters wait on */
    POOL_FAILURE_REFUSED, /* the server refuses logins (53300, ...): server_login_retry, waiters are
                             told when no server is left */
    POOL_FAILURE_LOGIN, /* this user or database is refused (28P01, 3D000, ...): waiters are told at
                           once, no pause */
};

/* Whom its servers are for. One pool's never serve another's: what clients send, or leave behind,
 * reaches no server of a pool of lookups. */
enum pool_purpose {
    POOL_OF_CLIENTS,
    POOL_OF_LOOKUPS,   /* server/lookup: auth_query, as the auth_user */
    POOL_OF_PROBES,    /* server/probe: one connection, in no table and no limit */
    POOL_OF_LISTENERS, /* server/subscription: one that listens for the clients of another */
};
/* Servers of a pool of lookups, if its database has no smaller limit. */
#define POOL_LOOKUP_SERVERS_MAX 4

struct pool {
    UT_hash_handle hh; /* of the registry, by key */
    char *key;         /* "database\0user\0", and its purpose: key_size bytes */
    size_t key_size;
    enum pool_purpose purpose;       /* never changes */
    struct database_entry *database; /* a reference; replaced by pool_configure under the mutex */
    char *user_name;                 /* pool user */
    struct user_entry *user;         /* may be NULL; as database */
    struct user_entry *proven;       /* its user as the last login of a client has proved it, where
                                        the configuration has no secret; or NULL. Under the mutex */
    struct effective
        effective; /* copied by pool_configure under the mutex; pool_mode is also in the atomic */
    _Atomic int pool_mode;
    _Atomic int references;
    /* Under the mutex of the registry: its database is not in the configuration, or was killed: it
     * goes when nobody refers to it any more. */
    bool is_removed;
    bool was_killed; /* who asks for it again brings it back */
    usec_t
        idle_since; /* it has had no client and no server since; 0: it has, or nobody has looked */
    int worker_count;
    int number; /* running number in the registry, so that pools spread over the workers */

    pthread_mutex_t mutex;      /* guards what follows up to shards */
    struct pool_waiters remote; /* waiters of pools with several homes, oldest first */
    int size;                   /* members in any state */
    int opening;                /* those of them that are connecting */
    int current;                /* members that were opened in the present epoch */
    int surplus;   /* those of them that were told to close because there are too many */
    int checking;  /* those of them that are being checked, for somebody who waits */
    int dedicated; /* those of them that were opened for one client alone */
    struct pool_wishes wishes; /* for such, oldest first */
    _Atomic int wished;        /* wishes that no place was promised to; written under the mutex */
    bool had_success;          /* some server logged in since the last epoch */
    enum pool_failure failure;
    struct error failure_error;   /* what the last failed attempt said */
    usec_t retry_at, retry_delay; /* 0: no pause */
    usec_t failed_at;             /* when that attempt failed */
    struct pool_welcome *welcome;
    usec_t last_active; /* when somebody last had to wait, or a member ended */
    uint64_t telling;   /* workers whose waiters are being told of a failure: nothing is opened for
                           them... */
    usec_t telling_until; /* ...before this time */

    struct limits_place place; /* under the mutex of limits */
    _Atomic bool is_blocked;   /* waits for a slot of limits; written under the mutex of limits */

    /* Read everywhere, written rarely. */
    /* `size`, and a place for each wish; for the lock-free "is it full?" */
    _Atomic int published_size __attribute__((aligned(64)));
    _Atomic int published_limit;   /* INT_MAX: unlimited */
    _Atomic int published_reserve; /* members over the limit that a long wait may open */
    _Atomic int published_minimum; /* members that the pool keeps while it has clients, or always
                                      (keeps_minimum) */
    _Atomic bool keeps_minimum;    /* its login is in the configuration: it needs no client */
    _Atomic int64_t reserve_timeout;
    _Atomic uint64_t placement; /* bit w: new clients are put on worker w (one for about ten
                                   servers); follows pool_size */
    _Atomic uint64_t homes; /* bit w: members and waiters may be on worker w. Placement, and every
                             * worker on which somebody has waited: bits are only added, for a
                             * waiter that is alone here stays in the local list */
    _Atomic uint64_t epoch;
    _Atomic int pinned; /* clients that keep their server between transactions */
    _Atomic bool is_paused, is_draining;
    _Atomic bool is_round_robin; /* server_round_robin */
    _Atomic int64_t locality;    /* waiter_locality */
    struct limits *limits;

    /* Written whenever somebody waits. */
    _Atomic int remote_waiters __attribute__((aligned(64))); /* seq_cst: MECHANISMS §2.3 */
    _Atomic int waiting;           /* waiters QUEUED on all workers; seq_cst too */
    _Atomic int64_t oldest_remote; /* `since` of the oldest remote waiter; INT64_MAX: none */

    struct pool_shard shards[]; /* worker_count of them */
};

/* What somebody should do next, on worker `worker`; the caller sees to it (at once if it is on that
 * worker, else by message). A pool named here has a reference for the caller. */
enum pool_order {
    POOL_NOTHING,
    POOL_OPEN, /* open a connection there: a place was reserved in the pool and the limits */
    POOL_ASK, /* that worker shall release an idle member for the oldest remote waiter: pool_give */
    POOL_EVICT,    /* that worker shall close an idle member of `pool` (another pool under the same
                      limit, or, for a wish, the same pool): pool_take_idle */
    POOL_DEDICATE, /* open a connection there for a wish: pool_wish_take */
};
struct pool_advice {
    enum pool_order order;
    int worker;
    struct pool *pool;
};

enum pool_verdict {
    POOL_GOT,     /* *member is the caller's */
    POOL_WAIT,    /* the waiter is queued; *advice says what else to do */
    POOL_REFUSED, /* not queued; error says why (draining; cached login failure) */
};

/* `waiter` asks for a member on its own worker at `now`; waiter->since is `now` unless it was set
 * (kept place). waiter->granted/refused are set. */
enum pool_verdict pool_acquire(struct pool *pool, int worker, struct pool_waiter *waiter,
                               usec_t now, struct pool_member **member, struct pool_advice *advice,
                               struct error *error);

/* The same, but it takes nothing that is idle here: one is being checked for it. */
enum pool_verdict pool_wait_for_check(struct pool *pool, int worker, struct pool_waiter *waiter,
                                      usec_t now, struct pool_advice *advice, struct error *error);

/* A member that was given is tried before it is used: nothing else is done for one of those who
 * wait, meanwhile. It ends with pool_check_end, or with the member. */
void pool_check_begin(struct pool *pool, struct pool_member *member);
void pool_check_end(struct pool *pool, struct pool_member *member);

/* The waiter leaves the queue. True: it is out. False: it was GRANTED meanwhile; a member will
 * arrive and `granted` be called. Own worker only. */
bool pool_waiter_leave(struct pool_waiter *waiter);
/* First thing in `granted` and `refused`: unlinks what is left and makes the state NONE. */
void pool_waiter_done(struct pool_waiter *waiter);

/* A member that is free (its work done, or just opened) on this worker: to the oldest waiter, or to
 * the idle list. */
enum pool_release_verdict {
    RELEASE_IDLE,  /* it is in the idle list now */
    RELEASE_GRANT, /* *waiter, on this worker, is GRANTED: call granted */
    RELEASE_MOVE,  /* *waiter, on worker (*waiter)->worker, is GRANTED: send the member there (state
                      MOVING); on arrival call granted */
    RELEASE_CLOSE, /* the member is of an old epoch, too many, or the pool is paused or draining:
                      close it, `*why` says so */
};
enum pool_release_verdict pool_release(struct pool *pool, int worker, struct pool_member *member,
                                       usec_t now, struct pool_waiter **waiter, const char **why);

/* After POOL_OPEN: the member exists from now on (opening). Sets its fields; takes a reference to
 * the pool. */
void pool_member_init(struct pool *pool, struct pool_member *member, int worker, usec_t now);
/* It logged in. `welcome` (one reference, taken over; may be NULL) is kept if the pool has none.
 * Call pool_release next, and do *advice. */
void pool_member_opened(struct pool *pool, struct pool_member *member, struct pool_welcome *welcome,
                        struct pool_advice *advice);
/* It could not be opened. True: the waiters shall be told (pool_refuse_waiters on each worker of
 * `homes`). Call pool_member_closed next. */
bool pool_open_failed(struct pool *pool, enum pool_failure failure, const struct error *error,
                      usec_t now, usec_t login_retry);
/* POOL_OPEN cannot be done (no memory): gives the place back. */
void pool_open_abandoned(struct pool *pool, struct pool_advice *advice);
/* The same of any order: of a place that was promised, if one was. */
void pool_order_abandoned(struct pool *pool, enum pool_order order, struct pool_advice *advice);
/* Its end was seen (in any state; it is off the idle list after this). Gives the place back;
 * *advice may open another (also in the pool that got the slot of limits). Drops the member's
 * reference to the pool. */
void pool_member_closed(struct pool *pool, struct pool_member *member, usec_t now,
                        struct pool_advice *advice);
/* A member that died while it travelled: its waiter is QUEUED again at its old place. Waiter's
 * worker. */
void pool_grant_failed(struct pool *pool, struct pool_waiter *waiter, usec_t now,
                       struct pool_advice *advice);

/* On a worker that was asked (POOL_ASK): the member to give, taken off the idle list (then
 * pool_release it; it may be of an old epoch, which that closes), or NULL: then call
 * pool_reconsider. */
struct pool_member *pool_give(struct pool *pool, int worker);
/* For evicting and idle time-outs: the longest idle member here, taken off the list (state LENT),
 * or NULL. */
struct pool_member *pool_take_idle(struct pool *pool, int worker);
/* Takes this idle member off its list (its own worker): the server found it dead or too old. */
void pool_unlist(struct pool *pool, struct pool_member *member);

/* Is there something to do for those who wait (retry time reached, a place free)? For upkeep and
 * after changes (also a resume). Any thread. Call it again after doing a POOL_OPEN: a pool whose
 * servers answer may open several at once. */
void pool_reconsider(struct pool *pool, usec_t now, struct pool_advice *advice);
/* A member short of min_pool_size: opens one, where the limits have room without evicting. For
 * upkeep. */
void pool_fill(struct pool *pool, usec_t now, struct pool_advice *advice);
/* Refuses every waiter that is on this worker: calls `refused` of each. */
void pool_refuse_waiters(struct pool *pool, int worker, const struct error *why);

/* Welcome with a reference, or NULL when no server has logged in yet. */
struct pool_welcome *pool_welcome_acquire(struct pool *pool);
struct pool_welcome *pool_welcome_create(const void *pairs, size_t size);

/* KILL, RECONNECT, RELOAD with other connection settings: members opened before are closed at
 * release, arrival or when idle. Forgets the welcome and the failure. */
void pool_raise_epoch(struct pool *pool);

/* The worker on which a new client shall live: a home of the pool (about one for ten servers), the
 * one with fewest clients. */
int pool_choose_home(struct pool *pool);
void pool_client_arrived(struct pool *pool, int worker);
void pool_client_left(struct pool *pool, int worker);

/* Copies, or takes references, under the mutex: pool_configure may replace them at any time. The
 * user may be NULL. */
void pool_effective(struct pool *pool, struct effective *effective);
struct database_entry *pool_database_acquire(struct pool *pool);
struct user_entry *pool_user_acquire(struct pool *pool);
/* The secret that a client has just proved, for servers of its pool (COMPAT 4.6): takes a reference
 * of its own. NULL: forgets it. */
void pool_set_proven(struct pool *pool, struct user_entry *user);
struct user_entry *pool_proven_acquire(struct pool *pool);
/* The same, if it has none yet. */
void pool_offer_proven(struct pool *pool, struct user_entry *user);
/* A server has refused it: forgotten, if it is still this one. */
void pool_forget_proven(struct pool *pool, const struct user_entry *user);

/* No server of it is there, and the last attempt to open one failed: with this error. */
bool pool_is_failing(struct pool *pool, struct error *error);

struct pool *pool_acquire_reference(struct pool *pool);
void pool_release_reference(struct pool *pool);

static inline struct pool_stats *pool_stats(struct pool *pool, int worker)
{
    return &pool->shards[worker].stats;
}

/* False: it was opened under settings that no longer hold, or before a KILL or RECONNECT; it must
 * be closed. */
/* The member is to be closed when it is free, as one of an old epoch. On its own thread. */
void pool_member_outdate(struct pool_member *member);

static inline bool pool_member_is_current(const struct pool_member *member)
{
    return member->epoch == atomic_load_explicit(&member->pool->epoch, memory_order_acquire);
}
