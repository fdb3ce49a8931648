/* What a logged-in client asks.
 *
 * Messages that go to the server as they are, are collected as a run at the front of the input and
 * forwarded in one piece, in place; each leaves an entry in the server's ledger. A client without a
 * server asks for one at the end of the turn (LOOP_GRANT), never while reading (MECHANISMS §1.1).
 */
#include "requests.h"

#include <string.h>

#include "server/server_set.h"
#include "wire/build.h"
#include "wire/query.h"

/* PostgreSQL's PQ_SMALL_MESSAGE_LIMIT for messages that carry no data. */
#define SMALL_MESSAGE_MAX 10000
/* A message that must lie whole in memory to be routed: named Parse, names of a Bind. */
#define ROUTED_MESSAGE_MAX (16 * 1024 * 1024)
/* Entries that one message may need: a Close, a Parse in front, its own. */
#define LEDGER_ROOM 12

bool request_flush(struct request_walk *walk)
{
    struct client *client = walk->client;
    size_t size = walk->run;
    walk->run = 0;
    if (size == 0)
        return true;
    if (stream_forward(&client->server->stream, &client->stream, size))
        return true;
    client->server->must_close = true; /* what is expected of it was not sent */
    client_close(client, "out of memory");
    return false;
}

bool request_put(struct request_walk *walk, const void *data, size_t size)
{
    if (!request_flush(walk))
        return false;
    if (stream_put(&walk->client->server->stream, data, size))
        return true;
    walk->client->server->must_close =
        true; /* what it was told and what is expected of it differ now */
    client_close(walk->client, "out of memory");
    return false;
}

bool request_drop(struct request_walk *walk, size_t size)
{
    if (!request_flush(walk))
        return false;
    stream_consume(&walk->client->stream, size);
    return true;
}

enum take request_refuse(struct request_walk *walk, const char *sqlstate, const char *text)
{
    if (request_flush(walk))
        client_refuse_text(walk->client, sqlstate, text);
    return TAKE_STOP;
}

bool request_hear_settled(struct client *client)
{
    struct ledger_entry entry;
    bool has_heard = false;
    while (client->server && ledger_take_settled(&client->server->ledger, &entry)) {
        attach_server_events.settled(client->server, &entry);
        has_heard = true;
    }
    return has_heard;
}

enum take request_hold(struct request_walk *walk)
{
    if (request_hear_settled(
            walk->client)) /* it may have been these that it waited for: looked at again */
        return walk->client->state == CLIENT_CLOSED ? TAKE_STOP : TAKE_NEXT;
    if (request_flush(walk))
        walk->client->server->owner_holds = true;
    return TAKE_STOP;
}

enum take request_want_whole(struct request_walk *walk, const struct message *message)
{
    if (message->size > ROUTED_MESSAGE_MAX)
        return request_refuse(walk, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                              "message is too large to be a named statement");
    if (request_flush(walk))
        stream_want(&walk->client->stream, message->size);
    return TAKE_STOP;
}

/* Once an input, not once a message. */
static void note_bytes(const struct request_walk *walk)
{
    struct client *client = walk->client;
    if (walk->received > 0)
        pool_stats(client->pool, client->set->worker)->received += walk->received;
}

enum take request_forward(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    size_t there = message->body.size + MESSAGE_HEAD;
    walk->run += there;
    client->pass = message->size - (uint32_t)there;
    client->pass_to_server = true;
    client->server->request_is_partial = client->pass > 0;
    return TAKE_NEXT;
}

/* The rest of a message that comes in parts. */
static enum take take_rest(struct request_walk *walk, size_t available)
{
    struct client *client = walk->client;
    if (available == 0)
        return TAKE_STOP;
    size_t size = client->pass < available ? client->pass : available;
    client->pass -= (uint32_t)size;
    if (!client->pass_to_server || !client->server)
        return request_drop(walk, size) ? TAKE_NEXT : TAKE_STOP;
    walk->run += size;
    client->server->request_is_partial = client->pass > 0;
    return TAKE_NEXT;
}

