/* A request that is sent again, unseen, because its first run cannot have had any effect
 * (MECHANISMS §3.5).
 *
 * Two causes: a statement of ours was stale on the server (its table has changed, or somebody has
 * removed it), and the client's unit has failed with it; or the server ended before it had read
 * anything of the request. While nothing was answered (server->may_repeat) the client's stream
 * keeps the bytes of the request; so it is read again from its first message, as if it had just
 * come: what its first run changed in names and statements was taken back with the ledger's
 * entries. Once a request for the first cause, a few times for the second.
 */
#include "client_private.h"
#include "requests.h"

/* Servers that a request may lose, before its client is told. */
#define SERVERS_LOST_MAX 5

static void read_again(struct client *client)
{
    stream_rewind(&client->stream);
    client->pass = 0;
    client->unit_has_begun = false;
    client->unit++; /* what the first run has marked with its number is over */
    client->withheld_sync = client->flush_was_sent = false;
}

void replay_begin(struct client *client)
{
    static const uint8_t sync[] = {'S', 0, 0, 0, 4};
    struct server *server = client->server;
    read_again(client);
    client->is_repeating = true;
    client->finds_changed = server->found_changed;
    client->prefix_left = 1; /* holds the request until the end of its first run */
    if (ledger_swallow_sync(&server->ledger))
        return;
    if (!stream_put(&server->stream, sync, sizeof(sync))) {
        server->must_close = true;
        client_close(client, "out of memory");
        return;
    }
    ledger_expect(&server->ledger, LEDGER_SYNC, LEDGER_SWALLOW, 0, NULL);
}

void replay_ready(struct client *client)
{
    client->is_repeating = false;
    client->prefix_left = 0;
    requests_go_on(client);
}

bool replay_elsewhere(struct client *client)
{
    if (!stream_is_kept(&client->stream) || client->servers_lost >= SERVERS_LOST_MAX)
        return false;
    client->servers_lost++;
    read_again(client);
    client->prefix_left = 0;
    deadline_clear(&client->deadline);
    client_move_state(client, CLIENT_IDLE);
    stream_resume(&client->stream);
    client->needs_server = true;
    loop_defer(client->set->loop, LOOP_GRANT, &client->grant_task);
    return true;
}
