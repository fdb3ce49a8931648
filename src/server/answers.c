/* What servers say, once they are logged in.
 *
 * Messages that go to the client are collected as a run at the front of the input and forwarded in
 * one piece, in place. The hot path is a run of DataRows: their heads are stepped over without
 * asking the ledger for each.
 */
#include <string.h>

#include "server_private.h"
#include "wire/answer.h"
#include "wire/build.h"
#include "wire/message.h"

/* Longest message that is looked into as a whole (errors, notices, settings); DataRow and CopyData
 * are passed on in parts, whatever their size. */
#define ANSWER_WHOLE_MAX (1024 * 1024)

/* Why PostgreSQL says that it has cancelled a statement. */
#define USER_REQUEST "user request"

enum take { TAKE_NEXT, TAKE_STOP };

/* The walk through one input: `run` bytes at its front are to be forwarded. */
struct walk {
    struct server *server;
    size_t run;
};

static bool flush_run(struct walk *walk)
{
    struct server *server = walk->server;
    size_t size = walk->run;
    walk->run = 0;
    if (size == 0)
        return true;
    server->stats->sent += size;
    if (!server->peer) {
        stream_consume(&server->stream, size);
        return true;
    }
    if (server->may_repeat)
        server_forget_request(server);
    if (stream_forward(server->peer, &server->stream, size))
        return true;
    server_close(server, "out of memory", NULL);
    return false;
}

static bool swallow(struct walk *walk, size_t size)
{
    if (!flush_run(walk))
        return false;
    walk->server->stats->sent += size;
    stream_consume(&walk->server->stream, size);
    return true;
}

static void hear_settled(struct server *server)
{
    struct ledger_entry entry;
    while (server->state != SERVER_CLOSED && ledger_take_settled(&server->ledger, &entry))
        if (server->events)
            server->events->settled(server, &entry);
}

/* What became settled is heard of behind the message that settled it. */
static bool after_match(struct walk *walk)
{
    if (!ledger_has_settled(&walk->server->ledger))
        return true;
    if (!flush_run(walk))
        return false;
    hear_settled(walk->server);
    enum server_state state = walk->server->state;
    return state == SERVER_ACTIVE || state == SERVER_TESTED || state == SERVER_RECOVERING;
}

static bool tell_settings(struct server *server)
{
    uint8_t memory[BUFFER_SIZE];
    struct bytes out = bytes_over(memory, sizeof(memory));
    told_parameters_update(server->told, &server->parameters, server->set->parameter_names, &out);
    return bytes_ok(&out) && stream_put(server->peer, out.data, out.size);
}

static enum take unasked(struct walk *walk)
{
    struct server *server = walk->server;
    struct error why;
    if (!flush_run(walk))
        return TAKE_STOP;
    error_set(&why, SQLSTATE_CONNECTION_FAILURE, "server said something that nobody asked for");
    server_close(server, server->owner ? "unknown pkt" : "idle server got dirty", &why);
    return TAKE_STOP;
}

/* The owner says it, or what it says instead. */
static enum take take_watched(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    bool is_open = server->ready_watch & READY_WATCH_OPEN && server->ledger.status != 'I';
    if (!swallow(walk, message->size))
        return TAKE_STOP;
    hear_settled(server);
    if (server->events && is_open)
        server->events->left_open(server);
    else if (server->events)
        server->events->ready_held(server);
    return TAKE_NEXT;
}

static enum take take_ready(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    uint8_t status;
    if (!ready_for_query_read(message->body, &status))
        return unasked(walk);
    switch (ledger_match(&server->ledger, 'Z', status)) {
    case LEDGER_READY:
        if (server->ready_watch && (status != 'I' || server->ready_watch & READY_WATCH_ALL))
            return take_watched(walk, message);
        if (server->told && server->told->digest != server->parameters.digest &&
            (!flush_run(walk) || !tell_settings(server))) {
            server_close(server, "out of memory", NULL);
            return TAKE_STOP;
        }
        walk->run += message->size;
        if (!flush_run(walk))
            return TAKE_STOP;
        hear_settled(server);
        if (server->events)
            server->events->ready(server, false);
        return TAKE_NEXT;
    case LEDGER_READY_OURS:
        if (!swallow(walk, message->size))
            return TAKE_STOP;
        hear_settled(server);
        if (server->events)
            server->events->ready(server, true);
        else if (server->state == SERVER_TESTED)
            loop_defer(server->set->loop, LOOP_GRANT, &server->release_task);
        return TAKE_NEXT;
    case LEDGER_TO_CLIENT:
    case LEDGER_TO_NOBODY:
    case LEDGER_ASYNC:
    case LEDGER_UNASKED:
        break;
    }
    return unasked(walk);
}

