/* One POST /sql, from its login to the last byte of its answer. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "gateway_private.h"
#include "wire/build.h"

/* Without http_max_response the answer begins when so much of it is there; and the server is not
 * read while so much waits to be sent. */
#define STREAM_BEGIN 65536
#define STREAM_FULL  262144
/* Handed to the connection's stream at once. */
#define SLICE_MAX 65536

/* ---- life ---- */

static void run_step(struct loop_task *task);

void request_init(struct gateway_request *request, struct gateway_connection *connection)
{
    request->connection = connection;
    request->peer.events = &request_peer_events;
    request->step.run = run_step;
    request->share.budget = &connection->gateway->budget;
    bytes_init(&request->partial, MESSAGE_KEPT_MAX);
    rows_init(&request->rows);
}

void request_destroy(struct gateway_request *request)
{
    json_request_destroy(request->json);
    bytes_finish_secret(&request->login);
    bytes_finish(&request->partial);
    rows_finish(&request->rows);
    spool_clear(&request->spool);
    (void)budget_share_set(&request->share, 0);
    memory_free(request);
}

bool request_account(struct gateway_request *request)
{
    size_t size = sizeof(*request) + request->partial.capacity + request->rows.description.capacity;

    if (request->json != NULL)
        size += json_request_memory(request->json);
    return budget_share_set(&request->share, size);
}

/* The client within ends without a word: what it has running is cancelled. */
static void drop_inner(struct gateway_request *request)
{
    if (request->inner != NULL)
        client_close(request->inner, "client unexpected eof");
}

void request_abandon(struct gateway_request *request)
{
    struct loop *loop = request->connection->client->set->loop;

    request->end = REQUEST_BROKEN;
    drop_inner(request);
    loop_cancel_task(loop, &request->step);
    request->connection->request = NULL;
    request_destroy(request);
}

/* ---- the answer ---- */

static void look_later(struct gateway_request *request)
{
    loop_defer(request->connection->client->set->loop, LOOP_WRITE, &request->step);
}

/* The spool is the answer's whole body. */
static void begin_answer(struct gateway_request *request, int status)
{
    const struct answer answer = {
        .status = status,
        .fields = status == 200 && json_request_is_batch(request->json) ? request->fields : "",
        .size = request->spool.bytes,
        .is_chunked = request->is_streaming,
    };

    request->is_answered = true;
    (void)answer_head(request->connection, &answer);
}

static void begin_error(struct gateway_request *request, int status, const char *message,
                        const char *code)
{
    request->spool.limit = 0;
    spool_clear(&request->spool);
    rows_own_error(message, code, NULL, &request->spool);
    begin_answer(request, status);
}

void request_answer_error(struct gateway_request *request, int status, const char *message)
{
    struct gateway_connection *connection = request->connection;

    connection_enter_answer(connection);
    request->end = REQUEST_DONE;
    begin_error(request, status, message, NULL);
    if (connection->client->state != CLIENT_CLOSED)
        look_later(request);
}

static void answer_end(struct gateway_request *request)
{
    char text[80];

    if (request->is_streaming) {
        if (request->end != REQUEST_DONE) /* the peer sees that the last chunk is missing */
            client_close(request->connection->client, "the answer broke off");
        return;
    }
    switch (request->end) {
    case REQUEST_RUNS:
        break;
    case REQUEST_DONE:
        begin_answer(request, request->has_error ? request->error_status : 200);
        break;
    case REQUEST_TOO_LARGE:
        (void)snprintf(text, sizeof(text), "response is too large (max is %u bytes)",
                       connection_settings(request->connection)->http_max_response);
        begin_error(request, 507, text, NULL);
        break;
    case REQUEST_NO_MEMORY:
        begin_error(request, 503, "too much is being answered (http_memory)",
                    SQLSTATE_OUT_OF_MEMORY);
        break;
    case REQUEST_BROKEN:
        begin_error(request, 500, "the connection to the database was lost",
                    SQLSTATE_CONNECTION_FAILURE);
        break;
    case REQUEST_COPY:
        begin_error(request, 400, "COPY is not possible over HTTP", SQLSTATE_FEATURE_NOT_SUPPORTED);
        break;
    }
}

static bool put_chunk(struct stream *stream, struct span part)
{
    char head[24];
    int size = snprintf(head, sizeof(head), "%zx\r\n", part.size);

    return stream_put(stream, head, (size_t)size) && stream_lend(stream, part.data, part.size) &&
           stream_put(stream, "\r\n", 2);
}

