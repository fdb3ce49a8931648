/* dedicated: a server that is opened for one client and closed with it (replication).
 *
 * Embedded in what asks for one. The server logs in with startup parameters of its client's, is
 * handed over once, and never goes to its pool: it only has a place there (pool/wish.h). What
 * cannot be reached is tried again at the old place in the line; what the server says no to is
 * told. That client's worker.
 */
#pragma once
#include "pool/wish.h"
#include "server/server.h"
#include "wire/startup.h"

#define DEDICATED_PARAMETERS_MAX 96

struct server_dedicated {
    struct pool_wish wish;
    struct server_set *set;
    struct pool *pool;     /* borrowed: the client has a reference */
    struct server *server; /* while it is opened, and until `granted` */
    usec_t since;
    bool is_physical; /* no SQL can be said there: no connect_query */
    /* In its startup message, behind the entry's own; they live as long as this. */
    struct startup_parameter parameters[DEDICATED_PARAMETERS_MAX];
    size_t parameter_count;
    struct pool_welcome *welcome; /* what it said at login; a reference */
    /* The server is there, ready to be attached; or none will be, and why. Called once, on the
     * worker that asked, perhaps before server_dedicated_ask returns (refused). */
    void (*granted)(struct server_dedicated *dedicated, struct server *server);
    void (*refused)(struct server_dedicated *dedicated, const struct error *why);
};

/* set, pool, parameters and functions are there. */
void server_dedicated_ask(struct server_dedicated *dedicated);
/* It is not wanted any more: neither function is called from now on. Idempotent. */
void server_dedicated_leave(struct server_dedicated *dedicated);