static enum take take_parameter(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    const char *name, *value;
    if (!parameter_status_read(message->body, &name, &value)) {
        server_close(server, "broken ParameterStatus packet", NULL);
        return TAKE_STOP;
    }
    int slot = parameter_slot(server->set->parameter_names, name);
    if (slot >= 0 && !server_parameters_set(&server->parameters, slot, value)) {
        server_close(server, "out of memory", NULL);
        return TAKE_STOP;
    }
    if (slot >= 0 && server->events)
        server->events->parameter(server, slot, ledger_head_is_clients(&server->ledger));
    return swallow(walk, message->size) ? TAKE_NEXT : TAKE_STOP;
}

/* Notices go to the client whose message runs; notifications only in session mode, where the
 * session is the client's own. */
static enum take take_async(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    if (message->type == 'S')
        return take_parameter(walk, message);
    if (message->type == 'A' && server->events && server->events->notified)
        server->events->notified(server, message->body);
    bool is_clients = message->type == 'N' ? ledger_is_empty(&server->ledger) ||
                                                 ledger_head_is_clients(&server->ledger)
                                           : server->is_session_owners;
    if (server->peer && is_clients) {
        walk->run += message->size;
        return TAKE_NEXT;
    }
    return swallow(walk, message->size) ? TAKE_NEXT : TAKE_STOP;
}

static void keep_error(struct server *server, const struct error_response *error)
{
    error_set(&server->swallowed_error, error->sqlstate, "%s", error->message);
}

/* An ErrorResponse that answers nothing: the server is going (57P01 and the like). A client that
 * has it is told. */
static enum take take_last_words(struct walk *walk, const struct message *message,
                                 const struct error_response *error)
{
    struct server *server = walk->server;
    keep_error(server, error);
    server->must_close = true;
    if (!server->owner) {
        struct error why = server->swallowed_error;
        server_close(server, "idle server got dirty", &why);
        return TAKE_STOP;
    }
    walk->run += message->size;
    server->told_error = true;
    return TAKE_NEXT;
}

/* A cached plan whose result has changed, or a statement of ours that somebody has removed behind
 * our back: the client is told, the next ones find it parsed again. */
static bool tells_of_stale_statement(const struct error_response *error)
{
    if (strcmp(error->sqlstate, "0A000") == 0)
        return strcmp(error->routine, "RevalidateCachedQuery") == 0;
    return strcmp(error->sqlstate, "26000") == 0 &&
           strstr(error->message, STATEMENT_NAME_PREFIX) != NULL;
}

/* Names of statements on servers are ours: the client is told its own (MECHANISMS §3.1). Writes the
 * name that stands in the error's text. */
static bool has_our_name(const struct error_response *error, char name[STATEMENT_NAME_SIZE])
{
    const char *found = strstr(error->message, STATEMENT_NAME_PREFIX);
    if (!found || strlen(found) < STATEMENT_NAME_SIZE - 1)
        return false;
    memcpy(name, found, STATEMENT_NAME_SIZE - 1);
    name[STATEMENT_NAME_SIZE - 1] = '\0';
    return true;
}

static bool put_renamed(struct walk *walk, const struct message *message, const char *from,
                        const char *to)
{
    struct bytes out;
    bytes_init(&out, message->size + strlen(to) + MESSAGE_HEAD);
    build_error_renamed(&out, message->body, from, to);
    bool ok = bytes_ok(&out) && flush_run(walk) &&
              stream_put(walk->server->peer, out.data, out.size) && swallow(walk, message->size);
    bytes_finish(&out);
    return ok;
}

/* A cancel of ours is no user's request. Where the server speaks another language, its text stays.
 */
static const char *cancelled_for(const struct server *server, const struct error_response *error)
{
    bool is_cancel = strcmp(error->sqlstate, SQLSTATE_QUERY_CANCELED) == 0 &&
                     strstr(error->message, USER_REQUEST) != NULL;
    return is_cancel && server->events && server->events->cancelled_for && server->peer
               ? server->events->cancelled_for(server)
               : NULL;
}

