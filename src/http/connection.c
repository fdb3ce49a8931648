#include "connection.h"

#include <stdio.h>
#include <string.h>

#include "auth/base64.h"
#include "base/memory.h"

#define CREDENTIALS_MAX 1024

static struct connection *connection_of(struct stream *stream)
{
    return (struct connection *)((char *)stream - offsetof(struct connection, stream));
}

static void run_free_task(struct loop_task *task)
{
    struct connection *connection =
        (struct connection *)((char *)task - offsetof(struct connection, free_task));
    struct endpoint *endpoint = connection->endpoint;
    memory_free(connection);
    endpoint_leave(endpoint);
}

void connection_close(struct connection *connection)
{
    struct endpoint *endpoint = connection->endpoint;
    if (connection->is_closed)
        return;
    connection->is_closed = true;
    if (connection->page)
        connection->page->connection = NULL;
    deadline_clear(&connection->deadline);
    TAILQ_REMOVE(&endpoint->connections, connection, link);
    endpoint->connection_count--;
    struct loop *loop = endpoint->workers->array[0].loop;
    stream_close(&connection->stream);
    loop_defer(loop, LOOP_FREE, &connection->free_task);
}

/* ---- answers ---- */

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 421:
        return "Misdirected Request";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Service Unavailable";
    }
}

static void arm(struct connection *connection)
{
    struct endpoint *endpoint = connection->endpoint;
    deadline_set(&endpoint->deadlines, &connection->deadline,
                 loop_now(endpoint->workers->array[0].loop) + ENDPOINT_TIME_LIMIT);
}

static void put_head(struct connection *connection, struct bytes *out, int status,
                     const char *content_type, size_t size)
{
    bytes_format(out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status,
                 reason_of(status), content_type, size);
    bytes_text(out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                    "X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n");
    bytes_format(out, "Content-Security-Policy: %s\r\n", connection->endpoint->policy);
    if (status == 401)
        bytes_text(out, "WWW-Authenticate: Basic realm=\"pgweir\", charset=\"UTF-8\"\r\n");
    if (status == 405)
        bytes_text(out, "Allow: GET, HEAD\r\n");
    bytes_text(out, connection->keep_alive ? "\r\n" : "Connection: close\r\n\r\n");
}

static void say(struct connection *connection, int status, const char *content_type,
                struct span body)
{
    uint8_t memory[2048];
    struct bytes head = bytes_over(memory, sizeof(memory));
    put_head(connection, &head, status, content_type, body.size);
    connection->stream.close_when_drained = !connection->keep_alive;
    bool ok = bytes_ok(&head) && stream_put(&connection->stream, head.data, head.size) &&
              (connection->is_head_only || stream_put(&connection->stream, body.data, body.size));
    if (!ok) {
        connection_close(connection);
        return;
    }
    arm(connection);
    if (!connection->keep_alive) {
        stream_flush(&connection->stream);
        if (!stream_is_blocked(&connection->stream))
            connection_close(connection);
    }
}

static void refuse(struct connection *connection, int status, const char *why)
{
    char text[160];
    int size = snprintf(text, sizeof(text), "%s\n", why);
    say(connection, status, "text/plain; charset=utf-8",
        (struct span){(const uint8_t *)text, (size_t)size});
}

/* A head that cannot be trusted: neither can what follows it. */
static void refuse_and_close(struct connection *connection, int status, const char *why)
{
    connection->keep_alive = false;
    refuse(connection, status, why);
}

void connection_answer(struct connection *connection, const struct page *page)
{
    connection->page = NULL;
    stream_resume(&connection->stream);
    if (bytes_ok(&page->out))
        say(connection, page->status, page->kind->content_type, bytes_span(&page->out));
    else
        refuse(connection, 503, "the page is too large");
}

/* ---- who may ask ---- */

static bool is_token(struct span offered, const char *token)
{
    size_t size = strlen(token);
    return offered.size == size && memory_equal_constant_time(offered.data, token, size);
}

/* The password of "user:password". */
static bool password_is(struct span basic, const char *token)
{
    uint8_t text[CREDENTIALS_MAX];
    size_t size = 0;
    bool is_right = false;
    if (base64_decode(basic, text, sizeof(text), &size)) {
        const uint8_t *colon = memchr(text, ':', size);
        if (colon)
            is_right = is_token((struct span){colon + 1, size - (size_t)(colon + 1 - text)}, token);
    }
    memory_wipe(text, sizeof(text));
    return is_right;
}

static bool has_prefix(struct span text, const char *prefix, struct span *rest)
{
    size_t size = strlen(prefix);
    if (text.size < size || !http_is((struct span){text.data, size}, prefix))
        return false;
    *rest = (struct span){text.data + size, text.size - size};
    return true;
}

