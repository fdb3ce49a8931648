/* One HTTP connection: heads, bodies, one request after another. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "gateway_private.h"

/* How long and how much a peer that was answered for good may go on sending: to close at once would
 * take the answer away from it. */
#define DISCARD_TIME (2 * USEC_PER_SEC)
#define SWEEP_PERIOD USEC_PER_SEC

_Static_assert(sizeof(REQUEST_TOO_LARGE_TEXT) < 60, "it fits, with a number");

static struct gateway *gateway_of(const struct client *client)
{
    return (struct gateway *)((char *)(uintptr_t)client->set->shared->front -
                              offsetof(struct gateway, ops));
}

struct gateway_worker *connection_worker(const struct gateway_connection *connection)
{
    struct client_set *set = connection->client->set;
    struct gateway_worker *worker = &connection->gateway->workers[set->worker];

    if (!worker->is_ready) {
        deadline_list_init(&worker->deadlines, set->loop, connection_timed_out, worker);
        deadline_list_init(&worker->sweeps, set->loop, connection_sweep, set);
        deadline_set(&worker->sweeps, &worker->sweep, loop_now(set->loop) + SWEEP_PERIOD);
    }
    worker->is_ready = true;
    return worker;
}

void connection_arm(struct gateway_connection *connection, usec_t time)
{
    struct client *client = connection->client;

    deadline_clear(&client->deadline);
    if (time > 0)
        deadline_set(&connection_worker(connection)->deadlines, &client->deadline,
                     loop_now(client->set->loop) + time);
}

void connection_timed_out(struct deadline *deadline, struct deadline_list *list)
{
    struct client *client = (struct client *)((char *)deadline - offsetof(struct client, deadline));
    const struct gateway_connection *connection = connection_of(client);

    (void)list;
    client_close(client, connection->state == CONNECTION_HEAD && !connection->head_has_begun
                             ? "http_idle_timeout"
                             : "http_request_timeout");
}

