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

/* Added to the settings in a shared statement's key: those of unnamed statements have names of
 * their own on servers, so that an error tells which the client meant. */
#define UNNAMED_KEY 0x756e6e616d6564u

struct unnamed_parse {
    uint32_t number;
    struct shared_statement *shared; /* a reference; instead of the bytes. NULL: none */
    uint32_t size, room;
    uint8_t data[];
};

static size_t keep_limit(const struct client *client)
{
    return (size_t)client->set->config->settings.max_unnamed_statement_size;
}

/* The unit makes or finds it. */
static void note_now(struct client *client, uint32_t number)
{
    client->unnamed_unit = client->unit + 1;
    client->unnamed_now = number;
}

/* The ledger's number of what the server holds is one of this client's from now on. */
static void claim(struct client *client, uint32_t number)
{
    struct server *server = client->server;
    note_now(client, number);
    if (server->unnamed_owner == client->id)
        return;
    server->ledger.unnamed = LEDGER_UNNAMED_UNKNOWN;
    server->unnamed_owner = client->id;
}

static uint32_t new_number(struct client *client)
{
    client->unnamed_count = (client->unnamed_count + 1) & ~LEDGER_UNNAMED_SHARED;
    if (client->unnamed_count < LEDGER_UNNAMED_FIRST)
        client->unnamed_count = LEDGER_UNNAMED_FIRST;
    return client->unnamed_count;
}

static bool is_number(const struct unnamed_parse *kept, uint32_t number)
{
    return kept && kept->number == number && number >= LEDGER_UNNAMED_FIRST;
}

/* Two are kept: if the newer one is skipped, the older one is the client's. */
static struct unnamed_parse **slot_for(struct client *client, uint32_t own)
{
    struct unnamed_parse **kept = client->unnamed_kept;
    if (is_number(kept[0], own) || is_number(kept[1], own))
        return is_number(kept[0], own) ? &kept[1] : &kept[0];
    uint32_t last = client->unnamed_count - 1;
    return kept[0] && (kept[0]->number & ~LEDGER_UNNAMED_SHARED) == last ? &kept[1] : &kept[0];
}

/* Without a server what was the client's is in the client, with one in the ledger. */
static uint32_t own_of(const struct client *client)
{
    return client->server ? client->server->ledger.unnamed_of_client : client->unnamed;
}

static void drop_shared(struct client *client, struct unnamed_parse *kept)
{
    if (kept && kept->shared)
        statement_release(&client->set->statements, kept->shared);
    if (kept)
        kept->shared = NULL;
}

/* One that may be overwritten. NULL: no memory. */
static struct unnamed_parse *slot_with_room(struct client *client, uint32_t size)
{
    struct unnamed_parse **slot = slot_for(client, own_of(client)), *kept = *slot;
    drop_shared(client, kept);
    if (kept && kept->room >= size)
        return kept;
    memory_free(kept);
    *slot = kept = memory_zalloc(sizeof(*kept) + size);
    if (kept)
        kept->room = size;
    return kept;
}

static const struct unnamed_parse *find_kept(const struct client *client, uint32_t number)
{
    for (size_t i = 0; i < sizeof(client->unnamed_kept) / sizeof(client->unnamed_kept[0]); i++)
        if (is_number(client->unnamed_kept[i], number))
            return client->unnamed_kept[i];
    return NULL;
}

bool unnamed_is_called(const struct client *client, const char *server_name)
{
    for (size_t i = 0; i < sizeof(client->unnamed_kept) / sizeof(client->unnamed_kept[0]); i++) {
        const struct unnamed_parse *kept = client->unnamed_kept[i];
        if (kept && kept->shared && strcmp(kept->shared->name, server_name) == 0)
            return true;
    }
    return false;
}

/* May the texts of this client's unit be shared now? Where its transaction may have changed what
 * they mean, or where the success of a Parse would have to be provoked, they are sent as they are.
 */
static bool may_share(const struct client *client)
{
    return client->tracks_statements && client->touched == 0 &&
           prepared_success_is_certain(client) && !client->server->ledger.is_skipping;
}

/* A reference. NULL: it is sent as it is. */
static struct shared_statement *shared_for(struct client *client, const struct message *message)
{
    struct parse_message parse;
    struct query_name read;
    struct shared_statement *statement;
    if (!may_share(client) || !parse_message_read(message->body, &parse) ||
        statement_keeps_time(parse.query))
        return NULL;
    query_name_read(parse.query, strlen(parse.query) + 1, &read);
    if (read.use != QUERY_NAMES_NOTHING)
        return NULL;
    statement = statement_acquire(&client->set->statements, parse.query, parse.types,
                                  parse.type_count, prepared_settings(client) + UNNAMED_KEY);
    if (statement && statement->touches == 0 && !statement_cache_is_full(client, statement))
        return statement;
    statement_release(&client->set->statements, statement);
    return NULL;
}

