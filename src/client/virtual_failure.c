/* idle_transaction_timeout and transaction_timeout: a transaction that idles, or takes, too long is
 * rolled back, and its client lives.
 *
 * Nothing is said unasked: an error that comes by itself is a notice to one driver, the end to
 * another, the answer to the next query to a third. The client's first unit is answered without a
 * server, so that it learns what happened; later ones meet a real failed block, so that every
 * answer is PostgreSQL's own. Nothing of it ever commits by itself, and no COMMIT looks like a
 * success (MECHANISMS §3.4).
 */
#include <string.h>

#include "client_private.h"
#include "ledger/statements.h"
#include "wire/build.h"
#include "wire/message.h"
#include "wire/query.h"

/* How long the end of the ROLLBACK is waited for, before both are closed. */
#define ROLLBACK_GRACE (5 * USEC_PER_SEC)
/* Answers 3B001, and leaves a failed block. */
#define FAILED_BLOCK "BEGIN; ROLLBACK TO SAVEPOINT pgweir_idle_transaction_timeout"

/* -- with a server
 * -----------------------------------------------------------------------------------------------
 */

/* Its messages are held meanwhile, as if settings of ours were in front of them. */
static void roll_back(struct client *client)
{
    if (!attach_ask(client, "ROLLBACK"))
        return;
    client->awaits_rollback = true;
    client->prefix_left = 1;
    deadline_set(&client->set->transaction_deadlines, &client->deadline,
                 loop_now(client->set->loop) + ROLLBACK_GRACE);
}

/* How a client and the log are told; the text of the log is PgBouncer's. */
static const struct {
    const char *sqlstate, *log, *message, *hint;
} reasons[] = {
    [VIRTUAL_FAILURE_IDLENESS] = {SQLSTATE_IDLE_IN_TRANSACTION, "idle transaction timeout",
                                  "terminating transaction due to idle-in-transaction timeout",
                                  "It was idle for longer than idle_transaction_timeout and was "
                                  "rolled back. ROLLBACK, and run it again from its start."},
    [VIRTUAL_FAILURE_AGE] = {SQLSTATE_TRANSACTION_TIMEOUT, "transaction timeout",
                             "terminating transaction due to transaction timeout",
                             "It took longer than transaction_timeout and was rolled back. "
                             "ROLLBACK, and run it again from its start."},
};

void virtual_failure_begin(struct client *client, enum virtual_failure_reason reason)
{
    /* The session of a client in session mode is on its server; and what is half sent cannot be
     * undone. */
    if (client->awaits_rollback || client->is_session_mode || client->is_statement_mode ||
        client->pins || client->server->request_is_partial) {
        client_refuse_text(client, reasons[reason].sqlstate, reasons[reason].log);
        return;
    }
    notice_pooler_error(client, reasons[reason].log);
    client->failed_by_age = reason == VIRTUAL_FAILURE_AGE;
    /* Who has seen a statement cancelled for the transaction's time knows. */
    bool is_told = client->failed_by_age && client->server->ledger.status == 'E';
    client->virtual_failure = is_told ? VIRTUAL_FAILURE_TOLD : VIRTUAL_FAILURE_OWED;
    client->virtual_portal = QUERY_OTHER;
    roll_back(client);
}

/* Where a cancel that came late has struck the ROLLBACK, the server is cleared up without us. */
static void rolled_back(struct client *client)
{
    client->awaits_rollback = client->is_in_transaction = false;
    client->prefix_left = 0;
    client->server->ledger.error_in_swallowed = false;
    client->touched = 0; /* the client is told nothing now */
    attach_part(client);
}

bool virtual_failure_open(struct client *client)
{
    if (!attach_ask(client, FAILED_BLOCK))
        return false;
    client->prefix_left++;
    return true;
}

bool virtual_failure_opened(struct client *client)
{
    struct server *server = client->server;
    if (client->prefix_left > 1)
        return true; /* that was one of the client's settings */
    if (server->ledger.status == 'E') {
        server->ledger.error_in_swallowed = false;
        return true;
    }
    server->must_close = true; /* rather than let the unit run without the block */
    client_refuse(client, &server->swallowed_error);
    return false;
}