void requests_begin(struct client *client)
{
    if (client->is_in_request)
        return;
    struct pool_stats *stats = pool_stats(client->pool, client->set->worker);
    usec_t now = loop_now(client->set->loop);
    client->request_time = now;
    client->is_in_request = true;
    client->servers_lost = 0;
    client->query_start = now;
    stats->queries++;
    if (client->is_in_transaction)
        return;
    client->is_in_transaction = true;
    client->xact_start = now;
    stats->xacts++;
}

enum take request_forward_tagged(struct request_walk *walk, const struct message *message,
                                 enum ledger_kind kind, void *tag)
{
    struct client *client = walk->client;
    enum take take = request_forward(walk, message);
    client->unit_has_begun = true;
    ledger_expect(&client->server->ledger, kind, LEDGER_FORWARD, 0, tag);
    return take;
}

enum take request_forward_expecting(struct request_walk *walk, const struct message *message,
                                    enum ledger_kind kind)
{
    return request_forward_tagged(walk, message, kind, NULL);
}

/* Behind it a new Sync unit begins. */
static enum take forward_unit_end(struct request_walk *walk, const struct message *message,
                                  enum ledger_kind kind)
{
    enum take take = request_forward_expecting(walk, message, kind);
    walk->client->unit_has_begun = false;
    walk->client->unit++;
    return take;
}

/* Of a client that has named statements: the text may name one. */
static enum take take_naming_query(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    enum take take = sql_names_query(walk, message);
    if (take == TAKE_NEXT) {
        client->unit_has_begun = false;
        client->unit++;
    }
    return take;
}

/* During COPY IN the server ignores a Sync; if data in front of it has made the COPY fail, it does
 * not. It is kept back until that is known; where there was no data (the Sync of the Execute, which
 * came late), it is ignored. */
static bool is_in_mid_copy(const struct client *client)
{
    const struct ledger *ledger = &client->server->ledger;
    return ledger->copy_in && !ledger->copy_ended;
}

static enum take take_sync(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    if (!is_in_mid_copy(client))
        return forward_unit_end(walk, message, LEDGER_SYNC);
    client->withheld_sync = client->copy_data_unit == client->unit + 1;
    return request_drop(walk, message->size) ? TAKE_NEXT : TAKE_STOP;
}

/* A COPY IN failed before the client ended it, and its Sync was kept back: the server waits for one
 * now. */
static bool send_withheld_sync(struct request_walk *walk)
{
    struct client *client = walk->client;
    static const uint8_t sync[] = {'S', 0, 0, 0, 4};
    if (!client->withheld_sync || is_in_mid_copy(client))
        return true;
    client->withheld_sync = false;
    if (!client->server->ledger.is_skipping)
        return true;
    if (!request_put(walk, sync, sizeof(sync)))
        return false;
    ledger_expect(&client->server->ledger, LEDGER_SYNC, LEDGER_FORWARD, 0, NULL);
    client->unit_has_begun = false;
    client->unit++;
    return true;
}

static enum take take_copy_end(struct request_walk *walk, const struct message *message)
{
    enum take take = request_forward(walk, message);
    walk->client->withheld_sync = false;
    ledger_expect(&walk->client->server->ledger, LEDGER_COPY_END, LEDGER_FORWARD, 0, NULL);
    return take;
}

static enum take take_with_server(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    bool is_shared = !client->is_session_mode; /* others' statements are on the server, too */
    switch (message->type) {
    case 'Q':
        if (is_shared && has_names(client))
            return take_naming_query(walk, message);
        if (is_shared)
            session_note_query(client, message);
        return forward_unit_end(walk, message, LEDGER_QUERY);
    case 'P':
        return is_shared ? prepared_parse(walk, message)
                         : request_forward_expecting(walk, message, LEDGER_PARSE);
    case 'B':
        return is_shared ? prepared_bind(walk, message)
                         : request_forward_expecting(walk, message, LEDGER_BIND);
    case 'D':
        return is_shared ? prepared_describe(walk, message)
                         : request_forward_expecting(walk, message, LEDGER_DESCRIBE);
    case 'C':
        return is_shared ? prepared_close(walk, message)
                         : request_forward_expecting(walk, message, LEDGER_CLOSE);
    case 'E':
        if (client->deallocates_unit == client->unit + 1)
            return sql_names_execute(walk, message);
        return request_forward_expecting(walk, message, LEDGER_EXECUTE);
    case 'S':
        return take_sync(walk, message);
    case 'F':
        return forward_unit_end(walk, message, LEDGER_FUNCTION_CALL);
    case 'c':
    case 'f':
        return take_copy_end(walk, message);
    case 'd':
        client->copy_data_unit = client->unit + 1;
        return request_forward(walk, message);
    default: /* 'H' */
        return request_forward(walk, message);
    }
}