/* False: the server is closed. */
static bool pass_error_on(struct walk *walk, const struct message *message,
                          const struct error_response *error, const void *tag)
{
    struct server *server = walk->server;
    char name[STATEMENT_NAME_SIZE] = USER_REQUEST;
    const char *called = cancelled_for(server, error);
    if (server->events && server->events->client_name && server->peer && has_our_name(error, name))
        called = server->events->client_name(server, tag, name);
    if (!called) {
        walk->run += message->size;
        return true;
    }
    if (put_renamed(walk, message, name, called))
        return true;
    server_close(server, "out of memory", NULL);
    return false;
}

/* Nothing of the owner's request has had an effect or an answer: it may be asked again. */
static bool may_repeat(const struct walk *walk)
{
    const struct server *server = walk->server;
    return server->may_repeat && walk->run == 0 && server->peer && stream_is_kept(server->peer) &&
           !server->request_is_partial && ledger_may_repeat(&server->ledger);
}

/* The error, and what is skipped behind it, is for nobody (MECHANISMS §3.5). */
static enum take repeat(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    if (!swallow(walk, message->size))
        return TAKE_STOP;
    ledger_match(&server->ledger, 'E', 0);
    if (!after_match(walk))
        return TAKE_STOP;
    server->may_repeat = false;
    server->events->repeat(server);
    return TAKE_NEXT;
}

/* Last words that were said before anything of the owner's request was there: it is closed, and the
 * owner takes its request to another. */
static bool ends_unread(struct walk *walk, const struct error_response *error)
{
    struct server *server = walk->server;
    if (!server->may_repeat || walk->run > 0 ||
        !stream_nothing_arrived(&server->stream, server->sent_before))
        return false;
    keep_error(server, error);
    struct error why = server->swallowed_error;
    server->ended_unread = true;
    server_close(server, "ended before it had read a request", &why);
    return true;
}

static enum take take_error(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    struct error_response error;
    if (!error_response_read(message->body, &error))
        return unasked(walk);
    tally_add(&server->set->errors, error.sqlstate, "");
    if (tells_of_stale_statement(&error)) {
        server_statements_mark_stale(&server->statements);
        server->found_changed = strcmp(error.sqlstate, "0A000") == 0;
        if (may_repeat(walk))
            return repeat(walk, message);
        if (server->found_changed && server->events && server->events->changed)
            server->events->changed(server);
    }
    bool is_fatal = strcmp(error.severity, "FATAL") == 0 || strcmp(error.severity, "PANIC") == 0;
    if (is_fatal && ends_unread(walk, &error))
        return TAKE_STOP;
    if (server->may_repeat)
        server_forget_request(server);
    if (is_fatal)
        server->must_close = true;
    const void *tag = ledger_head_tag(&server->ledger);
    uint8_t provoked = strcmp(error.sqlstate, "42601") == 0 ? ledger_provoked(&server->ledger) : 0;
    enum ledger_verdict verdict = ledger_match(&server->ledger, 'E', 0);
    if (verdict == LEDGER_UNASKED)
        return take_last_words(walk, message, &error);
    if (provoked && server->events) {
        if (!swallow(walk, message->size))
            return TAKE_STOP;
        server->events->provoked(server, provoked);
    } else if (verdict == LEDGER_TO_CLIENT) {
        if (!pass_error_on(walk, message, &error, tag))
            return TAKE_STOP;
        server->told_error = is_fatal;
    } else {
        keep_error(server, &error);
        if (!swallow(walk, message->size))
            return TAKE_STOP;
    }
    if (!after_match(walk))
        return TAKE_STOP;
    if (server->events && server->ledger.is_skipping) {
        if (!flush_run(walk))
            return TAKE_STOP;
        server->events->progress(server);
    }
    return TAKE_NEXT;
}

/* DEALLOCATE, DEALLOCATE ALL and DISCARD ALL end what the names stood for. In front of
 * ledger_match, while what was asked is the oldest thing owed. */
