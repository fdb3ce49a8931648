/* server_check_query: a server that nobody has used for long is asked whether it is still there
 * before somebody gets it (COMPAT 2, note 5). One that does not answer is closed; who waits for it
 * gets another, and sees nothing of it. */
#include <string.h>

#include "server_private.h"

/* Somebody waits meanwhile. */
#define CHECK_LIMIT (5 * USEC_PER_SEC)

bool server_is_stale(const struct server *server)
{
    const struct settings *settings = &server->set->config->settings;
    usec_t idle = loop_now(server->set->loop) - server->member.idle_since;
    return idle >= settings->server_check_delay && settings->server_check_query &&
           settings->server_check_query[0] != '\0' && !server->must_close &&
           pool_member_is_current(&server->member);
}

static const char *query_of(const struct server *server)
{
    const char *query = server->set->config->settings.server_check_query;
    return strcmp(query, "<empty>") == 0 ? "" : query;
}

void server_check(struct server *server)
{
    usec_t limit = server->set->config->settings.server_connect_timeout;
    server_set_not_idle(server);
    server_move_state(server, SERVER_ACTIVE);
    pool_check_begin(server->member.pool, &server->member);
    if (!server_put_query(server, query_of(server))) {
        server_close(server, "test query failed", NULL);
        return;
    }
    deadline_set(&server->set->connect_deadlines, &server->deadline,
                 loop_now(server->set->loop) +
                     (limit > 0 && limit < CHECK_LIMIT ? limit : CHECK_LIMIT));
    server_move_state(server, SERVER_TESTED);
}

const char *server_test_failure(const struct server *server)
{
    return server->member.is_checked ? "test query failed" : "reset query failed";
}