static bool is_authorized(const struct connection *connection, const struct http_head *head)
{
    const char *token = connection->endpoint->workers->config->settings.http_token;
    struct span said = http_head_field(head, "authorization"), rest;
    if (!token || !*token)
        return true;
    if (has_prefix(said, "Bearer ", &rest))
        return is_token(rest, token);
    return has_prefix(said, "Basic ", &rest) && password_is(rest, token);
}

/* What was said does not stay in the buffer. */
static bool take_authorization(const struct connection *connection, const struct http_head *head)
{
    struct span said = http_head_field(head, "authorization");
    bool is_right = is_authorized(connection, head);

    memory_wipe((void *)(uintptr_t)said.data, said.size);
    return is_right;
}

/* Without a token a page of somebody else's, in a browser on this machine, could read along under a
 * name of its own that it lets point here: only names that cannot be had are answered. */
static bool host_is_ours(const struct connection *connection, const struct http_head *head)
{
    const char *token = connection->endpoint->workers->config->settings.http_token;
    struct span host = head->host;
    if ((token && *token) || host.size == 0)
        return true;
    if (host.data[0] == '[')
        return true; /* an IPv6 address */
    const uint8_t *colon = memchr(host.data, ':', host.size);
    if (colon)
        host.size = (size_t)(colon - host.data);
    if (http_is(host, "localhost"))
        return true;
    for (size_t i = 0; i < host.size; i++)
        if (host.data[i] != '.' && (host.data[i] < '0' || host.data[i] > '9'))
            return false;
    return host.size > 0; /* an IPv4 address */
}

/* ---- requests ---- */

static void obey(struct connection *connection, const struct http_head *head)
{
    const struct page_kind *kind = endpoint_page(head->path);
    bool is_allowed = take_authorization(connection, head);
    connection->keep_alive = head->keep_alive;
    connection->is_head_only = head->method == HTTP_HEAD;
    if (head->is_chunked || head->length > 0)
        refuse_and_close(connection, 413, "no page here takes a body");
    else if (head->method != HTTP_GET && head->method != HTTP_HEAD)
        refuse(connection, 405, "GET and HEAD are answered here");
    else if (!host_is_ours(connection, head))
        refuse(connection, 421, "set http_token, or ask for localhost or an address");
    else if (!kind)
        refuse(connection, 404, "/, /metrics, /healthz, /readyz and /status.json are here");
    else if (!kind->is_public && !is_allowed)
        refuse(connection, 401, "the token of http_token is asked for");
    else if (!endpoint_start_page(connection, kind))
        refuse(connection, 503, "out of memory");
    else if (connection->page)
        stream_pause(&connection->stream); /* one at a time */
}

static void input(struct stream *stream)
{
    struct connection *connection = connection_of(stream);
    struct http_head head;
    while (!connection->is_closed && !connection->page && !stream_is_blocked(stream)) {
        switch (http_head_read(stream_input(stream), &head)) {
        case HTTP_MORE:
            if (stream_input(stream).size > 0)
                stream_want(stream, stream_input(stream).size + 1);
            return;
        case HTTP_BAD:
            refuse_and_close(connection, head.status, head.why);
            return;
        case HTTP_WHOLE:
            stream_consume(stream, head.size);
            obey(connection, &head);
            break;
        }
    }
}

static void drained(struct stream *stream)
{
    stream_resume(stream);
}

static void closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    connection_close(connection_of(stream));
}

static const struct stream_events connection_events = {
    .input = input, .drained = drained, .closed = closed};

void connection_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct connection *connection =
        (struct connection *)((char *)deadline - offsetof(struct connection, deadline));
    (void)list;
    /* Some worker has not answered: that is what /healthz is asked for. */
    if (connection->page && !connection->page->report && !stream_is_blocked(&connection->stream)) {
        connection->page->connection = NULL;
        connection->page = NULL;
        refuse_and_close(connection, 503, "a worker does not answer");
        return;
    }
    connection_close(connection);
}

bool connection_open(struct endpoint *endpoint, int fd)
{
    struct connection *connection = memory_zalloc(sizeof(*connection));
    struct error error;
    if (!connection)
        return false;
    connection->endpoint = endpoint;
    connection->free_task.run = run_free_task;
    endpoint->users++;
    endpoint->connection_count++;
    TAILQ_INSERT_TAIL(&endpoint->connections, connection, link);
    if (stream_open(&connection->stream, endpoint->workers->array[0].loop, fd, &connection_events,
                    &error))
        arm(connection);
    else
        connection_close(connection);
    return true;
}
