/* The head of a POST /sql: who asks for what, as a StartupMessage and a password. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "gateway_private.h"
#include "wire/build.h"

struct asked {
    struct span connection_string;
    bool raw_text, as_arrays, is_read_only, is_deferrable;
    struct span isolation; /* as sent; .data NULL: none */
    const char *level;
};

static bool refuse(struct gateway_connection *connection, const char *message)
{
    answer_error(connection, 400, "", message, NULL);
    return false;
}

/* A flag is on only if its value is exactly `true`. */
static bool is_on(const struct http_head *head, const char *name)
{
    return span_is(http_head_field(head, name), "true");
}

static const char *isolation_level(struct span name)
{
    static const char *const levels[][2] = {
        {"ReadUncommitted", "READ UNCOMMITTED"},
        {"ReadCommitted", "READ COMMITTED"},
        {"RepeatableRead", "REPEATABLE READ"},
        {"Serializable", "SERIALIZABLE"},
    };

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (span_is(name, levels[i][0]))
            return levels[i][1];
    return NULL;
}

static bool read_fields(struct gateway_connection *connection, const struct http_head *head,
                        struct asked *asked)
{
    unsigned strings = 0;

    *asked = (struct asked){
        .raw_text = is_on(head, "neon-raw-text-output"),
        .as_arrays = is_on(head, "neon-array-mode"),
        .is_read_only = is_on(head, "neon-batch-read-only"),
        .is_deferrable = is_on(head, "neon-batch-deferrable"),
        .isolation = http_head_field(head, "neon-batch-isolation-level"),
    };
    for (int i = 0; i < head->count; i++)
        if (http_is(head->fields[i].name, "neon-connection-string")) {
            asked->connection_string = head->fields[i].value;
            strings++;
        }
    if (strings != 1)
        return refuse(connection, strings == 0 ? "missing header: Neon-Connection-String"
                                               : "more than one header Neon-Connection-String");
    if (asked->isolation.data != NULL) {
        asked->level = isolation_level(asked->isolation);
        if (asked->level == NULL)
            return refuse(connection, "invalid isolation level");
    }
    /* A token instead of the password (JWT) is not set up here. */
    if (http_head_field(head, "authorization").data != NULL)
        return refuse(connection, "missing authentication credentials: required password");
    return true;
}

static void write_begin(struct gateway_request *request, const struct asked *asked)
{
    (void)snprintf(
        request->begin, sizeof(request->begin), "START TRANSACTION%s%s%s%s",
        asked->level != NULL ? " ISOLATION LEVEL " : "", asked->level != NULL ? asked->level : "",
        asked->is_read_only ? " READ ONLY" : "", asked->is_deferrable ? " DEFERRABLE" : "");
    (void)snprintf(request->fields, sizeof(request->fields), "%s%.*s%s%s%s",
                   asked->level != NULL ? "Neon-Batch-Isolation-Level: " : "",
                   (int)asked->isolation.size,
                   asked->level != NULL ? (const char *)asked->isolation.data : "",
                   asked->level != NULL ? "\r\n" : "",
                   asked->is_read_only ? "Neon-Batch-Read-Only: true\r\n" : "",
                   asked->is_deferrable ? "Neon-Batch-Deferrable: true\r\n" : "");
}

/* StartupMessage and password in one flight. */
static bool write_login(struct gateway_request *request, const struct connection_string *string)
{
    struct startup_parameter parameters[CONNECTION_STRING_PARAMETERS_MAX + 3];
    size_t count = 0;

    parameters[count++] = (struct startup_parameter){"user", string->user};
    parameters[count++] = (struct startup_parameter){"database", string->database};
    parameters[count++] = (struct startup_parameter){"client_encoding", "UTF8"};
    for (unsigned i = 0; i < string->parameter_count; i++)
        parameters[count++] = (struct startup_parameter){string->names[i], string->values[i]};
    bytes_init(&request->login, 4 * CONNECTION_STRING_MAX);
    build_startup(&request->login, PROTOCOL_3_0, parameters, count);
    build_password(&request->login, string->password, strlen(string->password));
    return bytes_ok(&request->login);
}

static bool read_string(struct gateway_connection *connection, const struct asked *asked,
                        struct connection_string *string)
{
    struct error error;

    if (!connection_string_read(asked->connection_string, string, &error))
        return refuse(connection, error.message);
    if (string->password == NULL || *string->password == '\0')
        return refuse(connection, "missing authentication credentials: required password");
    return true;
}

static struct gateway_request *make_request(struct gateway_connection *connection,
                                            const struct asked *asked,
                                            const struct connection_string *string)
{
    struct gateway_request *request = memory_zalloc(sizeof(*request));
    const struct settings *settings = connection_settings(connection);

    if (request == NULL)
        return NULL;
    request_init(request, connection);
    spool_init(&request->spool, &connection->gateway->budget, settings->http_max_response);
    request->raw_text = asked->raw_text;
    write_begin(request, asked);
    request->json_settings =
        (struct json_request_settings){.as_arrays = asked->as_arrays, .begin = request->begin};
    if (write_login(request, string))
        return request;
    request_destroy(request);
    return NULL;
}

static void start(struct gateway_connection *connection, const struct asked *asked,
                  const struct connection_string *string)
{
    struct client *client = connection->client;
    struct gateway_request *request = make_request(connection, asked, string);

    if (request == NULL) {
        answer_error(connection, 503, "", "out of memory", SQLSTATE_OUT_OF_MEMORY);
        return;
    }
    request->peer.input = bytes_span(&request->login);
    request->inner = client_open_within(client, &request->peer);
    if (request->inner == NULL) {
        request_destroy(request);
        answer_error(connection, 503, "", "out of memory", SQLSTATE_OUT_OF_MEMORY);
        return;
    }
    request->inner->asked_host = memory_strdup(string->host);
    connection->request = request;
    connection->state = CONNECTION_LOGIN;
    connection_arm(connection, 0); /* the login has a time limit of its own */
    stream_pause(&client->stream);
    memory_peer_offer(&request->peer);
}

void request_begin(struct gateway_connection *connection, const struct http_head *head)
{
    struct connection_string string = {0};
    struct asked asked;

    if (!read_fields(connection, head, &asked))
        return;
    if (read_string(connection, &asked, &string))
        start(connection, &asked, &string);
    connection_string_finish(&string);
}
