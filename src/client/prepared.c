/* Named statements in transaction mode: a client's names, shared statements, and what its server
 * holds.
 *
 * MECHANISMS §3 and §4.11. What a message changes is a delta that its ledger entry carries until
 * the answer; messages that depend on deltas of an earlier Sync unit are held (MECHANISMS §3.3).
 */
#include <string.h>

#include "ledger/session_prepared.h"
#include "requests.h"
#include "wire/build.h"
#include "wire/query.h"

/* A Bind whose names are longer is read as a whole. */
#define NAMES_MAX (64 * 1024)

#define PREPARED_LIMIT(client) ((client)->set->config->settings.max_prepared_statements)

static enum take malformed(struct request_walk *walk)
{
    return request_refuse(walk, SQLSTATE_PROTOCOL_VIOLATION, "invalid message format");
}

static enum take no_memory(struct request_walk *walk)
{
    if (walk->client->server)
        walk->client->server->must_close = true;
    return request_refuse(walk, SQLSTATE_OUT_OF_MEMORY, "out of memory for prepared statements");
}

static void expect(struct client *client, enum ledger_kind kind, enum ledger_action action,
                   uint8_t answer, struct statement_delta *delta)
{
    client->unit_has_begun = true;
    ledger_expect(&client->server->ledger, kind, action, answer, delta);
}

static bool put_close(struct request_walk *walk, const char *name)
{
    uint8_t memory[STATEMENT_NAME_SIZE + 16];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_target(&out, 'C', 'S', name);
    return request_put(walk, out.data, out.size);
}

/* What later units find on the server depends on it, too. */
static void count_for_client(struct client *client, struct statement_delta *delta)
{
    delta->counts_for_client = true;
    client->statements.unsettled++;
    client->delta_unit = client->unit;
}

/* Closes in the same write what was taken out of the server's set. */
static bool close_taken(struct request_walk *walk, struct server_statement *taken)
{
    struct client *client = walk->client;
    char name[STATEMENT_NAME_SIZE];
    memcpy(name, taken->name, sizeof(name));
    struct statement_delta *delta = server_statements_closing(taken);
    if (!delta) {
        no_memory(walk);
        return false;
    }
    if (!put_close(walk, name)) {
        statement_delta_settle(delta, false, NULL, &client->set->statements, NULL);
        return false;
    }
    count_for_client(client, delta);
    expect(client, LEDGER_CLOSE, LEDGER_SWALLOW, 0, delta);
    return true;
}

/* What the server holds beyond the limit is closed in the same write. */
static bool evict(struct request_walk *walk, const struct server_statement *keep)
{
    struct client *client = walk->client;
    struct server_statements *held = &client->server->statements;
    struct server_statement *oldest = server_statements_evict(held, PREPARED_LIMIT(client), keep);
    return !oldest || close_taken(walk, oldest);
}

static bool put_parse(struct request_walk *walk, const struct shared_statement *statement)
{
    pool_stats(walk->client->pool, walk->client->set->worker)->server_parses++;
    return request_put(walk, statement->parse, statement->parse_size);
}

static bool is_held(const struct client *client, const struct shared_statement *statement)
{
    const struct server_statement *found =
        server_statements_find(&client->server->statements, statement);
    return found && !found->is_stale;
}

/* Parsed under our name, in place of a stale one. */
static bool parse_under_our_name(struct request_walk *walk,
                                 const struct shared_statement *statement,
                                 enum ledger_action action)
{
    struct client *client = walk->client;
    struct server_statements *held = &client->server->statements;
    if (server_statements_find(held, statement) &&
        !close_taken(walk, server_statements_take(held, statement)))
        return false;
    struct statement_delta *delta = server_statements_define(held, statement);
    if (!delta) {
        no_memory(walk);
        return false;
    }
    if (!evict(walk, server_statements_find(held, statement)) || !put_parse(walk, statement)) {
        statement_delta_settle(delta, false, NULL, &client->set->statements, NULL);
        return false;
    }
    count_for_client(client, delta);
    expect(client, LEDGER_PARSE, action, 0, delta);
    return true;
}

