/* From accept to the StartupMessage: TLS in both its ways, SSLRequest, GSSENCRequest,
 * CancelRequest, and what is no PostgreSQL client at all (COMPAT 9.1, THREATS §3, SERVERLESS §3).
 */
#include <stdio.h>
#include <string.h>

#include "client_private.h"
#include "wire/startup.h"

#define TLS_HANDSHAKE_RECORD 0x16

/* What became of the bytes that were looked at. After FIRST_STOP the client may be closed, on its
 * way elsewhere, or waiting for more. */
enum first_verdict { FIRST_NEXT, FIRST_STOP };

static enum first_verdict end(struct client *client, const char *reason)
{
    client_close(client, reason);
    return FIRST_STOP;
}

static enum first_verdict refuse(struct client *client, const char *sqlstate, const char *text)
{
    client_refuse_text(client, sqlstate, text);
    return FIRST_STOP;
}

/* ---- HTTP ---- */

static enum first_verdict refuse_http(struct client *client, const char *status, const char *line)
{
    char answer[512];
    int size = snprintf(answer, sizeof(answer),
                        "HTTP/1.1 %s\r\n"
                        "Content-Type: text/plain; charset=utf-8\r\n"
                        "Content-Length: %zu\r\n"
                        "Connection: close\r\n\r\n%s",
                        status, strlen(line), line);

    if (stream_put(&client->stream, answer, (size_t)size))
        stream_flush(&client->stream);
    stream_consume(&client->stream, stream_input(&client->stream).size);
    return end(client, "HTTP request on the port of PostgreSQL");
}

static void count_stranger(struct client *client)
{
    atomic_fetch_add_explicit(&client->listener_count->strangers, 1, memory_order_relaxed);
}

/* Who has chosen another protocol by ALPN, or asked for TLS as PostgreSQL's clients do, is held to
 * that. */
static bool may_be_http(const struct client *client)
{
    return client->listener->protocols & (SPEAKS_HTTP | SPEAKS_WEBSOCKET) &&
           !client->login->is_inside && !client->login->ssl_was_asked &&
           stream_tls_alpn(&client->stream) != TLS_ALPN_POSTGRESQL;
}

static enum first_verdict take_http(struct client *client)
{
    const struct front_ops *front = client->set->shared->front;

    if (!may_be_http(client)) {
        count_stranger(client);
        return refuse_http(client, "400 Bad Request",
                           "PostgreSQL lives here, and no HTTP is spoken: use a PostgreSQL client, "
                           "such as psql.\n");
    }
    if (client->login->has_no_address)
        return refuse_http(client, "403 Forbidden", "The PROXY header says no address.\n");
    if (front == NULL)
        return refuse_http(client, "501 Not Implemented", "HTTP is not served yet.\n");
    place_heard(client);
    client_move_state(client, CLIENT_FRONT);
    if (!front->opened(client))
        client_close(client, "out of memory");
    return FIRST_STOP;
}

/* The bytes are the beginning of an HTTP request; *is_whole: its method and the space behind it are
 * there. No packet of PostgreSQL begins with a letter. */
static bool begins_http(struct span input, bool *is_whole)
{
    static const char *const methods[] = {"GET ",    "POST ",  "HEAD ",    "PUT ",   "OPTIONS ",
                                          "DELETE ", "PATCH ", "CONNECT ", "TRACE ", "PRI "};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        size_t size = strlen(methods[i]);
        size_t seen = input.size < size ? input.size : size;
        *is_whole = seen == size;
        if (memcmp(input.data, methods[i], seen) == 0)
            return true;
    }
    return false;
}

/* ---- TLS ---- */

static bool say(struct client *client, char letter)
{
    if (stream_put(&client->stream, &letter, 1))
        return true;
    client_close(client, "out of memory");
    return false;
}

static bool has_tls(const struct client *client)
{
    return client->listener->client_tls != NULL && !client->stream.is_local &&
           !client->login->is_inside;
}