void connection_sweep(struct deadline *deadline, struct deadline_list *list)
{
    struct client_set *set = list->owner;
    struct client *client, *next;

    deadline_set(list, deadline, loop_now(set->loop) + SWEEP_PERIOD);
    if (atomic_load(&set->shared->shutdown) == SHUTDOWN_NO)
        return;
    /* One that is closed keeps memory and link until the end of the turn. */
    for (client = TAILQ_FIRST(&set->clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        if (client->state == CLIENT_FRONT && connection_of(client)->state == CONNECTION_HEAD &&
            !connection_of(client)->head_has_begun)
            client_close(client, "server shutting down");
    }
}

/* ---- after an answer ---- */

static void begin_head(struct gateway_connection *connection)
{
    connection->state = CONNECTION_HEAD;
    connection->origin[0] = '\0';
    connection->head_has_begun = stream_input(&connection->client->stream).size > 0;
    connection_arm(connection, connection->head_has_begun
                                   ? connection_settings(connection)->http_request_timeout
                                   : connection_settings(connection)->http_idle_timeout);
}

/* What is left of a body that nobody wants is read, so that the next request is found. */
static void go_on(struct gateway_connection *connection)
{
    if (!connection->keep_alive) {
        connection->state = CONNECTION_DISCARD;
        connection_arm(connection, DISCARD_TIME);
    } else if (!connection->body_is_over) {
        connection->state = CONNECTION_SKIP;
        connection_arm(connection, connection_settings(connection)->http_request_timeout);
    } else {
        begin_head(connection);
    }
}

void connection_next(struct gateway_connection *connection)
{
    go_on(connection);
    stream_resume(&connection->client->stream);
}

/* ---- heads ---- */

static void begin_post(struct gateway_connection *connection, const struct http_head *head)
{
    connection->expects_continue = http_is(http_head_field(head, "expect"), "100-continue");
    if (policy_admits(connection, head))
        request_begin(connection, head);
}

static void answer_options(struct gateway_connection *connection)
{
    answer_text(connection, 204, "Allow: OPTIONS, POST\r\n", "");
}

/* New work is welcome here; whether each database can be reached is said at http_port, to those who
 * may know (THREATS §4.6). */
static void answer_readiness(struct gateway_connection *connection)
{
    if (atomic_load(&connection->client->set->shared->shutdown) == SHUTDOWN_NO)
        answer_text(connection, 200, "", "ok\n");
    else
        answer_text(connection, 503, "", "draining\n");
}

static void obey(struct gateway_connection *connection, const struct http_head *head)
{
    bool is_sql = span_is(head->path, "/sql");

    connection->chunked = (struct chunked){0};
    connection->is_chunked = head->is_chunked;
    connection->body_left = head->length;
    connection->body_is_over = !head->is_chunked && head->length == 0;
    connection->body_taken = 0;
    connection->expects_continue = false;
    connection->keep_alive =
        head->keep_alive && atomic_load(&connection->client->set->shared->shutdown) == SHUTDOWN_NO;
    connection->is_head_only = head->method == HTTP_HEAD;
    if (!policy_read_origin(connection, head))
        return;
    if (is_sql && head->method == HTTP_POST) {
        begin_post(connection, head);
        return;
    }
    if (is_sql && head->method == HTTP_OPTIONS)
        answer_options(connection);
    else if (span_is(head->path, "/") && (head->method == HTTP_GET || head->method == HTTP_HEAD))
        answer_text(connection, 200, "", "pgweir: SQL over HTTP is at POST /sql\n");
    else if (connection_settings(connection)->http_health && span_is(head->path, "/healthz"))
        answer_text(connection, 200, "", "ok\n");
    else if (connection_settings(connection)->http_health && span_is(head->path, "/readyz"))
        answer_readiness(connection);
    else
        answer_error(connection, 400, "", "nothing is here: SQL over HTTP is at POST /sql", NULL);
}

/* False: no more can be done now. */
static bool take_head(struct gateway_connection *connection)
{
    struct client *client = connection->client;
    struct span input = stream_input(&client->stream);
    struct http_head head;

    switch (http_head_read(input, &head)) {
    case HTTP_MORE:
        stream_want(&client->stream, input.size + 1);
        return false;
    case HTTP_BAD:
        connection->keep_alive = false;
        connection->is_head_only = false;
        answer_error(connection, head.status, "", head.why, NULL);
        return false;
    case HTTP_WHOLE:
        break;
    }
    obey(connection, &head);
    if (client->state != CLIENT_CLOSED)
        stream_consume(&client->stream, head.size);
    return client->state != CLIENT_CLOSED;
}

/* ---- bodies ---- */

void connection_enter_answer(struct gateway_connection *connection)
{
    connection->state = CONNECTION_ANSWER;
    connection_arm(connection, 0);
    stream_pause(&connection->client->stream);
}

static void end_body(struct gateway_connection *connection)
{
    connection_enter_answer(connection);
    request_end_body(connection->request);
}

void connection_read_body(struct gateway_connection *connection)
{
    struct client *client = connection->client;

    if (connection->expects_continue && stream_input(&client->stream).size == 0)
        (void)stream_put(&client->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    connection->expects_continue = false;
    connection->state = CONNECTION_BODY;
    connection_arm(connection, connection_settings(connection)->http_request_timeout);
    stream_resume(&client->stream);
    if (connection->body_is_over)
        end_body(connection);
}

/* A part of the body, for the request or for nobody. */
static void feed(struct gateway_connection *connection, struct span part)
{
    unsigned limit = connection_settings(connection)->http_max_request;
    char text[80];

    connection->body_taken += part.size;
    bool is_too_large = limit > 0 && connection->body_taken > limit;
    if (is_too_large)
        connection->keep_alive = false;
    if (connection->state != CONNECTION_BODY)
        return;
    (void)snprintf(text, sizeof(text), REQUEST_TOO_LARGE_TEXT, limit);
    if (is_too_large)
        request_answer_error(connection->request, 413, text);
    else
        request_feed(connection->request, part);
}

static void take_plain(struct gateway_connection *connection, struct span input)
{
    size_t size = input.size < connection->body_left ? input.size : (size_t)connection->body_left;

    feed(connection, (struct span){input.data, size});
    connection->body_left -= size;
    connection->body_is_over = connection->body_left == 0;
    stream_consume(&connection->client->stream, size);
}

static void refuse_chunks(struct gateway_connection *connection)
{
    connection->keep_alive = false;
    connection->body_is_over = true; /* where it ends nobody knows */
    if (connection->state == CONNECTION_BODY)
        request_answer_error(connection->request, 400, "malformed chunked body");
}

static void take_chunks(struct gateway_connection *connection, struct span input)
{
    struct span rest = input, data;
    enum chunked_verdict verdict;
    enum connection_state state = connection->state;

    while ((verdict = chunked_read(&connection->chunked, &rest, &data)) == CHUNKED_DATA) {
        feed(connection, data);
        if (connection->state != state)
            break;
    }
    connection->body_is_over = verdict == CHUNKED_END;
    if (verdict == CHUNKED_BAD)
        refuse_chunks(connection);
    stream_consume(&connection->client->stream, input.size - rest.size);
}

static bool take_body(struct gateway_connection *connection)
{
    struct client *client = connection->client;
    struct span input = stream_input(&client->stream);
    enum connection_state state = connection->state;

    if (input.size == 0)
        return false;
    if (connection->is_chunked)
        take_chunks(connection, input);
    else
        take_plain(connection, input);
    if (connection->state != state)
        return false;
    if (connection->body_is_over && state == CONNECTION_BODY)
        end_body(connection);
    else if (connection->body_is_over || !connection->keep_alive)
        go_on(connection);
    return connection->state != CONNECTION_ANSWER;
}

/* ---- events ---- */

static bool take_one(struct gateway_connection *connection)
{
    struct stream *stream = &connection->client->stream;

    switch (connection->state) {
    case CONNECTION_HEAD:
        return stream_input(stream).size > 0 && take_head(connection);
    case CONNECTION_BODY:
    case CONNECTION_SKIP:
        return take_body(connection);
    case CONNECTION_LOGIN:
    case CONNECTION_ANSWER:
        return false;
    case CONNECTION_DISCARD:
        stream_consume(stream, stream_input(stream).size);
        return false;
    }
    return false;
}

static void input(struct stream *stream)
{
    struct client *client = client_of_stream(stream);
    struct gateway_connection *connection = connection_of(client);

    if (connection->state == CONNECTION_HEAD && !connection->head_has_begun) {
        connection->head_has_begun = true;
        connection_arm(connection, connection_settings(connection)->http_request_timeout);
    }
    while (client->state != CLIENT_CLOSED && take_one(connection))
        continue;
}

static void drained(struct stream *stream)
{
    struct gateway_connection *connection = connection_of(client_of_stream(stream));

    if (connection->request != NULL)
        request_drained(connection->request);
}

static void closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    client_close(client_of_stream(stream), "client unexpected eof");
}

static const struct stream_events connection_events = {
    .input = input, .drained = drained, .closed = closed};

/* ---- life ---- */

bool connection_opened(struct client *client)
{
    struct gateway_connection *connection = memory_zalloc(sizeof(*connection));

    if (connection == NULL)
        return false;
    connection->gateway = gateway_of(client);
    connection->client = client;
    client->front = connection;
    client->stream.events = &connection_events;
    atomic_store(&connection->gateway->budget.limit, connection_settings(connection)->http_memory);
    begin_head(connection);
    input(&client->stream);
    return true;
}

static void free_later(struct loop_task *task)
{
    memory_free((char *)task - offsetof(struct gateway_connection, free_task));
}

void connection_closed(struct client *client)
{
    struct gateway_connection *connection = connection_of(client);

    client->front = NULL;
    connection->state = CONNECTION_DISCARD;
    if (connection->request != NULL)
        request_abandon(connection->request);
    /* Who has caused this may be in the middle of it. */
    connection->free_task.run = free_later;
    loop_defer(client->set->loop, LOOP_FREE, &connection->free_task);
}