/* The server holds the statement when the next message reaches it. */
static bool make_held(struct request_walk *walk, const struct shared_statement *statement)
{
    return is_held(walk->client, statement) ||
           parse_under_our_name(walk, statement, LEDGER_SWALLOW);
}

/* A ParseComplete may be made up only where the state at that point is known and is not 'E'
 * (MECHANISMS §3.2). */
bool prepared_success_is_certain(const struct client *client)
{
    const struct ledger *ledger = &client->server->ledger;
    return ledger->syncs == 0 && ledger->status != 'E';
}

static bool parse_new(struct request_walk *walk, struct shared_statement *statement,
                      struct statement_delta *delta)
{
    struct client *client = walk->client;
    struct server_statement *held = server_statements_add(&client->server->statements, statement);
    if (!held || !evict(walk, held) || !put_parse(walk, statement))
        return false;
    delta->concerns_server = true;
    delta->digest = statement->digest;
    expect(client, LEDGER_PARSE, LEDGER_FORWARD, 0, delta);
    return true;
}

/* The server holds it: the answer is made up, or provoked by a Close in front of the Parse. */
static bool parse_held(struct request_walk *walk, struct shared_statement *statement,
                       struct statement_delta *delta)
{
    struct client *client = walk->client;
    if (prepared_success_is_certain(client)) {
        expect(client, LEDGER_PARSE, LEDGER_SYNTHESIZE, '1', delta);
        return true;
    }
    if (!close_taken(walk, server_statements_take(&client->server->statements, statement)))
        return false;
    return parse_new(walk, statement, delta);
}

/* A name in use: PostgreSQL says 42P05, after it has looked at the text. The error is provoked
 * (MECHANISMS §3.1). */
static bool parse_duplicate(struct request_walk *walk, struct shared_statement *statement,
                            const char *name)
{
    struct statement_delta *called = client_statements_called(name);
    if (!called)
        return false;
    if (!make_held(walk, statement) || !put_parse(walk, statement)) {
        statement_delta_settle(called, false, NULL, &walk->client->set->statements, NULL);
        return false;
    }
    expect(walk->client, LEDGER_PARSE, LEDGER_FORWARD, 0, called);
    return true;
}

/* The server has, or may have, the client's statement of that name by SQL's PREPARE. */
static bool is_of_sql(const struct client *client, const char *name)
{
    uint32_t held = client->touched | client->pins;
    return held & SESSION_PREPARE || session_prepared_find(client->profile, name);
}

static enum take define(struct request_walk *walk, const struct message *message,
                        const struct parse_message *parse, struct shared_statement *statement)
{
    struct client *client = walk->client;
    bool ok;
    enum statement_limit limit = statement_limit_reached(client, parse->name, statement);
    if (limit) {
        ok = statement_limit_refuse(walk, limit);
    } else if (client_statements_find(&client->statements, parse->name)) {
        ok = parse_duplicate(walk, statement, parse->name);
    } else {
        struct statement_delta *delta = client_statements_define(
            &client->statements, &client->set->statements, parse->name, statement);
        if (!delta)
            return no_memory(walk);
        client->delta_unit = client->unit;
        ok = server_statements_find(&client->server->statements, statement)
                 ? parse_held(walk, statement, delta)
                 : parse_new(walk, statement, delta);
        if (!ok)
            statement_delta_settle(delta, false, NULL, &client->set->statements, NULL);
    }
    if (!ok)
        return client->state == CLIENT_CLOSED ? TAKE_STOP : no_memory(walk);
    if (!request_drop(walk, message->size))
        return TAKE_STOP;
    (void)request_hear_settled(client);
    return client->state == CLIENT_CLOSED ? TAKE_STOP : TAKE_NEXT;
}

