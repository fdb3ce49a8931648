/* server_set: the servers of one worker, and what they share. That worker's thread. */
#pragma once
#include "auth/key_cache.h"
#include "auth/password_cache.h"
#include "base/tally.h"
#include "net/resolver.h"
#include "server/server.h"

TAILQ_HEAD(server_list, server);
struct side_cancel; /* of server/cancel */
TAILQ_HEAD(side_cancels, side_cancel);
struct forward; /* of server/peer */
TAILQ_HEAD(forwards, forward);
struct lookup; /* of server/lookup */
TAILQ_HEAD(lookups, lookup);
struct listening; /* of server/listening */
TAILQ_HEAD(listenings, listening);
struct subscription_board; /* of server/subscription */
TAILQ_HEAD(subscription_boards, subscription_board);

/* What is remembered of a pool on this worker; pools whose numbers are equal modulo
 * SERVER_POOL_NOTES share `host` and `address`. */
#define SERVER_POOL_NOTES 64
struct server_pool_note {
    unsigned host, address; /* the next of the list of hosts, of a name's addresses */
    int pool_number;        /* whose lifetime_closed it is */
    usec_t lifetime_closed; /* when a server was last closed for its age */
};

struct server_set {
    struct loop *loop;
    int worker; /* index */
    int worker_count;
    struct server_set **siblings; /* of all workers, this one too; fixed before threads start. Only
                                     to address messages */
    const struct config *config;  /* this worker's snapshot; swapped by worker/ */
    struct resolver *resolver;
    struct offload *offload;
    struct key_cache *key_cache;   /* salted SCRAM keys; shared, has a mutex of its own */
    struct key_cache *client_keys; /* of clients' own logins (auth/client_keys); shared as well */
    struct password_cache *password_cache; /* clients' that were right; shared as well */
    const struct parameter_names *parameter_names;
    _Atomic uint64_t *ids; /* one counter for clients and servers of the process */
    struct server_list servers;
    int count;
    struct deadline_list connect_deadlines, idle_deadlines, cancel_deadlines, recovery_deadlines,
        lookup_deadlines, forward_deadlines, listening_deadlines;
    uint64_t moves; /* servers that came from other workers */
    uint64_t opened;
    struct tally errors; /* that servers said, and logins that failed */
    struct side_cancels cancels, waiting_cancels;
    int cancels_under_way;    /* length of the first list */
    struct forwards forwards; /* cancel requests that are passed on to peers */
    struct lookups lookups;
    struct listenings listenings;      /* whose home this worker is */
    struct subscription_boards boards; /* of pools whose clients here listen */
    struct server_pool_note notes[SERVER_POOL_NOTES];
    bool is_shutting_down;
};

bool server_set_init(struct server_set *set);
void server_set_finish(struct server_set *set); /* closes all */

/* After a reload or an epoch: closes idle servers of old epochs and those over age. */
void server_set_sweep(struct server_set *set);
/* KILL: closes those of database `name`, or of all. Their clients have been closed before. */
void server_set_kill_database(struct server_set *set, const char *name);
/* How many have unsent output; `close`: those are closed ("suspend_timeout"). */
int server_set_unsent(struct server_set *set, bool close);
/* Sends to the worker `worker` of the siblings an order for `pool` (takes over the reference in
 * it): open, give, evict, or refuse waiters. Any order is done at once when it is for this worker.
 */
void server_set_order(struct server_set *set, enum pool_order order, int worker, struct pool *pool);
/* Every worker refuses its waiters of `pool` with `why`. */
void server_set_refuse_all(struct server_set *set, struct pool *pool, const struct error *why);
