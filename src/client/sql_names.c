/* SQL that names a prepared statement of the protocol: EXECUTE, DEALLOCATE, PREPARE, DISCARD ALL.
 *
 * On servers a client's statements have names of ours. So that SQL finds the client's name, the
 * server gets the statement under it too, in the same write in front of the text (PITFALLS row 6):
 * with its own text where it is executed, else with an empty one, whose Parse cannot fail. The
 * server closes such names when its client parts from it. What becomes of the client's names is
 * what CommandComplete says.
 *
 * Looked at is a text's first statement, of a Query that begins a Sync unit and of an unnamed Parse
 * that runs in its own unit.
 */
#include <string.h>

#include "requests.h"
#include "wire/build.h"
#include "wire/query.h"

static enum take no_memory(struct request_walk *walk)
{
    if (walk->client->server)
        walk->client->server->must_close = true;
    return request_refuse(walk, SQLSTATE_OUT_OF_MEMORY, "out of memory for prepared statements");
}

static void expect_swallowed(struct client *client, enum ledger_kind kind, uint8_t answer)
{
    client->unit_has_begun = true;
    ledger_expect(&client->server->ledger, kind, LEDGER_SWALLOW, answer, NULL);
}

static bool put_close(struct request_walk *walk, const char *name)
{
    uint8_t memory[QUERY_NAME_SIZE + 16];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_target(&out, 'C', 'S', name);
    if (!request_put(walk, out.data, out.size))
        return false;
    expect_swallowed(walk->client, LEDGER_CLOSE, 0);
    return true;
}

/* The shared statement's Parse, with the client's name instead of ours. */
static bool put_own_text(struct request_walk *walk, const char *name,
                         const struct shared_statement *statement)
{
    uint8_t memory[MESSAGE_HEAD + QUERY_NAME_SIZE];
    struct bytes out = bytes_over(memory, sizeof(memory));
    const size_t head = MESSAGE_HEAD + STATEMENT_NAME_SIZE;
    size_t rest = statement->parse_size - head;
    bytes_u8(&out, 'P');
    bytes_u32(&out, (uint32_t)(MESSAGE_HEAD - 1 + strlen(name) + 1 + rest));
    bytes_put(&out, name, strlen(name) + 1);
    return request_put(walk, out.data, out.size) &&
           request_put(walk, statement->parse + head, rest);
}

static bool put_empty_text(struct request_walk *walk, const char *name)
{
    uint8_t memory[MESSAGE_HEAD + QUERY_NAME_SIZE + 16];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_parse(&out, name, "", (struct span){0}, 0);
    return request_put(walk, out.data, out.size);
}

/* The server has the statement under the client's name, whatever it had there. `may_fail`: what
 * follows then says what is wrong. */
static bool lend(struct request_walk *walk, const char *name,
                 const struct shared_statement *statement, bool may_fail)
{
    struct client *client = walk->client;
    if (!put_close(walk, name))
        return false;
    if (!(statement ? put_own_text(walk, name, statement) : put_empty_text(walk, name)))
        return false;
    expect_swallowed(client, LEDGER_PARSE, may_fail ? LEDGER_MAY_FAIL : 0);
    server_borrow_name(client->server, name);
    return true;
}

static bool lend_for(struct request_walk *walk, const struct query_name *read,
                     const struct client_statement *named, bool may_fail)
{
    bool executes = read->use == QUERY_EXECUTES;
    return lend(walk, named->name, executes ? named->statement : NULL, may_fail);
}

/* The statement that the text names is no SQL PREPARE's, but one whose text is known. */
static uint32_t touches_of(const struct query_name *read, const struct client_statement *named,
                           const char *text, size_t there)
{
    uint32_t touches = session_scan_there(text + read->end, there - read->end);
    return read->use == QUERY_EXECUTES ? touches | named->statement->touches : touches;
}

/* The client's statement of that name; NULL: none. */
static const struct client_statement *named_by(const struct client *client,
                                               const struct query_name *read)
{
    if (read->use == QUERY_FORGETS_ALL)
        return NULL;
    return client_statements_find(&client->statements, read->name);
}

/* NULL: no memory. */
static struct statement_delta *deallocate(struct client *client, const char *name)
{
    client->delta_unit = client->unit;
    return name[0] == 0
               ? client_statements_deallocate_all(&client->statements)
               : client_statements_deallocate(&client->statements, &client->set->statements, name);
}

static bool put_sync(struct request_walk *walk)
{
    static const uint8_t sync[] = {'S', 0, 0, 0, 4};
    if (!request_put(walk, sync, sizeof(sync)))
        return false;
    expect_swallowed(walk->client, LEDGER_SYNC, 0);
    return true;
}

/* As of any text. */
static void note_all(struct client *client, const struct message *message)
{
    session_note_query(client, message);
}

static enum take forward_query(struct request_walk *walk, const struct message *message)
{
    note_all(walk->client, message);
    return request_forward_expecting(walk, message, LEDGER_QUERY);
}

enum take sql_names_query(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    const struct ledger *ledger = &client->server->ledger;
    const char *text = (const char *)message->body.data;
    struct statement_delta *delta = NULL;
    struct query_name read;
    query_name_read(text, message->body.size, &read);
    /* A Sync of ours would end what the client has begun. */
    bool may_sync = !client->unit_has_begun && !ledger->is_skipping && !ledger->copy_in;
    if (read.use == QUERY_NAMES_NOTHING || !client->tracks_statements || !may_sync)
        return forward_query(walk, message);
    if (names_are_open(client))
        return request_hold(walk);
    const struct client_statement *named = named_by(client, &read);
    if (!named && read.use != QUERY_FORGETS_ALL)
        return forward_query(walk, message);
    if (named)
        session_touch(client, touches_of(&read, named, text, message->body.size));
    else
        note_all(client, message);
    if (named && (!lend_for(walk, &read, named, true) || !put_sync(walk)))
        return TAKE_STOP;
    if (read.use == QUERY_FORGETS_ALL || read.use == QUERY_DEALLOCATES) {
        delta = deallocate(client, named ? read.name : "");
        if (!delta)
            return no_memory(walk);
    }
    return request_forward_tagged(walk, message, LEDGER_QUERY, delta);
}

enum take sql_names_parse(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    const char *text = (const char *)message->body.data + 1;
    struct query_name read;
    query_name_read(text, message->body.size - 1, &read);
    client->deallocates_unit = client->unit;
    if (read.use == QUERY_NAMES_NOTHING || !client->tracks_statements)
        return TAKE_NEXT;
    if (names_are_open(client))
        return request_hold(walk);
    if (read.use == QUERY_DEALLOCATES || read.use == QUERY_FORGETS_ALL) {
        if (read.use == QUERY_FORGETS_ALL)
            read.name[0] = 0;
        memcpy(client->deallocates, read.name, sizeof(read.name));
        client->deallocates_unit = client->unit + 1;
    }
    const struct client_statement *named = named_by(client, &read);
    if (!named)
        return TAKE_NEXT;
    client->unnamed_touches = touches_of(&read, named, text, message->body.size - 1);
    return lend_for(walk, &read, named, false) ? TAKE_NEXT : TAKE_STOP;
}

enum take sql_names_execute(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    struct statement_delta *delta = deallocate(client, client->deallocates);
    /* What the rest of the unit uses is parsed again behind it. */
    if (client->deallocates[0] == 0)
        server_statements_mark_stale(&client->server->statements);
    return delta ? request_forward_tagged(walk, message, LEDGER_EXECUTE, delta) : no_memory(walk);
}