/* Behind an SSLRequest our answer goes first, so a client whose turn has not come waits for it. */
static enum first_verdict start_tls(struct client *client)
{
    struct client_login *login = client->login;
    struct error error;

    login->awaits_handshake = !place_begin_handshake(client);
    if (login->awaits_handshake || (login->ssl_was_asked && !say(client, 'S')))
        return FIRST_STOP;
    if (stream_start_tls_accept(&client->stream, client->listener->client_tls, &error))
        return FIRST_STOP;
    notice_text(client, LOG_WARNING, error.message);
    return end(client, "TLS handshake failed");
}

/* A ClientHello where a packet was due. Behind our `N` some drivers send one all the same: to read
 * it as a packet would make no sense of it. */
static enum first_verdict take_client_hello(struct client *client)
{
    static const uint8_t no_tls_here[] = {0x15, 3, 3, 0, 2, 2, 40}; /* alert handshake_failure */
    const struct client_login *login = client->login;

    if (stream_is_tls(&client->stream) || login->ssl_was_asked || login->gss_was_asked)
        return end(client, "TLS handshake where none is due");
    if (has_tls(client))
        return start_tls(client);
    count_stranger(client);
    if (stream_put(&client->stream, no_tls_here, sizeof(no_tls_here)))
        stream_flush(&client->stream);
    stream_consume(&client->stream, stream_input(&client->stream).size);
    return end(client, "TLS handshake where none is due");
}

static enum first_verdict take_ssl_request(struct client *client, size_t behind)
{
    struct client_login *login = client->login;

    if (stream_is_tls(&client->stream))
        return end(client, "SSL req inside SSL");
    if (login->ssl_was_asked)
        return end(client, "second SSLRequest");
    login->ssl_was_asked = true;
    /* Bytes that were not encrypted must never count as part of what is (CVE-2021-3935). */
    if (behind > 0)
        return refuse(client, SQLSTATE_PROTOCOL_VIOLATION,
                      "received unencrypted data after SSL request");
    if (!has_tls(client))
        return say(client, 'N') ? FIRST_NEXT : FIRST_STOP;
    return start_tls(client);
}

static enum first_verdict take_gssenc_request(struct client *client, size_t behind)
{
    struct client_login *login = client->login;

    if (stream_is_tls(&client->stream) || login->gss_was_asked)
        return end(client, "GSSENCRequest where none is due");
    login->gss_was_asked = true;
    if (behind > 0)
        return refuse(client, SQLSTATE_PROTOCOL_VIOLATION,
                      "received unencrypted data after GSSAPI encryption request");
    return say(client, 'N') ? FIRST_NEXT : FIRST_STOP;
}

/* ---- packets ---- */

static enum first_verdict take_startup_message(struct client *client,
                                               const struct startup_packet *packet)
{
    if (has_tls(client) && tls_context_mode(client->listener->client_tls) >= TLS_REQUIRE &&
        !stream_is_tls(&client->stream))
        return refuse(client, SQLSTATE_INVALID_AUTHORIZATION, "SSL required");
    if (client->login->has_no_address)
        return refuse(client, SQLSTATE_INVALID_AUTHORIZATION,
                      "the PROXY header says no address: nobody can log in");
    place_heard(client);
    login_start(client, packet);
    return FIRST_STOP;
}

static bool is_cancel_request(struct span input)
{
    static const uint8_t code[] = {0x04, 0xd2, 0x16, 0x2e};

    return input.size >= 8 && memcmp(input.data + 4, code, sizeof(code)) == 0;
}

static bool may_be_postgres(const struct client *client)
{
    return client->login->is_inside || (client->listener->protocols & SPEAKS_POSTGRES &&
                                        stream_tls_alpn(&client->stream) != TLS_ALPN_HTTP_1_1);
}

