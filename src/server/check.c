/* server_check_query: a server that nobody has used for long is asked whether it is still there
 * before somebody gets it (COMPAT 2, note 5). One that does not answer is closed; who waits for it
 * gets another, and sees nothing of it. */
#include <string.h>

#include "base/memory.h"
#include "server_private.h"
#include "wire/build.h"

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

static bool put_query(struct server *server, const char *query)
{
    struct bytes out;
    bytes_init(&out, strlen(query) + 64);
    build_query(&out, query);
    bool ok = bytes_ok(&out) && ledger_has_room(&server->ledger, 1) &&
              stream_put(&server->stream, out.data, out.size);
    bytes_finish(&out);
    return ok;
}

void server_check(struct server *server)
{
    usec_t limit = server->set->config->settings.server_connect_timeout;
    server_set_not_idle(server);
    server_move_state(server, SERVER_ACTIVE);
    pool_check_begin(server->member.pool, &server->member);
    if (!put_query(server, query_of(server))) {
        server_close(server, "test query failed", NULL);
        return;
    }
    server->unnamed_owner = 0; /* a simple Query drops it */
    ledger_expect(&server->ledger, LEDGER_QUERY, LEDGER_SWALLOW, 0, NULL);
    deadline_set(&server->set->connect_deadlines, &server->deadline,
                 loop_now(server->set->loop) +
                     (limit > 0 && limit < CHECK_LIMIT ? limit : CHECK_LIMIT));
    server_move_state(server, SERVER_TESTED);
}

const char *server_test_failure(const struct server *server)
{
    return server->member.is_checked ? "test query failed" : "reset query failed";
}
