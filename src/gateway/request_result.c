/* What the client of a request is answered: messages, as they come, into JSON. Runs inside that
 * client's writes, so it only notes what is to be done about it (request->step does it). */
#include <string.h>

#include "gateway_private.h"
#include "wire/answer.h"
#include "wire/message.h"

/* Of a message that came in pieces there is a copy until it is whole: a row that is larger than
 * what may be answered is none of ours to keep. */
#define PARTIAL_MIN 65536

static void look_later(struct gateway_request *request)
{
    loop_defer(request->connection->client->set->loop, LOOP_WRITE, &request->step);
}

static void end(struct gateway_request *request, enum request_end how)
{
    if (request->end == REQUEST_RUNS)
        request->end = how;
    look_later(request);
}

/* ---- errors ---- */

/* What the pooler itself has to say, before and behind the login, by what a client can do about it.
 * The drivers read no JSON but at 400 (SERVERLESS §4), so that is where all errors of PostgreSQL
 * are, and those of the login. */
static int status_of_own(const char *sqlstate)
{
    static const struct {
        const char *begin;
        int status;
    } statuses[] = {{"53300", 429}, {"53", 503}, {"57P", 503},
                    {"08P01", 400}, {"08", 500}, {"XX", 500}};

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (strncmp(sqlstate, statuses[i].begin, strlen(statuses[i].begin)) == 0)
            return statuses[i].status;
    return 400;
}

/* Servers say where in their source an error was raised; the pooler has no such field. */
static bool is_own(const struct error_response *error)
{
    return error->routine[0] == '\0' && strcmp(error->severity, "FATAL") == 0;
}

static void take_error(struct gateway_request *request, const struct message *message)
{
    struct error_response error;

    if (request->has_error)
        return; /* the first one counts */
    if (!error_response_read(message->body, &error)) {
        end(request, REQUEST_BROKEN);
        return;
    }
    request->has_error = true;
    request->error_status = is_own(&error) ? status_of_own(error.sqlstate) : 400;
    if (request->is_streaming) {
        end(request, REQUEST_BROKEN);
        return;
    }
    spool_clear(&request->spool);
    rows_error(message->body, &request->spool);
}

/* ---- the login ---- */

static void take_login_answer(struct gateway_request *request, const struct message *message)
{
    struct span rest;
    uint32_t code;

    switch (message->type) {
    case 'E':
        take_error(request, message);
        break;
    case 'R':
        if (!authentication_read(message->body, &code, &rest) ||
            (code != AUTHENTICATION_OK && code != AUTHENTICATION_CLEARTEXT))
            end(request, REQUEST_BROKEN);
        break;
    case 'Z':
        request->is_logged_in = true;
        look_later(request);
        break;
    default: /* ParameterStatus, BackendKeyData, notices */
        break;
    }
}

/* ---- results ---- */

static void begin_statement(struct gateway_request *request, struct span description)
{
    const struct json_request *json = request->json;
    const struct rows_mode mode = {.as_arrays = json_request_as_arrays(json, request->query),
                                   .raw_text = request->raw_text};

    if (json_request_is_batch(json))
        spool_text(&request->spool, request->query == 0 ? "{\"results\":[" : ",");
    request->query++;
    request->is_open = true;
    if (!rows_begin(&request->rows, mode, description, &request->spool))
        end(request, REQUEST_BROKEN);
}

static void end_statement(struct gateway_request *request, const struct message *message)
{
    const char *tag = NULL;

    if (message->type == 'C' && !command_tag_read(message->body, &tag))
        end(request, REQUEST_BROKEN);
    else if (request->is_open) /* else it is a START TRANSACTION or COMMIT of ours */
        rows_end(&request->rows, tag, &request->spool);
    request->is_open = false;
}

static void take_row(struct gateway_request *request, const struct message *message)
{
    if (!request->is_open || !rows_add(&request->rows, message->body, &request->spool))
        end(request, REQUEST_BROKEN);
}

static void take_ready(struct gateway_request *request)
{
    if (!request->has_error && json_request_is_batch(request->json))
        spool_text(&request->spool, request->query == 0 ? "{\"results\":[]}" : "]}");
    end(request, REQUEST_DONE);
}