/* Hands on what is there, as long as it is taken. False: the connection is closed. */
static bool send_some(struct gateway_request *request)
{
    struct client *client = request->connection->client;
    struct stream *stream = &client->stream;
    struct span part;

    while (!stream_is_blocked(stream) && (part = spool_front(&request->spool)).size > 0) {
        if (part.size > SLICE_MAX)
            part.size = SLICE_MAX;
        if (!(request->is_streaming ? put_chunk(stream, part)
                                    : stream_lend(stream, part.data, part.size))) {
            client_close(client, "out of memory");
            return false;
        }
        stream_flush(stream); /* what is not taken is copied: the spool's memory is free again */
        spool_consume(&request->spool, part.size);
    }
    if (stream_is_blocked(stream))
        connection_arm(request->connection,
                       connection_settings(request->connection)->http_request_timeout);
    return true;
}

/* ---- steps ---- */

bool request_may_stream(const struct gateway_request *request)
{
    return request->is_streaming || (request->spool.limit == 0 && !request->has_error &&
                                     request->spool.bytes > STREAM_BEGIN);
}

bool request_is_full(const struct gateway_request *request)
{
    return request->is_streaming && request->spool.bytes > STREAM_FULL;
}

static void begin_body(struct gateway_request *request)
{
    request->is_asked = true;
    bytes_finish_secret(&request->login);
    request->json = json_request_create(&request->json_settings);
    if (request->json == NULL || !request_account(request))
        request_answer_error(request, 503, "too much is being asked (http_memory)");
    else
        connection_read_body(request->connection);
}

/* All was answered: the client within takes its leave. */
static void say_goodbye(struct gateway_request *request)
{
    static const uint8_t terminate[] = {'X', 0, 0, 0, 4};

    if (request->inner == NULL)
        return;
    if (request->end != REQUEST_DONE) {
        drop_inner(request);
    } else if (!request->said_goodbye) {
        request->said_goodbye = true;
        request->peer.input = (struct span){terminate, sizeof(terminate)};
        request->peer.is_ended = true;
        memory_peer_offer(&request->peer);
    }
}

static void finish(struct gateway_request *request)
{
    struct gateway_connection *connection = request->connection;

    if (request->is_streaming && !stream_put(&connection->client->stream, "0\r\n\r\n", 5)) {
        client_close(connection->client, "out of memory");
        return;
    }
    connection->request = NULL;
    loop_cancel_task(connection->client->set->loop, &request->step);
    request_destroy(request);
    connection_next(connection);
}

static void go_on(struct gateway_request *request)
{
    struct client *client = request->connection->client;

    if (request->end == REQUEST_RUNS) {
        if (request->is_logged_in && !request->is_asked) {
            begin_body(request);
        } else if (request_may_stream(request) && !request->is_streaming) {
            request->is_streaming = true;
            begin_answer(request, 200);
        }
    } else if (!request->is_answered || (request->is_streaming && !request->is_ended)) {
        request->is_ended = true;
        connection_enter_answer(request->connection);
        answer_end(request);
    }
    if (client->state == CLIENT_CLOSED)
        return;
    if (request->is_answered && !send_some(request))
        return;
    if (request->is_streaming && request->end == REQUEST_RUNS && !request_is_full(request))
        memory_peer_let_write(&request->peer);
    if (request->end == REQUEST_RUNS)
        return;
    say_goodbye(request);
    if (request->inner == NULL && request->spool.bytes == 0)
        finish(request);
}

static void run_step(struct loop_task *task)
{
    struct gateway_request *request =
        (struct gateway_request *)((char *)task - offsetof(struct gateway_request, step));

    go_on(request);
}

void request_drained(struct gateway_request *request)
{
    connection_arm(request->connection, 0);
    go_on(request);
}

/* ---- the body ---- */

void request_feed(struct gateway_request *request, struct span part)
{
    if (!json_request_feed(request->json, part))
        request_answer_error(request, 400, json_request_problem(request->json));
    else if (!request_account(request))
        request_answer_error(request, 503, "too much is being asked (http_memory)");
}

/* The messages go to the client within. */
void request_end_body(struct gateway_request *request)
{
    struct bytes *messages = json_request_messages(request->json);

    if (!json_request_end(request->json)) {
        request_answer_error(request, 400, json_request_problem(request->json));
        return;
    }
    if (!request_account(request)) {
        request_answer_error(request, 503, "too much is being asked (http_memory)");
        return;
    }
    request->peer.input = bytes_span(messages);
    memory_peer_offer(&request->peer);
}