static enum take drop_message(struct request_walk *walk, const struct message *message)
{
    walk->client->pass = message->size;
    walk->client->pass_to_server = false;
    return TAKE_NEXT;
}

static void say_ready(struct client *client)
{
    const uint8_t ready[] = {'Z', 0, 0, 0, 5, virtual_failure_status(client)};
    if (!stream_put(&client->stream, ready, sizeof(ready)))
        client_close(client, "out of memory");
}

/* Messages that need no server when the client has none. False: it needs one. */
static bool take_without_server(struct request_walk *walk, const struct message *message,
                                enum take *take)
{
    struct client *client = walk->client;
    bool is_late_copy = message->type == 'd' || message->type == 'c' || message->type == 'f';
    if (!client->skips_unit && !is_late_copy && message->type != 'H' &&
        !(client->virtual_failure && virtual_failure_take(client, message)))
        return false;
    if (client->skips_unit && message->type == 'S') {
        client->skips_unit = false;
        say_ready(client);
    }
    *take = client->state == CLIENT_CLOSED ? TAKE_STOP : drop_message(walk, message);
    return true;
}

/* What a type byte of a client means before anything else of its message is known. */
enum { IS_KNOWN = 1, IS_SMALL = 2, IS_OF_COPY = 4, IS_QUERY = 8 };

static const uint8_t traits[256] = {
    ['Q'] = IS_KNOWN | IS_QUERY,
    ['P'] = IS_KNOWN,
    ['B'] = IS_KNOWN,
    ['D'] = IS_KNOWN | IS_SMALL,
    ['E'] = IS_KNOWN | IS_SMALL,
    ['C'] = IS_KNOWN | IS_SMALL,
    ['S'] = IS_KNOWN | IS_SMALL,
    ['H'] = IS_KNOWN | IS_SMALL | IS_OF_COPY, /* a Flush owes nothing, in a COPY or out of it */
    ['F'] = IS_KNOWN,
    ['d'] = IS_KNOWN | IS_OF_COPY,
    ['c'] = IS_KNOWN | IS_SMALL | IS_OF_COPY,
    ['f'] = IS_KNOWN | IS_OF_COPY,
    ['X'] = IS_KNOWN | IS_SMALL,
};

static bool is_small(uint8_t type)
{
    return traits[type] & IS_SMALL;
}