static void note_tag(struct server *server, const struct message *message)
{
    const char *tag;
    if (message->body.size < 11 || message->body.data[0] != 'D' ||
        !command_tag_read(message->body, &tag))
        return;
    if (strcmp(tag, "DEALLOCATE") == 0 && ledger_head_tag(&server->ledger))
        statement_delta_told(ledger_head_tag(&server->ledger));
    if (strcmp(tag, "DEALLOCATE ALL") != 0 && strcmp(tag, "DISCARD ALL") != 0)
        return;
    server_statements_forget(&server->statements);
    server->holds_probe = false;
    if (server->events)
        server->events->forgot_statements(server);
}

#ifdef PGWEIR_BREAK_EARLY_RELEASE
/* A fault on purpose, in a build of its own: the torture test must catch it. */
static bool break_early(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    if (message->type != 'C' || !server->events || server->ledger.status != 'I' ||
        server->ledger.tail - server->ledger.head != 1 ||
        server->ledger.entries[server->ledger.head % LEDGER_ENTRIES].kind != LEDGER_SYNC)
        return true;
    if (!flush_run(walk))
        return false;
    server->events->ready(server, false);
    return true;
}
#endif

/* Any other message that is all there. */
static enum take take_answer(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    if (message->type == 'C')
        note_tag(server, message);
    switch (ledger_match(&server->ledger, message->type, 0)) {
    case LEDGER_TO_CLIENT:
        walk->run += message->size;
        break;
    case LEDGER_TO_NOBODY:
        if (message->type == 'D' && server->events && server->events->row)
            server->events->row(server, message->body);
        if (!swallow(walk, message->size))
            return TAKE_STOP;
        break;
    case LEDGER_READY:
    case LEDGER_READY_OURS:
    case LEDGER_ASYNC:
    case LEDGER_UNASKED:
        return unasked(walk);
    }
#ifdef PGWEIR_BREAK_EARLY_RELEASE
    if (!break_early(walk, message))
        return TAKE_STOP;
#endif
    if (!after_match(walk))
        return TAKE_STOP;
    if (message->type == 'G' && server->events) {
        if (!flush_run(walk))
            return TAKE_STOP;
        server->events->progress(server);
    }
    return TAKE_NEXT;
}

/* ParameterDescription. Behind it the error of a stale statement may stand, and then nothing of the
 * Describe is for the client. False: it is an answer like others. */
static bool take_parameters(struct walk *walk, const struct message *message, enum take *take)
{
    struct server *server = walk->server;
    struct span input = stream_input(&server->stream);
    struct message next;
    struct error_response error;
    if (!may_repeat(walk))
        return false;
    input.data += message->size;
    input.size -= message->size;
    enum message_verdict state = message_peek(input.data, input.size, ANSWER_WHOLE_MAX, &next);
    bool is_error = state != MESSAGE_NONE && state != MESSAGE_BAD && next.type == 'E';
    if (state == MESSAGE_NONE || (state == MESSAGE_PARTIAL && is_error)) {
        size_t more = is_error ? next.size : MESSAGE_HEAD;
        stream_want(&server->stream, message->size + more);
        *take = TAKE_STOP;
        return true;
    }
    if (!is_error || !error_response_read(next.body, &error) || !tells_of_stale_statement(&error))
        return false;
    ledger_match(&server->ledger, 't', 0);
    *take = swallow(walk, message->size) ? TAKE_NEXT : TAKE_STOP;
    return true;
}

/* A row in answer to the pooler is looked at as a whole. */
static bool may_come_in_parts(const struct server *server, uint8_t type)
{
    if (type == 'D' && server->events && server->events->row &&
        !ledger_head_is_clients(&server->ledger))
        return false;
    return type == 'D' || type == 'd' || type == 'V';
}

/* The head of a message whose rest is still to come. */
static enum take take_partial(struct walk *walk, const struct message *message)
{
    struct server *server = walk->server;
    if (!may_come_in_parts(server, message->type)) {
        if (message->size > ANSWER_WHOLE_MAX)
            return unasked(walk);
        if (!flush_run(walk))
            return TAKE_STOP;
        stream_want(&server->stream, message->size);
        return TAKE_STOP;
    }
    enum ledger_verdict verdict = ledger_match(&server->ledger, message->type, 0);
    if (verdict != LEDGER_TO_CLIENT && verdict != LEDGER_TO_NOBODY)
        return unasked(walk);
    server->pass = message->size;
    server->pass_to_client = verdict == LEDGER_TO_CLIENT;
    return TAKE_NEXT;
}

