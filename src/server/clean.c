/* What clients left on a server is undone before anybody else gets it: exactly what their texts may
 * have touched, in one write behind the parting. A server that nobody touched costs nothing.
 * DESIGN §5, MECHANISMS §4.7, §4.9. */
#include "ledger/session_state.h"
#include "server_private.h"
#include "wire/build.h"

/* As for the reset query, where server_connect_timeout is off. */
#define CLEANING_LIMIT (15 * USEC_PER_SEC)
#define QUERY_SIZE     512

struct remedy {
    uint32_t kinds;
    const char *query;
};

/* In this order: who it is first, for that decides what may be reset. All of them may stand in a
 * block, and work unprivileged, on a standby and in a read-only transaction. */
static const struct remedy remedies[] = {
    {SESSION_ROLE | SESSION_APPLIED, "RESET SESSION AUTHORIZATION; RESET ROLE; "},
    {SESSION_SETTINGS | SESSION_APPLIED, "RESET ALL; "},
    {SESSION_CURSOR, "CLOSE ALL; "},
    {SESSION_LISTEN, "UNLISTEN *; "},
    {SESSION_TEMP, "DISCARD TEMP; "},
    {SESSION_SEQUENCE, "DISCARD SEQUENCES; "},
    {SESSION_PREPARE, "DEALLOCATE ALL; "},
    {SESSION_ADVISORY, "SELECT pg_catalog.pg_advisory_unlock_all(); "},
};

/* A block of its own first, whatever the session's defaults for transactions have become. */
static bool put_queries(struct server *server, uint32_t dirt)
{
    uint8_t memory[QUERY_SIZE + 128];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_query(&out, SESSION_BEGIN);
    size_t mark = message_begin(&out, 'Q');
    bytes_text(&out, "SET LOCAL statement_timeout = 0; ");
    for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
        if (dirt & remedies[i].kinds)
            bytes_text(&out, remedies[i].query);
    bytes_text(&out, "COMMIT");
    bytes_u8(&out, 0);
    message_end(&out, mark);
    if (!bytes_ok(&out) || !ledger_has_room(&server->ledger, 2) ||
        !stream_put(&server->stream, out.data, out.size))
        return false;
    for (int i = 0; i < 2; i++)
        ledger_expect(&server->ledger, LEDGER_QUERY, LEDGER_SWALLOW, 0, NULL);
    return true;
}

/* A profile is known as a whole, or not at all. */
static uint32_t with_profile(struct server *server, uint32_t dirt)
{
    if (!(dirt & (SESSION_SETTINGS | SESSION_ROLE | SESSION_PREPARE | SESSION_APPLIED)))
        return dirt;
    if (server->profile)
        dirt |= SESSION_APPLIED;
    if (server->profile && server->profile->prepared_count > 0)
        dirt |= SESSION_PREPARE;
    server_set_profile(server, NULL);
    return dirt;
}

bool server_clean_profile(struct server *server)
{
    bool is_there = server->profile || server->dirt & SESSION_APPLIED;
    return !is_there || put_queries(server, with_profile(server, SESSION_APPLIED));
}

void server_clean(struct server *server)
{
    uint32_t dirt = server->dirt;
    server->dirt = 0;
    if (dirt & SESSION_LOAD) {
        server_close(server, "a client has loaded a library", NULL);
        return;
    }
    if (dirt & SESSION_UNKNOWN)
        dirt = SESSION_DOUBT;
    if (!put_queries(server, with_profile(server, dirt))) {
        server_close(server, "out of memory", NULL);
        return;
    }
    usec_t limit = server->set->config->settings.server_connect_timeout;
    deadline_set(&server->set->connect_deadlines, &server->deadline,
                 loop_now(server->set->loop) + (limit > 0 ? limit : CLEANING_LIMIT));
    server_move_state(server, SERVER_TESTED);
}