static bool word_ends_transaction(const char *word)
{
    static const char *const words[] = {"ROLLBACK", "COMMIT", "END", "ABORT", "PREPARE", ""};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

/* A unit that begins with one of these would run even if the client's settings in front of it
 * failed (MECHANISMS §4.2): it waits for their confirmation. */
static bool must_wait_for_prefix(const struct client *client, const struct message *message)
{
    char word[16] = "";
    if (client->virtual_failure) /* without its failed block anything would run */
        return true;
    const char *text = (const char *)message->body.data;
    size_t size = message->body.size;
    if (message->type == 'Q') {
        query_first_word(text, size, word, sizeof(word));
        return word_ends_transaction(word);
    }
    if (message->type == 'P') {
        size_t name = strnlen(text, size);
        if (name < size)
            query_first_word(text + name + 1, size - name - 1, word, sizeof(word));
        return word_ends_transaction(word);
    }
    struct bind_message bind;
    bool need_more;
    if (message->type != 'B' || !bind_message_read(message->body, &bind, &need_more))
        return message->type != 'S';
    const struct client_statement *named =
        client_statements_find(&client->statements, bind.statement);
    if (!named)
        return true;
    const struct shared_statement *statement = named->statement;
    query_first_word((const char *)statement->parse + MESSAGE_HEAD + STATEMENT_NAME_SIZE,
                     statement->query_size, word, sizeof(word));
    return word_ends_transaction(word);
}

/* May the next message go out now? */
static bool is_held(struct client *client, const struct message *message)
{
    struct server *server = client->server;
    if (client->unit_has_begun || server->ledger.copy_in)
        return false;
    if (client->probe_left > 0)
        return true;
    if (client->prefix_left > 0)
        return client->is_repeating || server->ledger.syncs > client->prefix_left ||
               must_wait_for_prefix(client, message);
    if (client->holds_units) /* each unit must be seen to end its transaction */
        return server->ledger.syncs > 0 || listen_is_busy(client);
    /* Others wait: what is pipelined behind goes on after they had their turn (MECHANISMS §5.3). */
    return !client->is_session_mode && server->ledger.syncs > 0 &&
           atomic_load_explicit(&client->pool->waiting, memory_order_relaxed) > 0;
}

static enum take make_room(struct request_walk *walk)
{
    static const uint8_t flush[] = {'H', 0, 0, 0, 4};
    if (request_hear_settled(walk->client))
        return walk->client->state == CLIENT_CLOSED ? TAKE_STOP : TAKE_NEXT;
    if (!walk->client->flush_was_sent && !request_put(walk, flush, sizeof(flush)))
        return TAKE_STOP;
    walk->client->flush_was_sent = true;
    return request_hold(walk);
}

static enum take take_message(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    enum take take;
    if (!traits[message->type])
        return request_refuse(walk, SQLSTATE_PROTOCOL_VIOLATION, "unknown pkt");
    if (is_small(message->type) && message->size > SMALL_MESSAGE_MAX)
        return request_refuse(walk, SQLSTATE_PROTOCOL_VIOLATION, "invalid message length");
    if (traits[message->type] & IS_QUERY && client->set->config->settings.disable_pqexec)
        return request_refuse(walk, SQLSTATE_PROTOCOL_VIOLATION, "PQexec disallowed");
    if (message->type == 'X') {
        client->said_terminate = true;
        if (request_flush(walk))
            client_close(client, "client close request");
        return TAKE_STOP;
    }
    if (!client->server) {
        if (take_without_server(walk, message, &take))
            return take;
        if (session_refuse_pin(walk, message))
            return client->state == CLIENT_CLOSED ? TAKE_STOP : TAKE_NEXT;
        client->needs_server = true;
        loop_defer(client->set->loop, LOOP_GRANT, &client->grant_task);
        return TAKE_STOP;
    }
    if (!ledger_has_room(&client->server->ledger, LEDGER_ROOM))
        return make_room(walk);
    bool is_of_copy = traits[message->type] & IS_OF_COPY;
    if (!is_of_copy && is_held(client, message))
        return request_hold(walk);
    client->flush_was_sent = false;
    if (!is_of_copy && !client->is_in_request) {
        requests_begin(client);
        attach_arm(client);
    }
    take = take_with_server(walk, message);
    if (take == TAKE_NEXT)
        walk->received += message->size;
    return take;
}

static enum take take_one(struct request_walk *walk)
{
    struct client *client = walk->client;
    if (stream_is_blocked(
            &client->stream)) { /* who does not read its answers is not read, either */
        if (request_flush(walk))
            stream_pause(&client->stream);
        return TAKE_STOP;
    }
    if (client->server && stream_is_blocked(&client->server->stream)) {
        if (request_flush(walk))
            stream_pause(&client->stream); /* until the server has taken what it has (progress) */
        return TAKE_STOP;
    }
    struct span input = stream_input(&client->stream);
    size_t left = input.size - walk->run;
    if (client->pass > 0)
        return take_rest(walk, left);
    struct message message;
    switch (message_peek(input.data + walk->run, left,
                         client->set->config->settings.max_packet_size, &message)) {
    case MESSAGE_PARTIAL:
        /* Half a message on a server costs that server if its client leaves: what fits a buffer is
         * sent whole. */
        if (traits[message.type] & IS_KNOWN && message.size <= BUFFER_SIZE)
            return request_want_whole(walk, &message);
        __attribute__((fallthrough));
    case MESSAGE_WHOLE:
        return take_message(walk, &message);
    case MESSAGE_NONE:
        return TAKE_STOP;
    case MESSAGE_BAD:
        break;
    }
    return request_refuse(walk, SQLSTATE_PROTOCOL_VIOLATION, "invalid message length");
}

void requests_process(struct client *client)
{
    struct request_walk walk = {.client = client};
    if (client->state == CLIENT_CLOSED)
        return;
    if (client->server) {
        client->server->owner_holds = false;
        if (!send_withheld_sync(&walk))
            return;
    }
    while (take_one(&walk) == TAKE_NEXT && client->state != CLIENT_CLOSED)
        ;
    note_bytes(&walk);
    if (client->state == CLIENT_CLOSED)
        return;
    if (walk.unnamed_parse)
        unnamed_keep(&walk);
    if (client->state == CLIENT_CLOSED || !request_flush(&walk))
        return;
    /* The end of a COPY that had failed brings no ReadyForQuery: nothing else would part them. */
    if (client->state == CLIENT_ACTIVE && !client->is_session_mode && !client->is_in_request &&
        !client->unit_has_begun && client->pass == 0 && !client->pins &&
        server_is_clean(client->server))
        session_rest(client);
}

void requests_go_on(struct client *client)
{
    stream_resume(&client->stream);
    requests_process(client);
}

void requests_grant_task(struct loop_task *task)
{
    struct client *client = (struct client *)((char *)task - offsetof(struct client, grant_task));
    if (client->state != CLIENT_IDLE)
        return;
    if (!client->needs_server) { /* what is left in the buffer may need none */
        requests_process(client);
        return;
    }
    client->needs_server = false;
    attach_acquire(client);
}

static void input(struct stream *stream)
{
    struct client *client = client_of_stream(stream);
    if (client->state == CLIENT_IDLE || client->state == CLIENT_ACTIVE)
        requests_process(client);
}

static void drained(struct stream *stream)
{
    struct client *client = client_of_stream(stream);
    if (client->listening)
        listen_tell_later(client);
    if (client->server)
        stream_resume(&client->server->stream);
    stream_resume(stream);
}

static void closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    client_close(client_of_stream(stream), "client unexpected eof");
}

