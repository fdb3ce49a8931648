/* The unnamed statement in transaction mode: a client finds its own, whatever server it gets.
 *
 * Most clients send Parse, Bind, Execute, Sync in one unit, and nothing is to be done for them but
 * to number the Parse. Where a Bind or Describe comes without a Parse in its own Sync unit, the
 * server may hold another's, or an older one, or none: the client's last Parse is sent again in the
 * same write; if it has none, a Close makes the server say so (PITFALLS row 28, MECHANISMS §4.8).
 *
 * What was said is in the ledger, by what the answers were. The bytes of a Parse are kept only when
 * the input in which it came holds no Bind behind it, so that the usual client costs no copy: one
 * that parses and binds in one unit, and binds again in a later unit, finds its statement only
 * while its server has kept it.
 */
#include <string.h>

#include "base/memory.h"
#include "requests.h"
#include "wire/build.h"

struct unnamed_parse {
    uint32_t number;
    uint32_t size, room;
    uint8_t data[];
};

static size_t keep_limit(const struct client *client)
{
    return (size_t)client->set->config->settings.max_unnamed_statement_size;
}

/* The ledger's number of what the server holds is one of this client's from now on. */
static void claim(struct client *client)
{
    struct server *server = client->server;
    client->unnamed_unit = client->unit + 1;
    if (server->unnamed_owner == client->id)
        return;
    server->ledger.unnamed = LEDGER_UNNAMED_UNKNOWN;
    server->unnamed_owner = client->id;
}

static uint32_t new_number(struct client *client)
{
    if (++client->unnamed_count < LEDGER_UNNAMED_FIRST)
        client->unnamed_count = LEDGER_UNNAMED_FIRST;
    return client->unnamed_count;
}

enum take unnamed_parse(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    bool is_whole = message->body.size + MESSAGE_HEAD == message->size;
    if (!is_whole && message->size <= keep_limit(client))
        return request_want_whole(walk, message);
    if (walk->unnamed_parse && client->unnamed_unit != client->unit + 1)
        unnamed_keep(walk); /* of an earlier unit: the client's, if this one is skipped */
    session_note_parse(client, message);
    if (has_names(client) && sql_names_parse(walk, message) == TAKE_STOP)
        return TAKE_STOP;
    claim(client);
    uint32_t number = new_number(client);
    walk->unnamed_parse = is_whole ? message->body.data - MESSAGE_HEAD : NULL;
    enum take take = request_forward_expecting(walk, message, LEDGER_PARSE);
    ledger_note_unnamed(&client->server->ledger, number);
    return take;
}

static bool is_number(const struct unnamed_parse *kept, uint32_t number)
{
    return kept && kept->number == number;
}

/* Two are kept: if the newer one is skipped, the older one is the client's. */
static struct unnamed_parse **slot_for(struct client *client, uint32_t own)
{
    struct unnamed_parse **kept = client->unnamed_kept;
    if (is_number(kept[0], own) || is_number(kept[1], own))
        return is_number(kept[0], own) ? &kept[1] : &kept[0];
    return kept[0] && is_number(kept[0], client->unnamed_count - 1) ? &kept[1] : &kept[0];
}

/* Without a server what was the client's is in the client, with one in the ledger. */
static uint32_t own_of(const struct client *client)
{
    return client->server ? client->server->ledger.unnamed_of_client : client->unnamed;
}

void unnamed_keep(struct request_walk *walk)
{
    struct client *client = walk->client;
    struct message message;
    bool is_there = client->state != CLIENT_CLOSED && client->stream.in; /* else: sent in vain */
    const uint8_t *parse = walk->unnamed_parse;
    walk->unnamed_parse = NULL;
    if (!is_there ||
        message_peek(parse, MESSAGE_HEAD, keep_limit(client), &message) != MESSAGE_PARTIAL)
        return;
    struct unnamed_parse **slot = slot_for(client, own_of(client)), *kept = *slot;
    if (!kept || kept->room < message.size) {
        memory_free(kept);
        *slot = kept = memory_zalloc(sizeof(*kept) + message.size);
        if (!kept)
            return; /* as one that is too long: 26000 where another server is used */
        kept->room = message.size;
    }
    kept->number = client->unnamed_count;
    kept->size = message.size;
    memcpy(kept->data, parse, message.size);
}