uint64_t prepared_settings(const struct client *client)
{
    return wanted_parameters_statement_hash(&client->wanted, client->set->shared->parameter_names) +
           (client->profile ? client->profile->statement_hash : 0);
}

/* Held already: its answer is made up. */
static bool send_shared(struct request_walk *walk, const struct shared_statement *statement)
{
    if (!is_held(walk->client, statement))
        return parse_under_our_name(walk, statement, LEDGER_FORWARD);
    expect(walk->client, LEDGER_PARSE, LEDGER_SYNTHESIZE, '1', NULL);
    return true;
}

enum take prepared_parse_shared(struct request_walk *walk, const struct message *message,
                                const struct shared_statement *statement, uint32_t unnamed)
{
    struct client *client = walk->client;
    pool_stats(client->pool, client->set->worker)->client_parses++;
    if (!send_shared(walk, statement))
        return TAKE_STOP;
    ledger_note_unnamed(&client->server->ledger, unnamed);
    if (!request_drop(walk, message->size))
        return TAKE_STOP;
    (void)request_hear_settled(client);
    return client->state == CLIENT_CLOSED ? TAKE_STOP : TAKE_NEXT;
}

static enum take parse_whole(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    struct parse_message parse;
    if (!parse_message_read(message->body, &parse))
        return malformed(walk);
    uint64_t settings = prepared_settings(client);
    if (statement_keeps_time(parse.query)) /* shared with nobody, not even its client */
        settings += client->id << 32 | ++client->parses_of_its_own;
    struct shared_statement *statement = statement_acquire(&client->set->statements, parse.query,
                                                           parse.types, parse.type_count, settings);
    if (!statement)
        return no_memory(walk);
    pool_stats(client->pool, client->set->worker)->client_parses++;
    enum take take = define(walk, message, &parse, statement);
    statement_release(&client->set->statements, statement);
    return take;
}

/* Names that are not all there yet: waits for them alone, for the whole may be large. */
static enum take want_more(struct request_walk *walk, const struct message *message)
{
    if (message->body.size >= NAMES_MAX)
        return request_want_whole(walk, message);
    if (request_flush(walk))
        stream_want(&walk->client->stream, MESSAGE_HEAD + message->body.size + 1);
    return TAKE_STOP;
}

enum take prepared_parse(struct request_walk *walk, const struct message *message)
{
    if (message->body.size > 0 && message->body.data[0] == 0)
        return unnamed_parse(walk, message);
    if (message->body.size == 0 && message->size > MESSAGE_HEAD)
        return want_more(walk, message);
    if (!walk->client->tracks_statements)
        return request_forward_expecting(walk, message, LEDGER_PARSE);
    if (message->body.size + MESSAGE_HEAD < message->size)
        return request_want_whole(walk, message);
    if (names_are_open(walk->client))
        return request_hold(walk);
    /* PostgreSQL says that the name is in use. */
    if (!(walk->client->touched & SESSION_PREPARE) &&
        session_prepared_find(walk->client->profile, (const char *)message->body.data))
        return request_forward_expecting(walk, message, LEDGER_PARSE);
    return parse_whole(walk, message);
}

/* A name that the client never defined goes through as it is, so that PostgreSQL gives the answer
 * (and SQL-prepared names work); one that begins with our prefix must not reach another client's
 * statement. */
static const char *name_for_server(const struct client_statement *named, const char *name)
{
    if (named)
        return named->statement->name;
    bool is_ours = strncmp(name, STATEMENT_NAME_PREFIX, sizeof(STATEMENT_NAME_PREFIX) - 1) == 0;
    return is_ours ? "PGBOUNCER" : name;
}