static const struct stream_events request_events = {
    .input = input,
    .drained = drained,
    .closed = closed,
};

void requests_start(struct client *client)
{
    client->stream.events = &request_events;
    client->grant_task.run = requests_grant_task;
    if (client->state != CLIENT_ACTIVE)
        client_move_state(client, CLIENT_IDLE);
    if (atomic_load(&client->set->shared->is_suspended))
        stream_hold(&client->stream); /* offers what is there when it is let go */
    else if (stream_input(&client->stream).size > 0)
        requests_process(client);
}

/* Nothing of the unit was sent: the rest of it is skipped, as PostgreSQL would. */
static void skip_unit_ahead(struct client *client)
{
    struct request_walk walk = {.client = client};
    struct span input_left = stream_input(&client->stream);
    struct message message;
    if (message_peek(input_left.data, input_left.size, UINT32_MAX, &message) > MESSAGE_PARTIAL)
        return;
    if (message.type == 'Q' || message.type == 'F') {
        drop_message(&walk, &message);
        say_ready(client);
    } else {
        client->skips_unit = true;
    }
}

void requests_fail_unit(struct client *client, const struct error *error, enum request_unit unit)
{
    uint8_t memory[1024];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_error(&out, "ERROR", error);
    if (!bytes_ok(&out) || !stream_put(&client->stream, out.data, out.size)) {
        client_close(client, "out of memory");
        return;
    }
    switch (unit) {
    case REQUEST_UNIT_IS_AHEAD:
        skip_unit_ahead(client);
        break;
    case REQUEST_UNIT_HAS_BEGUN:
        client->skips_unit = true;
        break;
    case REQUEST_UNIT_IS_SENT:
        say_ready(client);
        break;
    }
    requests_process(client);
}

void requests_cancel_waiting(struct client *client)
{
    struct error error;
    if (client->state != CLIENT_WAITING || !pool_waiter_leave(&client->waiter))
        return;
    deadline_clear(&client->deadline);
    client->is_in_request = client->is_in_transaction = false;
    client_move_state(client, CLIENT_IDLE);
    error_set(&error, SQLSTATE_QUERY_CANCELED, "canceling statement due to user request");
    requests_fail_unit(client, &error, REQUEST_UNIT_IS_AHEAD);
}