static void take_answer(struct gateway_request *request, const struct message *message)
{
    if (request->has_error && message->type != 'Z')
        return;
    switch (message->type) {
    case 'T':
        begin_statement(request, message->body);
        break;
    case 'n':
        begin_statement(request, (struct span){0});
        break;
    case 'D':
        take_row(request, message);
        break;
    case 'C':
    case 'I':
        end_statement(request, message);
        break;
    case 'E':
        take_error(request, message);
        break;
    case 'Z':
        take_ready(request);
        break;
    case 'G':
    case 'H':
    case 'W':
        end(request, REQUEST_COPY);
        break;
    default: /* ParseComplete, BindComplete, notices, notifications, ParameterStatus */
        break;
    }
    if (request->spool.failure != SPOOL_FINE)
        end(request,
            request->spool.failure == SPOOL_TOO_LARGE ? REQUEST_TOO_LARGE : REQUEST_NO_MEMORY);
}

static void take_message(struct gateway_request *request, const struct message *message)
{
    if (request->end != REQUEST_RUNS)
        return;
    if (request->is_logged_in)
        take_answer(request, message);
    else
        take_login_answer(request, message);
}

/* ---- bytes to messages ---- */

/* A message of this size shall be kept until it is whole. */
static bool may_keep(struct gateway_request *request, size_t size)
{
    size_t limit = request->spool.limit;

    if (limit > 0 && size > PARTIAL_MIN && size / 2 > limit) {
        end(request, REQUEST_TOO_LARGE);
        return false;
    }
    return true;
}

static bool keep(struct gateway_request *request, const uint8_t *data, size_t size)
{
    struct bytes *partial = &request->partial;

    bytes_put(partial, data, size);
    if (bytes_ok(partial) && request_account(request))
        return true;
    end(request, REQUEST_NO_MEMORY);
    return false;
}

/* Completes the message that was begun. Returns how many bytes that took. */
static size_t complete(struct gateway_request *request, const uint8_t *data, size_t size)
{
    struct bytes *partial = &request->partial;
    struct message message;
    size_t wanted = MESSAGE_HEAD;

    switch (message_peek(partial->data, partial->size, SIZE_MAX, &message)) {
    case MESSAGE_NONE:
        break;
    case MESSAGE_PARTIAL:
        wanted = message.size;
        break;
    default:
        end(request, REQUEST_BROKEN);
        return size;
    }
    size_t part = wanted - partial->size < size ? wanted - partial->size : size;
    if (!may_keep(request, wanted) || !keep(request, data, part))
        return size;
    if (message_peek(partial->data, partial->size, SIZE_MAX, &message) == MESSAGE_WHOLE) {
        take_message(request, &message);
        bytes_clear(partial);
        if (partial->capacity > PARTIAL_MIN) {
            bytes_finish(partial);
            bytes_init(partial, MESSAGE_KEPT_MAX);
        }
        (void)request_account(request);
    }
    return part;
}

static void take_bytes(struct gateway_request *request, const uint8_t *data, size_t size)
{
    struct message message;

    while (size > 0 && request->end == REQUEST_RUNS) {
        size_t taken = size;
        if (request->partial.size > 0) {
            taken = complete(request, data, size);
        } else {
            switch (message_peek(data, size, SIZE_MAX, &message)) {
            case MESSAGE_WHOLE:
                take_message(request, &message);
                taken = message.size;
                break;
            case MESSAGE_PARTIAL:
            case MESSAGE_NONE:
                (void)keep(request, data, size);
                break;
            case MESSAGE_BAD:
                end(request, REQUEST_BROKEN);
                break;
            }
        }
        data += taken;
        size -= taken;
    }
}

/* ---- the inner client's writes ---- */

static struct gateway_request *request_of(struct memory_peer *peer)
{
    return (struct gateway_request *)((char *)peer - offsetof(struct gateway_request, peer));
}

static size_t take(struct memory_peer *peer, const struct iovec *spans, int count)
{
    struct gateway_request *request = request_of(peer);
    size_t size = 0;

    if (request_is_full(request))
        return 0;
    for (int i = 0; i < count; i++) {
        take_bytes(request, spans[i].iov_base, spans[i].iov_len);
        size += spans[i].iov_len;
    }
    if (request_may_stream(request))
        look_later(request);
    return size;
}

static void closed(struct memory_peer *peer)
{
    struct gateway_request *request = request_of(peer);

    request->inner = NULL;
    if (request->end == REQUEST_RUNS)
        request->end = request->has_error ? REQUEST_DONE : REQUEST_BROKEN;
    look_later(request);
}

const struct memory_peer_events request_peer_events = {.take = take, .closed = closed};