bool virtual_failure_ready(struct client *client)
{
    const struct ledger *ledger = &client->server->ledger;
    if (client->awaits_rollback) {
        rolled_back(client);
        return true;
    }
    if (ledger->status != 'E' || client->is_session_mode) {
        client->virtual_failure = VIRTUAL_FAILURE_NONE;
        return false;
    }
    if (client->is_in_request || client->unit_has_begun || client->pass > 0)
        return false;
    roll_back(client);
    return true;
}

/* -- without a server
 * --------------------------------------------------------------------------------------------
 */

static void no_memory(struct client *client)
{
    client_close(client, "out of memory");
}

static void say(struct client *client, const struct bytes *out)
{
    if (!bytes_ok(out) || !stream_put(&client->stream, out->data, out->size))
        no_memory(client);
}

static void say_empty(struct client *client, uint8_t type)
{
    uint8_t memory[8];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_empty(&out, type);
    say(client, &out);
}

static void say_ready(struct client *client)
{
    uint8_t memory[8];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_ready_for_query(&out, virtual_failure_status(client));
    say(client, &out);
}

static void say_rolled_back(struct client *client)
{
    uint8_t memory[32];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_command_complete(&out, "ROLLBACK");
    say(client, &out);
}

/* What is left of the unit is skipped where a Sync ends it. */
static void say_error(struct client *client, enum virtual_failure_state next, bool skips)
{
    uint8_t memory[1024];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct error error;
    client->virtual_failure = (uint8_t)next;
    client->skips_unit = skips;
    bool is_age = client->failed_by_age;
    error_set(&error, reasons[is_age].sqlstate, "%s", reasons[is_age].message);
    error_hint(&error, "%s", reasons[is_age].hint);
    build_error(&out, "ERROR", &error);
    say(client, &out);
}

static bool is_whole(const struct message *message)
{
    return message->body.size + MESSAGE_HEAD == message->size;
}

static void take_query(struct client *client, const struct message *message)
{
    const char *text = (const char *)message->body.data;
    size_t size = message->body.size;
    bool is_text = is_whole(message) && size > 0 && memchr(text, 0, size) == text + size - 1;
    unnamed_define(client, NULL);
    client->virtual_portal = QUERY_OTHER;
    switch (is_text ? query_ending(text, size - 1) : QUERY_OTHER) {
    case QUERY_ROLLBACK:
        client->virtual_failure = VIRTUAL_FAILURE_NONE;
        say_rolled_back(client);
        break;
    case QUERY_COMMIT:
        say_error(client, VIRTUAL_FAILURE_NONE, false);
        break;
    case QUERY_EMPTY:
        say_empty(client, 'I');
        break;
    case QUERY_OTHER:
        say_error(client, VIRTUAL_FAILURE_TOLD, false);
        break;
    }
    if (client->state != CLIENT_CLOSED)
        say_ready(client);
}

/* Texts with parameters are no such statements. */
static enum query_ending ending_of_parse(struct span body)
{
    struct parse_message parse;
    if (!parse_message_read(body, &parse) || parse.type_count > 0)
        return QUERY_OTHER;
    return query_ending(parse.query, strlen(parse.query));
}

static enum query_ending ending_of_statement(const struct client *client, const char *name)
{
    struct span parse = unnamed_find(client);
    if (name[0] != '\0') {
        const struct client_statement *named = client_statements_find(&client->statements, name);
        parse = named ? (struct span){named->statement->parse, named->statement->parse_size}
                      : (struct span){NULL, 0};
    }
    if (parse.size < MESSAGE_HEAD)
        return QUERY_OTHER;
    return ending_of_parse((struct span){parse.data + MESSAGE_HEAD, parse.size - MESSAGE_HEAD});
}

/* False: it is none of the few that are answered, here and below. A name is not defined: that takes
 * a server. */
static bool take_parse(struct client *client, const struct message *message)
{
    if (message->body.size == 0 || message->body.data[0] != '\0' ||
        ending_of_parse(message->body) == QUERY_OTHER)
        return false;
    unnamed_define(client, message);
    say_empty(client, '1');
    return true;
}

static bool has_no_values(struct span rest)
{
    struct cursor cursor = cursor_over(rest.data, rest.size);
    uint16_t formats = cursor_u16(&cursor);
    cursor_bytes(&cursor, (size_t)formats * 2);
    uint16_t values = cursor_u16(&cursor);
    uint16_t results = cursor_u16(&cursor);
    cursor_bytes(&cursor, (size_t)results * 2);
    return cursor_finished(&cursor) && formats <= 1 && values == 0;
}