void unnamed_define(struct client *client, const struct message *parse)
{
    struct request_walk walk = {.client = client};
    client->unnamed = LEDGER_UNNAMED_NONE;
    if (!parse)
        return;
    walk.unnamed_parse = parse->body.data - MESSAGE_HEAD;
    client->unnamed = new_number(client);
    session_note_parse(client, parse);
    unnamed_keep(&walk);
}

struct span unnamed_find(const struct client *client)
{
    for (size_t i = 0; i < sizeof(client->unnamed_kept) / sizeof(client->unnamed_kept[0]); i++) {
        const struct unnamed_parse *kept = client->unnamed_kept[i];
        if (is_number(kept, client->unnamed))
            return (struct span){kept->data, kept->size};
    }
    return (struct span){NULL, 0};
}

void unnamed_finish(struct client *client)
{
    memory_free(client->unnamed_kept[0]);
    memory_free(client->unnamed_kept[1]);
    client->unnamed_kept[0] = client->unnamed_kept[1] = NULL;
}

static void expect_swallowed(struct client *client, enum ledger_kind kind, uint32_t unnamed)
{
    claim(client);
    client->unit_has_begun = true;
    ledger_expect(&client->server->ledger, kind, LEDGER_SWALLOW, 0, NULL);
    ledger_note_unnamed(&client->server->ledger, unnamed);
}

static bool put_close(struct request_walk *walk)
{
    uint8_t memory[16];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_target(&out, 'C', 'S', "");
    if (!request_put(walk, out.data, out.size))
        return false;
    expect_swallowed(walk->client, LEDGER_CLOSE, LEDGER_UNNAMED_NONE);
    return true;
}

static bool put_again(struct request_walk *walk, const struct unnamed_parse *kept)
{
    if (!request_put(walk, kept->data, kept->size))
        return false;
    expect_swallowed(walk->client, LEDGER_PARSE, kept->number);
    return true;
}

/* The server holds the client's unnamed statement when the next message reaches it. TAKE_STOP: held
 * or closed. */
static enum take make_own(struct request_walk *walk)
{
    struct client *client = walk->client;
    struct ledger *ledger = &client->server->ledger;
    if (client->unnamed_unit == client->unit + 1)
        return TAKE_NEXT;
    if (ledger_unnamed_is_open(ledger)) /* of an earlier unit: it may fail (MECHANISMS §3.3) */
        return request_hold(walk);
    uint32_t own = ledger->unnamed_of_client;
    const struct unnamed_parse *kept =
        client->unnamed_kept[is_number(client->unnamed_kept[0], own) ? 0 : 1];
    claim(client);
    if (own < LEDGER_UNNAMED_FIRST ? ledger->unnamed <= LEDGER_UNNAMED_NONE
                                   : ledger->unnamed == own)
        return TAKE_NEXT;
    bool ok = own >= LEDGER_UNNAMED_FIRST && is_number(kept, own) ? put_again(walk, kept)
                                                                  : put_close(walk);
    return ok ? TAKE_NEXT : TAKE_STOP;
}

enum take unnamed_bind(struct request_walk *walk, const struct message *message)
{
    if (make_own(walk) == TAKE_STOP)
        return TAKE_STOP;
    session_touch(walk->client, walk->client->unnamed_touches);
    walk->unnamed_parse = NULL;
    return request_forward_expecting(walk, message, LEDGER_BIND);
}

enum take unnamed_describe(struct request_walk *walk, const struct message *message)
{
    if (make_own(walk) == TAKE_STOP)
        return TAKE_STOP;
    return request_forward_expecting(walk, message, LEDGER_DESCRIBE);
}

enum take unnamed_close(struct request_walk *walk, const struct message *message)
{
    claim(walk->client);
    walk->unnamed_parse = NULL;
    enum take take = request_forward_expecting(walk, message, LEDGER_CLOSE);
    ledger_note_unnamed(&walk->client->server->ledger, LEDGER_UNNAMED_NONE);
    return take;
}
