/* lookup: one query of our own, for a name: auth_query (COMPAT 4.5, THREATS §2.5).
 *
 * Runs on a server of a pool of lookups (registry_lookup_pool), which is never lent to a client and
 * whose search_path is fixed. It belongs to itself: who asked may go, the answer comes all the
 * same. All on the worker that began it.
 */
#pragma once
#include "auth/user_cache.h"
#include "server/server_set.h"

/* Borrowed for the call; `pool` too. */
struct lookup_request {
    struct pool *pool;
    const char *query; /* with $1 */
    const char *name;
    /* Called once, perhaps before lookup_start is back; `news` is borrowed. */
    void (*answer)(void *argument, const struct user_cache_news *news);
    void *argument;
};
void lookup_start(struct server_set *set, const struct lookup_request *request);

/* All of them fail (shutdown). */
void lookup_finish_all(struct server_set *set);
/* The expired function of the set's lookup_deadlines. */
void lookup_expired(struct deadline *deadline, struct deadline_list *list);