static enum take take_whole(struct walk *walk, const struct message *message)
{
    enum take take;
    switch (message->type) {
    case 'Z':
        return take_ready(walk, message);
    case 'E':
        return take_error(walk, message);
    case 'N':
    case 'S':
    case 'A':
        return take_async(walk, message);
    case 't':
        if (take_parameters(walk, message, &take))
            return take;
        __attribute__((fallthrough));
    default:
        return take_answer(walk, message);
    }
}

/* The rest of a message that comes in parts. */
static enum take take_rest(struct walk *walk, size_t available)
{
    struct server *server = walk->server;
    if (available == 0)
        return TAKE_STOP;
    size_t size = server->pass < available ? server->pass : available;
    server->pass -= (uint32_t)size;
    if (server->pass_to_client)
        walk->run += size;
    else if (!swallow(walk, size))
        return TAKE_STOP;
    if (server->pass == 0 && !after_match(walk))
        return TAKE_STOP;
    return TAKE_NEXT;
}

/* Steps over whole DataRows (CopyData) that belong to the head and go to the client. */
static void step_over_rows(struct walk *walk, struct span input)
{
    struct server *server = walk->server;
    uint8_t type = input.data[walk->run];
    if (type != 'D' && !(type == 'd' && (server->ledger.copy_out || server->ledger.copy_both)))
        return;
    if (ledger_match(&server->ledger, type, 0) != LEDGER_TO_CLIENT)
        return;
    struct message message;
    size_t at = walk->run;
    while (message_peek(input.data + at, input.size - at, UINT32_MAX, &message) == MESSAGE_WHOLE &&
           message.type == type)
        at += message.size;
    walk->run = at;
}

static enum take take_one(struct walk *walk)
{
    struct server *server = walk->server;
    struct span input = stream_input(&server->stream);
    if (server->pass > 0)
        return take_rest(walk, input.size - walk->run);
    if (input.size - walk->run >= MESSAGE_HEAD)
        step_over_rows(walk, input);
    struct message message;
    switch (message_peek(input.data + walk->run, input.size - walk->run, UINT32_MAX, &message)) {
    case MESSAGE_WHOLE:
        return take_whole(walk, &message);
    case MESSAGE_PARTIAL:
        return take_partial(walk, &message);
    case MESSAGE_NONE:
        return TAKE_STOP;
    case MESSAGE_BAD:
        break;
    }
    server_close(server, "bad pkt header", NULL);
    return TAKE_STOP;
}

/* Of a server that owes nothing: whoever gets it next would take the rest for his own. */
static bool is_in_mid_message(struct server *server)
{
    return ledger_is_empty(&server->ledger) && stream_input(&server->stream).size > 0;
}

void server_input(struct stream *stream)
{
    struct server *server = server_of_stream(stream);
    if (server->peer && stream_is_blocked(server->peer)) {
        stream_pause(stream); /* until the client has taken what it has (attach resumes) */
        return;
    }
    struct walk walk = {.server = server};
    while (take_one(&walk) == TAKE_NEXT)
        if (server->state == SERVER_CLOSED || server->state == SERVER_CLOSING)
            return;
    if (server->state == SERVER_CLOSED || server->state == SERVER_CLOSING || !flush_run(&walk))
        return;
    if (!server->owner && is_in_mid_message(server)) {
        unasked(&walk);
        return;
    }
    if (server->owner_holds && server->events)
        server->events->progress(server);
}

void server_drained(struct stream *stream)
{
    struct server *server = server_of_stream(stream);
    if (server->events)
        server->events->progress(server);
}

void server_closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)why;
    struct server *server = server_of_stream(stream);
    /* Behind a FIN it reads nothing; a reset says only that something was sent in vain. */
    server->ended_unread = server->may_repeat &&
                           (end == STREAM_EOF || stream_sent(stream) == server->sent_before) &&
                           stream_nothing_arrived(stream, server->sent_before);
    server->must_close = true;
    server->end_was_seen = true;
    struct error error;
    error_set(&error, SQLSTATE_CONNECTION_FAILURE, "server conn crashed?");
    server_close(server, "server conn crashed?", &error);
}

const struct stream_events server_stream_events = {
    .input = server_input,
    .drained = server_drained,
    .closed = server_closed,
};