/* The message with that name of its statement. */
static enum take bind_as(struct request_walk *walk, const struct message *message,
                         const struct bind_message *bind, const char *name)
{
    struct client *client = walk->client;
    size_t portal = strlen(bind->portal) + 1;
    size_t names = portal + strlen(bind->statement) + 1;
    uint8_t memory[8];
    struct bytes out = bytes_over(memory, sizeof(memory));
    bytes_u8(&out, 'B');
    bytes_u32(&out, (uint32_t)(message->size - 1 - names + portal + strlen(name) + 1));
    size_t head = MESSAGE_HEAD + names;
    if (!request_put(walk, out.data, out.size) || !request_put(walk, bind->portal, portal) ||
        !request_put(walk, name, strlen(name) + 1) || !request_drop(walk, head))
        return TAKE_STOP;
    size_t there = message->body.size + MESSAGE_HEAD - head;
    walk->run += there;
    client->pass = message->size - (uint32_t)(head + there);
    client->pass_to_server = true;
    client->server->request_is_partial = client->pass > 0;
    expect(client, LEDGER_BIND, LEDGER_FORWARD, 0, NULL);
    return TAKE_NEXT;
}

/* The request is sent again, for this statement's result has changed. */
static void note_changed(struct client *client, struct shared_statement *statement)
{
    if (!client->finds_changed)
        return;
    client->finds_changed = false;
    server_statements_note_change(&client->server->statements, statement);
}

void prepared_note_changed(struct client *client)
{
    struct shared_statement *statement = NULL;
    if (ledger_owes_one_bind(&client->server->ledger))
        statement = statement_find(&client->set->statements, client->last_bound);
    if (statement)
        server_statements_note_change(&client->server->statements, statement);
}

/* The client is told what the result is, by a Describe of the portal behind the Bind. */
static bool describes_portal(const struct request_walk *walk, const struct message *bind)
{
    struct span input = stream_input(&walk->client->stream);
    size_t behind = walk->run + bind->size;
    struct message next;
    if (input.size <= behind)
        return false;
    enum message_verdict verdict =
        message_peek(input.data + behind, input.size - behind, UINT32_MAX, &next);
    return (verdict == MESSAGE_WHOLE || verdict == MESSAGE_PARTIAL) && next.type == 'D' &&
           next.body.size > 0 && next.body.data[0] == 'P';
}

/* The client relies on a description that is no longer true, as on a connection of its own, where
 * PostgreSQL says so. */
static enum take refuse_outdated(struct request_walk *walk, const struct message *message)
{
    if (message->body.size + MESSAGE_HEAD < message->size)
        return request_want_whole(walk, message);
    if (!statement_limit_refuse(walk, STATEMENT_IS_OUTDATED) || !request_drop(walk, message->size))
        return TAKE_STOP;
    return TAKE_NEXT;
}

static enum take bind_named(struct request_walk *walk, const struct message *message,
                            const struct bind_message *bind)
{
    const struct client_statement *named =
        client_statements_find(&walk->client->statements, bind->statement);
    const char *name = name_for_server(named, bind->statement);
    if (named) {
        note_changed(walk->client, named->statement);
        if (client_statement_is_outdated(named) && !describes_portal(walk, message))
            return refuse_outdated(walk, message);
        return prepared_bind_shared(walk, message, bind, named->statement);
    }
    if (name != bind->statement)
        return bind_as(walk, message, bind, name);
    session_touch(walk->client, walk->client->prepared_touches);
    walk->client->last_bound = (struct digest128){0};
    return request_forward_expecting(walk, message, LEDGER_BIND);
}

enum take prepared_bind_shared(struct request_walk *walk, const struct message *message,
                               const struct bind_message *bind,
                               const struct shared_statement *statement)
{
    struct client *client = walk->client;
    pool_stats(client->pool, client->set->worker)->binds++;
    client->finds_changed = false;
    client->last_bound = statement->digest;
    if (statement->touches)
        session_touch_statement(client, statement);
    if (!make_held(walk, statement))
        return TAKE_STOP;
    return bind_as(walk, message, bind, statement->name);
}

