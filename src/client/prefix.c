/* What brings a server to its client's settings, in front of the client's first message and in the
 * same write; and what becomes of the message when that fails (MECHANISMS §4.1-4.3).
 *
 * Settings go in a block of their own, whose failure leaves the server in a failed transaction: the
 * client's unit behind it has no effect. The client is told the setting's error, once for the unit,
 * and the server is cleared up without it. So it is with each unit until the client has reset the
 * setting, or set it anew: nothing of it ever runs without what it has set (src/client/mend.c).
 *
 * A statement of SQL's PREPARE that cannot be made again is no such failure: PostgreSQL says so
 * where it is used.
 */
#include "client_private.h"
#include "ledger/session_prepared.h"
#include "requests.h"
#include "wire/build.h"

#define PREFIX_MAX                                                                                 \
    (PARAMETER_WANTED_MAX * (2 * PARAMETER_VALUE_MAX + 256) +                                      \
     SESSION_SETTINGS_MAX * (3 * (SESSION_VALUE_MAX + SESSION_NAME_MAX) + 128))

/* Messages of the prefix, by their kinds. */
struct prefix {
    struct bytes out;
    int closes, queries, prepares;
};

static bool build(struct client *client, struct prefix *prefix)
{
    const struct server *server = client->server;
    struct session_change change = {server->profile, client->profile};
    prefix->closes = session_prepared_close(change.from, change.to, &prefix->out);
    if (prefix->closes > 0)
        build_simple(&prefix->out, 'S');
    prefix->queries = 0;
    if (session_profile_settings_hash(change.from) != session_profile_settings_hash(change.to) ||
        wanted_parameters_differ(&client->wanted, &server->parameters)) {
        prefix->queries =
            wanted_parameters_prefix(&client->wanted, &server->parameters,
                                     client->set->shared->parameter_names, change, &prefix->out);
        if (prefix->queries == 0)
            return false;
    }
    prefix->prepares = session_prepared_make(change.from, change.to, &prefix->out);
    return bytes_ok(&prefix->out);
}

static void expect(struct ledger *ledger, enum ledger_kind kind, int count, uint8_t answer)
{
    for (int i = 0; i < count; i++)
        ledger_expect(ledger, kind, LEDGER_SWALLOW, answer, NULL);
}

bool prefix_put(struct client *client, bool moves)
{
    struct server *server = client->server;
    struct prefix prefix;
    bytes_init(&prefix.out, PREFIX_MAX);
    bool ok =
        build(client, &prefix) && stream_put(&server->stream, prefix.out.data, prefix.out.size);
    bytes_finish(&prefix.out);
    if (!ok) {
        client_close(client, "out of memory");
        return false;
    }
    expect(&server->ledger, LEDGER_CLOSE, prefix.closes, 0);
    expect(&server->ledger, LEDGER_SYNC, prefix.closes > 0, 0);
    expect(&server->ledger, LEDGER_QUERY, prefix.queries, 0);
    expect(&server->ledger, LEDGER_QUERY, prefix.prepares, LEDGER_MAY_FAIL);
    int in_front = (prefix.closes > 0) + prefix.queries;
    client->prefix_left = (uint8_t)(in_front + prefix.prepares);
    client->prepares = (struct prefix_prepares){
        .in_front = (uint8_t)in_front, .left = (uint8_t)prefix.prepares, .bit = 1};
    if (moves)
        server->dirt |= SESSION_APPLIED;
    if (prefix.prepares > 0)
        server->dirt |= SESSION_PREPARE;
    return true;
}

/* -- confirmed
 * ------------------------------------------------------------------------------------------------
 */

static void no_memory(struct client *client)
{
    struct error error;
    error_set(&error, SQLSTATE_OUT_OF_MEMORY, "out of memory for the session's settings");
    client->server->must_close = true;
    client_refuse(client, &error);
}

/* The server's session is the client's now, but for statements that could not be made. */
static void adopt_profile(struct client *client)
{
    struct server *server = client->server;
    struct session_profile *has = NULL;
    uint64_t failed = client->prepares.failed;
    if (failed == 0) {
        server_set_profile(server, client->profile);
    } else if (session_prepared_without(server->profile, client->profile, failed, &has)) {
        server_set_profile(server, has);
        session_profile_release(has);
    } else {
        no_memory(client);
        return;
    }
    if (!(client->touched & SESSION_PREPARE))
        server->dirt &= ~(uint32_t)SESSION_PREPARE;
}

/* A ReadyForQuery behind one of the PREPAREs. */
static void note_prepare(struct client *client, struct ledger *ledger)
{
    struct prefix_prepares *prepares = &client->prepares;
    if (prepares->in_front > 0) {
        prepares->in_front--;
    } else if (prepares->left > 0) {
        prepares->left--;
        prepares->failed |= ledger->failed_quietly ? prepares->bit : 0;
        prepares->bit <<= 1;
    }
    ledger->failed_quietly = false;
}

/* -- failed
 * ---------------------------------------------------------------------------------------------------
 */

static void fail(struct client *client)
{
    struct server *server = client->server;
    struct error error = server->swallowed_error;
    uint32_t of_ours = client->prefix_left > 0 ? client->prefix_left - 1u : 0;
    bool is_over = server->ledger.syncs > of_ours, has_begun = client->unit_has_begun;
    server->ledger.error_in_swallowed = false;
    if (client->is_session_mode || client->virtual_failure) {
        error_prefix(&error, "invalid server parameter");
        server->must_close = true;
        client_refuse(client, &error);
        return;
    }
    error_hint(&error,
               "A setting of this session can no longer be applied. Until it is set anew, or "
               "reset (RESET, DISCARD ALL), nothing else runs in this session.");
    client->prefix_is_broken = true;
    mend_undo(client);
    attach_abandon(client, "a client's settings could not be applied");
    requests_fail_unit(client, &error,
                       is_over     ? REQUEST_UNIT_IS_SENT
                       : has_begun ? REQUEST_UNIT_HAS_BEGUN
                                   : REQUEST_UNIT_IS_AHEAD);
}

void prefix_ready(struct client *client)
{
    struct ledger *ledger = &client->server->ledger;
    if (ledger->error_in_swallowed) {
        fail(client);
        return;
    }
    note_prepare(client, ledger);
    if (client->prefix_left == 0 || --client->prefix_left > 0)
        return;
    if (client->prefix_is_broken)
        mend_done(client);
    wanted_parameters_adopt(&client->wanted, &client->server->parameters);
    if (session_profile_hash(client->server->profile) != session_profile_hash(client->profile))
        adopt_profile(client);
}
