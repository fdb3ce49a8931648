/* Heads of answers, and answers that need no request. */
#include <stdio.h>
#include <string.h>

#include "gateway_private.h"

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

static void put_head(const struct gateway_connection *connection, const struct answer *answer,
                     struct bytes *out)
{
    bytes_format(out, "HTTP/1.1 %d %s\r\n", answer->status, reason_of(answer->status));
    if (answer->is_chunked)
        bytes_text(out, "Transfer-Encoding: chunked\r\n");
    else if (answer->status != 204)
        bytes_format(out, "Content-Length: %zu\r\n", answer->size);
    if (answer->status != 204)
        bytes_format(out, "Content-Type: %s\r\n",
                     answer->content_type != NULL ? answer->content_type : "application/json");
    bytes_text(out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (answer->status == 429 || answer->status == 503)
        bytes_text(out, "Retry-After: 1\r\n");
    bytes_text(out, answer->fields);
    policy_put_fields(connection, out);
    bytes_text(out, connection->keep_alive ? "\r\n" : "Connection: close\r\n\r\n");
}

bool answer_head(struct gateway_connection *connection, const struct answer *answer)
{
    uint8_t memory[2048];
    struct bytes head = bytes_over(memory, sizeof(memory));

    /* Who waits for "100 Continue" may send the body or not: nobody knows what comes next. */
    if (connection->expects_continue && !connection->body_is_over)
        connection->keep_alive = false;
    put_head(connection, answer, &head);
    if (bytes_ok(&head) && stream_put(&connection->client->stream, head.data, head.size))
        return true;
    client_close(connection->client, "out of memory");
    return false;
}

static void say(struct gateway_connection *connection, const struct answer *answer,
                const void *body)
{
    if (!answer_head(connection, answer))
        return;
    if (!connection->is_head_only && answer->size > 0 &&
        !stream_put(&connection->client->stream, body, answer->size)) {
        client_close(connection->client, "out of memory");
        return;
    }
    connection_next(connection);
}

void answer_text(struct gateway_connection *connection, int status, const char *fields,
                 const char *text)
{
    const struct answer answer = {.status = status,
                                  .content_type = "text/plain; charset=utf-8",
                                  .fields = fields,
                                  .size = strlen(text)};

    say(connection, &answer, text);
}

void answer_error(struct gateway_connection *connection, int status, const char *fields,
                  const char *message, const char *code)
{
    struct spool spool;

    spool_init(&spool, &connection->gateway->budget, 0);
    rows_own_error(message, code, NULL, &spool);
    struct span body = spool_front(&spool); /* it fits the first block */
    const struct answer answer = {.status = status, .fields = fields, .size = body.size};
    say(connection, &answer, body.data);
    spool_clear(&spool);
}