/* The packet is whole and right, and what it asks for is not to be had here. */
static enum first_verdict refuse_postgres(struct client *client, enum startup_verdict verdict)
{
    count_stranger(client);
    if (verdict == STARTUP_CANCEL_REQUEST) /* never answered */
        return end(client, "cancel request where HTTP is spoken");
    return refuse(client, SQLSTATE_PROTOCOL_VIOLATION,
                  "HTTP lives here, and not the protocol of PostgreSQL: use another port");
}

static enum first_verdict take_packet(struct client *client, struct span input)
{
    struct startup_packet packet;
    struct error error;

    enum startup_verdict verdict = startup_parse(input.data, input.size, &packet, &error);
    if (verdict != STARTUP_NEED_MORE && verdict != STARTUP_BAD && !may_be_postgres(client))
        return refuse_postgres(client, verdict);
    switch (verdict) {
    case STARTUP_NEED_MORE:
        return FIRST_STOP;
    case STARTUP_BAD:
        if (is_cancel_request(input)) /* a malformed one is answered as every other: not at all */
            client_close(client, "bad cancel request");
        else
            client_refuse(client, &error);
        return FIRST_STOP;
    case STARTUP_CANCEL_REQUEST:
        if (client->login->has_no_address)
            return end(client, "cancel request without an address");
        place_heard(client);
        cancel_start(client, &packet.cancel);
        return FIRST_STOP;
    case STARTUP_MESSAGE:
        return take_startup_message(client, &packet);
    case STARTUP_SSL_REQUEST:
    case STARTUP_GSSENC_REQUEST:
        break;
    }
    stream_consume(&client->stream, packet.size);
    place_heard(client);
    return verdict == STARTUP_SSL_REQUEST ? take_ssl_request(client, input.size - packet.size)
                                          : take_gssenc_request(client, input.size - packet.size);
}

static enum first_verdict take_one(struct client *client)
{
    struct span input = stream_input(&client->stream);
    bool is_whole;

    if (input.size == 0 || client->login->awaits_handshake)
        return FIRST_STOP;
    if (client->login->awaits_proxy_header)
        return proxied_take_header(client) ? FIRST_NEXT : FIRST_STOP;
    if (input.data[0] == TLS_HANDSHAKE_RECORD)
        return take_client_hello(client);
    if (begins_http(input, &is_whole))
        return is_whole ? take_http(client) : FIRST_STOP;
    return take_packet(client, input);
}

/* ---- events ---- */

static void input(struct stream *stream)
{
    struct client *client = client_of_stream(stream);

    while (take_one(client) == FIRST_NEXT)
        continue;
}

static void closed(struct stream *stream, enum stream_end how, const struct error *why)
{
    struct client *client = client_of_stream(stream);

    if (how != STREAM_FAILED) {
        client_close(client, "client unexpected eof");
        return;
    }
    notice_text(client, LOG_WARNING, why->message);
    client_close(client, "TLS handshake failed");
}

static void ready(struct stream *stream)
{
    place_end_handshake(client_of_stream(stream));
}

static const struct stream_events first_bytes_events = {
    .input = input,
    .ready = ready,
    .closed = closed,
};

void first_bytes_start(struct client *client)
{
    client->stream.events = &first_bytes_events;
    place_start(client);
}

void first_bytes_inside(struct client *client)
{
    client->login->is_inside = true;
    client_move_state(client, CLIENT_FIRST_BYTES);
    client->stream.events = &first_bytes_events;
    input(&client->stream);
}

void first_bytes_retry(struct deadline *deadline, struct deadline_list *list)
{
    struct client *client = client_of_deadline(deadline);

    (void)list;
    client->login->awaits_handshake = false;
    /* Bytes that were not encrypted must never count as part of what is. */
    if (client->login->ssl_was_asked && stream_input(&client->stream).size > 0)
        refuse(client, SQLSTATE_PROTOCOL_VIOLATION, "received unencrypted data after SSL request");
    else
        start_tls(client);
}
