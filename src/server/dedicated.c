#include "server/dedicated.h"

#include "base/memory.h"
#include "server_private.h"

static struct server_dedicated *of_wish(struct pool_wish *wish)
{
    return (struct server_dedicated *)((char *)wish - offsetof(struct server_dedicated, wish));
}

static void refuse(struct server_dedicated *dedicated, const char *sqlstate, const char *text)
{
    struct error why;
    error_set(&why, sqlstate, "%s", text);
    dedicated->refused(dedicated, &why);
}

static void wait_for_place(struct server_dedicated *dedicated)
{
    struct server_set *set = dedicated->set;
    struct pool_advice advice = {.order = POOL_NOTHING};
    if (atomic_load(&dedicated->pool->is_draining)) {
        refuse(dedicated, SQLSTATE_ADMIN_SHUTDOWN, "server shutting down");
        return;
    }
    pool_wish_make(dedicated->pool, &dedicated->wish, set->worker, dedicated->since,
                   loop_now(set->loop), &advice);
    server_follow(set, &advice);
}

void server_dedicated_ask(struct server_dedicated *dedicated)
{
    dedicated->since = loop_now(dedicated->set->loop);
    wait_for_place(dedicated);
}

void server_dedicated_leave(struct server_dedicated *dedicated)
{
    struct server_set *set = dedicated->set;
    struct pool_advice advice = {.order = POOL_NOTHING};
    struct server *server = dedicated->server;
    if (server) {
        dedicated->server = NULL;
        server->dedicated = NULL;
        server_close(server, "replication client was closed", NULL);
    }
    pool_wish_leave(&dedicated->wish, loop_now(set->loop), &advice);
    server_follow(set, &advice);
    pool_welcome_release(dedicated->welcome);
    dedicated->welcome = NULL;
}

void server_dedicated_place(struct server_set *set, struct pool *pool)
{
    struct pool_wish *wish = pool_wish_take(pool, set->worker);
    struct pool_advice advice = {.order = POOL_NOTHING};
    if (wish && server_open_dedicated(set, pool, of_wish(wish)))
        return;
    pool_dedicated_abandoned(pool, &advice);
    if (wish)
        refuse(of_wish(wish), SQLSTATE_OUT_OF_MEMORY, "out of memory");
    server_follow(set, &advice);
}

void server_dedicated_opened(struct server *server, struct pool_welcome *welcome)
{
    struct server_dedicated *dedicated = server->dedicated;
    pool_welcome_release(dedicated->welcome);
    dedicated->welcome = welcome;
}

void server_dedicated_granted(struct server *server)
{
    struct server_dedicated *dedicated = server->dedicated;
    server->dedicated = NULL;
    dedicated->server = NULL;
    dedicated->granted(dedicated, server);
}

void server_dedicated_lost(struct server *server, const struct error *why)
{
    struct server_dedicated *dedicated = server->dedicated;
    server->dedicated = NULL;
    dedicated->server = NULL;
    if (server->login_was_refused)
        dedicated->refused(dedicated, why);
    else
        wait_for_place(dedicated);
}