enum take prepared_bind(struct request_walk *walk, const struct message *message)
{
    struct bind_message bind;
    bool need_more;
    bool is_whole = message->body.size + MESSAGE_HEAD == message->size;
    if (!bind_message_read(message->body, &bind, &need_more))
        return is_whole ? malformed(walk) : want_more(walk, message);
    if (bind.statement[0] == 0)
        return unnamed_bind(walk, message, &bind);
    if (!walk->client->tracks_statements)
        return request_forward_expecting(walk, message, LEDGER_BIND);
    if (names_are_open(walk->client))
        return request_hold(walk);
    return bind_named(walk, message, &bind);
}

static enum take describe_as(struct request_walk *walk, const struct message *message,
                             const char *name)
{
    uint8_t memory[STATEMENT_NAME_SIZE + 16];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_target(&out, 'D', 'S', name);
    if (!request_put(walk, out.data, out.size) || !request_drop(walk, message->size))
        return TAKE_STOP;
    expect(walk->client, LEDGER_DESCRIBE, LEDGER_FORWARD, 0, NULL);
    return TAKE_NEXT;
}

enum take prepared_describe(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    struct target_message target;
    if (!target_message_read(message->body, &target))
        return request_forward_expecting(walk, message,
                                         LEDGER_DESCRIBE); /* PostgreSQL says what is wrong */
    if (target.kind != 'S')
        return request_forward_expecting(walk, message, LEDGER_DESCRIBE);
    if (target.name[0] == 0)
        return unnamed_describe(walk, message);
    if (!client->tracks_statements)
        return request_forward_expecting(walk, message, LEDGER_DESCRIBE);
    if (names_are_open(client))
        return request_hold(walk);
    const struct client_statement *named = client_statements_find(&client->statements, target.name);
    const char *name = name_for_server(named, target.name);
    if (named) {
        note_changed(client, named->statement);
        client_statements_note_described(&client->statements, target.name);
        return prepared_describe_shared(walk, message, named->statement);
    }
    if (name == target.name)
        return request_forward_expecting(walk, message, LEDGER_DESCRIBE);
    return describe_as(walk, message, name);
}

enum take prepared_describe_shared(struct request_walk *walk, const struct message *message,
                                   const struct shared_statement *statement)
{
    walk->client->finds_changed = false;
    if (!make_held(walk, statement))
        return TAKE_STOP;
    return describe_as(walk, message, statement->name);
}

/* Never sent, but for SQL's PREPARE: the server keeps the statement for others. Close of an unknown
 * name is no error, either. */
enum take prepared_close(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    struct target_message target;
    if (!target_message_read(message->body, &target))
        return request_forward_expecting(walk, message, LEDGER_CLOSE);
    if (target.kind == 'S' && target.name[0] == 0)
        return unnamed_close(walk, message);
    if (target.kind != 'S' || !client->tracks_statements)
        return request_forward_expecting(walk, message, LEDGER_CLOSE);
    if (names_are_open(client))
        return request_hold(walk);
    if (!client_statements_find(&client->statements, target.name) &&
        is_of_sql(client, target.name)) {
        session_touch(client, SESSION_PREPARE);
        return request_forward_expecting(walk, message, LEDGER_CLOSE);
    }
    struct statement_delta *delta =
        client_statements_remove(&client->statements, &client->set->statements, target.name);
    if (!delta)
        return no_memory(walk);
    client->delta_unit = client->unit;
    if (!request_drop(walk, message->size)) {
        statement_delta_settle(delta, false, NULL, &client->set->statements, NULL);
        return TAKE_STOP;
    }
    expect(client, LEDGER_CLOSE, LEDGER_SYNTHESIZE, '3', delta);
    (void)request_hear_settled(client);
    return client->state == CLIENT_CLOSED ? TAKE_STOP : TAKE_NEXT;
}