/* The Parse is served from the shared statements. False: it is sent as it is. */
static bool parse_shared(struct request_walk *walk, const struct message *message, enum take *take)
{
    struct client *client = walk->client;
    struct shared_statement *statement = shared_for(client, message);
    if (!statement)
        return false;
    uint32_t number = new_number(client) | LEDGER_UNNAMED_SHARED;
    struct unnamed_parse *kept = slot_with_room(client, 0);
    if (!kept) {
        statement_release(&client->set->statements, statement);
        return false;
    }
    kept->number = number;
    kept->shared = statement;
    client->unnamed_touches = 0;
    client->deallocates_unit = client->unit;
    walk->unnamed_parse = NULL;
    note_now(client, kept->number);
    *take = prepared_parse_shared(walk, message, statement, kept->number);
    return true;
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
    struct unnamed_parse *kept = slot_with_room(client, message.size);
    if (!kept)
        return; /* as one that is too long: 26000 where another server is used */
    kept->number = client->unnamed_count;
    kept->size = message.size;
    memcpy(kept->data, parse, message.size);
}

enum take unnamed_parse(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    bool is_whole = message->body.size + MESSAGE_HEAD == message->size;
    if (!is_whole && message->size <= keep_limit(client))
        return request_want_whole(walk, message);
    if (walk->unnamed_parse && client->unnamed_unit != client->unit + 1)
        unnamed_keep(walk); /* of an earlier unit: the client's, if this one is skipped */
    enum take take;
    if (is_whole && client->set->config->settings.cache_unnamed_statements &&
        parse_shared(walk, message, &take))
        return take;
    session_note_parse(client, message);
    if (has_names(client) && sql_names_parse(walk, message) == TAKE_STOP)
        return TAKE_STOP;
    uint32_t number = new_number(client);
    claim(client, number);
    walk->unnamed_parse = is_whole ? message->body.data - MESSAGE_HEAD : NULL;
    take = request_forward_expecting(walk, message, LEDGER_PARSE);
    ledger_note_unnamed(&client->server->ledger, number);
    return take;
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
    const struct unnamed_parse *kept = find_kept(client, client->unnamed);
    if (kept && kept->shared)
        return (struct span){kept->shared->parse, kept->shared->parse_size};
    return kept ? (struct span){kept->data, kept->size} : (struct span){NULL, 0};
}

void unnamed_finish(struct client *client)
{
    drop_shared(client, client->unnamed_kept[0]);
    drop_shared(client, client->unnamed_kept[1]);
    memory_free(client->unnamed_kept[0]);
    memory_free(client->unnamed_kept[1]);
    client->unnamed_kept[0] = client->unnamed_kept[1] = NULL;
}

static void expect_swallowed(struct client *client, enum ledger_kind kind, uint32_t unnamed)
{
    claim(client, unnamed);
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

static const struct shared_statement *find_shared(const struct client *client, uint32_t number)
{
    if (!(number & LEDGER_UNNAMED_SHARED))
        return NULL;
    const struct unnamed_parse *kept = find_kept(client, number);
    return kept ? kept->shared : NULL;
}

/* The server holds the client's unnamed statement when the next message reaches it; a `shared` one
 * is for the caller to see to. TAKE_STOP: held or closed. */
static enum take make_own(struct request_walk *walk, const struct shared_statement **shared)
{
    struct client *client = walk->client;
    struct ledger *ledger = &client->server->ledger;
    if (client->unnamed_unit == client->unit + 1) {
        *shared = find_shared(client, client->unnamed_now);
        return TAKE_NEXT;
    }
    if (ledger_unnamed_is_open(ledger)) /* of an earlier unit: it may fail (MECHANISMS §3.3) */
        return request_hold(walk);
    uint32_t own = ledger->unnamed_of_client;
    const struct unnamed_parse *kept = find_kept(client, own);
    *shared = find_shared(client, own);
    if (*shared) {
        note_now(client, own);
        return TAKE_NEXT;
    }
    claim(client, own);
    if (own < LEDGER_UNNAMED_FIRST ? ledger->unnamed <= LEDGER_UNNAMED_NONE
                                   : ledger->unnamed == own)
        return TAKE_NEXT;
    bool ok = kept ? put_again(walk, kept) : put_close(walk);
    return ok ? TAKE_NEXT : TAKE_STOP;
}

enum take unnamed_bind(struct request_walk *walk, const struct message *message,
                       const struct bind_message *bind)
{
    const struct shared_statement *shared = NULL;
    if (make_own(walk, &shared) == TAKE_STOP)
        return TAKE_STOP;
    if (shared)
        return prepared_bind_shared(walk, message, bind, shared);
    session_touch(walk->client, walk->client->unnamed_touches);
    walk->client->last_bound = (struct digest128){0};
    walk->unnamed_parse = NULL;
    return request_forward_expecting(walk, message, LEDGER_BIND);
}

enum take unnamed_describe(struct request_walk *walk, const struct message *message)
{
    const struct shared_statement *shared = NULL;
    if (make_own(walk, &shared) == TAKE_STOP)
        return TAKE_STOP;
    if (shared)
        return prepared_describe_shared(walk, message, shared);
    return request_forward_expecting(walk, message, LEDGER_DESCRIBE);
}

enum take unnamed_close(struct request_walk *walk, const struct message *message)
{
    claim(walk->client, LEDGER_UNNAMED_NONE);
    walk->unnamed_parse = NULL;
    enum take take = request_forward_expecting(walk, message, LEDGER_CLOSE);
    ledger_note_unnamed(&walk->client->server->ledger, LEDGER_UNNAMED_NONE);
    return take;
}