static bool take_bind(struct client *client, const struct message *message)
{
    struct bind_message bind;
    bool need_more;
    if (!bind_message_read(message->body, &bind, &need_more) || bind.portal[0] != '\0' ||
        !has_no_values(bind.rest))
        return false;
    enum query_ending ending = ending_of_statement(client, bind.statement);
    if (ending == QUERY_OTHER || ending == QUERY_EMPTY) /* PostgreSQL binds nothing else, either */
        return false;
    client->virtual_portal = (uint8_t)ending;
    say_empty(client, '2');
    return true;
}

static bool take_describe(struct client *client, const struct message *message)
{
    static const uint8_t no_parameters[] = {'t', 0, 0, 0, 6, 0, 0};
    struct target_message target;
    if (!target_message_read(message->body, &target))
        return false;
    if (target.kind == 'P') {
        if (target.name[0] != '\0' || client->virtual_portal == QUERY_OTHER)
            return false;
    } else if (ending_of_statement(client, target.name) == QUERY_OTHER) {
        return false;
    } else if (!stream_put(&client->stream, no_parameters, sizeof(no_parameters))) {
        no_memory(client);
        return true;
    }
    say_empty(client, 'n');
    return true;
}

static bool take_execute(struct client *client, const struct message *message)
{
    const char *portal;
    uint32_t max_rows;
    if (!execute_message_read(message->body, &portal, &max_rows) || portal[0] != '\0')
        return false;
    switch ((enum query_ending)client->virtual_portal) {
    case QUERY_ROLLBACK:
        client->virtual_failure = VIRTUAL_FAILURE_ROLLED_BACK;
        client->virtual_portal = QUERY_OTHER;
        say_rolled_back(client);
        return true;
    case QUERY_COMMIT:
        say_error(client, VIRTUAL_FAILURE_NONE, true);
        return true;
    case QUERY_EMPTY:
    case QUERY_OTHER:
        break;
    }
    return false;
}

/* Close of what there is not is no error, either. */
static bool take_close(struct client *client, const struct message *message)
{
    struct target_message target;
    struct statement_table *table = &client->set->statements;
    if (!target_message_read(message->body, &target))
        return false;
    if (target.kind == 'P' && target.name[0] == '\0')
        client->virtual_portal = QUERY_OTHER;
    if (target.kind == 'S' && target.name[0] == '\0')
        unnamed_define(client, NULL);
    if (target.kind == 'S' && target.name[0] != '\0') {
        struct statement_delta *delta =
            client_statements_remove(&client->statements, table, target.name);
        if (!delta) {
            no_memory(client);
            return true;
        }
        statement_delta_settle(delta, true, &client->statements, table, NULL);
    }
    say_empty(client, '3');
    return true;
}

static bool take_of_unit(struct client *client, const struct message *message)
{
    switch (message->type) {
    case 'P':
        return take_parse(client, message);
    case 'B':
        return take_bind(client, message);
    case 'D':
        return take_describe(client, message);
    case 'E':
        return take_execute(client, message);
    case 'C':
        return take_close(client, message);
    default:
        return false;
    }
}

/* Behind a ROLLBACK, in its own unit, PostgreSQL goes on in a new transaction. */
static bool take_behind_rollback(struct client *client, const struct message *message)
{
    if (message->type == 'C' && is_whole(message) && take_close(client, message))
        return true;
    client->virtual_failure = VIRTUAL_FAILURE_NONE;
    if (message->type != 'S')
        return false;
    say_ready(client);
    return true;
}

bool virtual_failure_take(struct client *client, const struct message *message)
{
    if (client->virtual_failure == VIRTUAL_FAILURE_ROLLED_BACK)
        return take_behind_rollback(client, message);
    if (client->virtual_failure != VIRTUAL_FAILURE_OWED)
        return false;
    if (message->type == 'S') {
        say_ready(client);
    } else if (message->type == 'Q') {
        take_query(client, message);
    } else if (message->type == 'F') {
        say_error(client, VIRTUAL_FAILURE_TOLD, false);
        if (client->state != CLIENT_CLOSED)
            say_ready(client);
    } else if (!is_whole(message) || !take_of_unit(client, message)) {
        say_error(client, VIRTUAL_FAILURE_TOLD, true);
    }
    return true;
}
