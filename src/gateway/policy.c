/* Who may ask over HTTP, and from where (THREATS §4.2, §4.3). */
#include <stdio.h>
#include <string.h>

#include "gateway_private.h"

/* Is `text` one of the words of a list with commas or white space between them? Without case. */
static bool list_has(const char *list, struct span text)
{
    while (list != NULL && *list != '\0') {
        list += strspn(list, ", \t");
        size_t size = strcspn(list, ", \t");
        if (size == text.size && size > 0) {
            char word[ORIGIN_MAX];
            (void)snprintf(word, sizeof(word), "%.*s", (int)size, list);
            if (http_is(text, word))
                return true;
        }
        list += size;
    }
    return false;
}

/* ---- browsers ---- */

static unsigned count_fields(const struct http_head *head, const char *name)
{
    unsigned count = 0;

    for (int i = 0; i < head->count; i++)
        count += http_is(head->fields[i].name, name);
    return count;
}

bool policy_read_origin(struct gateway_connection *connection, const struct http_head *head)
{
    struct span origin = http_head_field(head, "origin");

    if (origin.data == NULL)
        return true;
    if (count_fields(head, "origin") == 1 && origin.size < ORIGIN_MAX &&
        list_has(connection_settings(connection)->http_allowed_origins, origin)) {
        memcpy(connection->origin, origin.data, origin.size);
        connection->origin[origin.size] = '\0';
        return true;
    }
    answer_error(connection, 403, "", "this origin is not allowed here (http_allowed_origins)",
                 NULL);
    return false;
}

void policy_put_fields(const struct gateway_connection *connection, struct bytes *out)
{
    if (connection->origin[0] == '\0')
        return;
    bytes_format(out, "Access-Control-Allow-Origin: %s\r\nVary: Origin\r\n", connection->origin);
    bytes_text(out,
               "Access-Control-Allow-Methods: OPTIONS, POST\r\n"
               "Access-Control-Allow-Headers: Content-Type, Authorization, Neon-Connection-String, "
               "Neon-Raw-Text-Output, Neon-Array-Mode, Neon-Pool-Opt-In, "
               "Neon-Batch-Isolation-Level, Neon-Batch-Read-Only, Neon-Batch-Deferrable\r\n"
               "Access-Control-Expose-Headers: Neon-Batch-Isolation-Level, Neon-Batch-Read-Only, "
               "Neon-Batch-Deferrable\r\n"
               "Access-Control-Max-Age: 86400\r\n");
}

/* ---- transport and host ---- */

static struct span host_name(struct span host)
{
    const uint8_t *end;

    if (host.size > 0 && host.data[0] == '[') {
        end = memchr(host.data, ']', host.size);
        return end != NULL ? (struct span){host.data + 1, (size_t)(end - host.data) - 1}
                           : (struct span){0};
    }
    end = host.size > 0 ? memchr(host.data, ':', host.size) : NULL;
    return end != NULL ? (struct span){host.data, (size_t)(end - host.data)} : host;
}

/* The name that was asked for is one of ours: of the certificate that is shown here, or a listed
 * one. */
static bool host_is_ours(const struct gateway_connection *connection, const struct http_head *head)
{
    const char *hosts = connection_settings(connection)->http_hosts;
    struct span host = host_name(head->host);
    char text[ORIGIN_MAX];

    if (host.size == 0 || host.size >= sizeof(text))
        return false;
    (void)snprintf(text, sizeof(text), "%.*s", (int)host.size, (const char *)host.data);
    if (stream_tls_own_is(&connection->client->stream, text))
        return true;
    return list_has(hosts, host) || list_has(hosts, (struct span){(const uint8_t *)"*", 1});
}

/* Passwords are in clear in the request: TLS ends here, or at a proxy that is named. */
static bool is_private(const struct gateway_connection *connection)
{
    const struct client *client = connection->client;
    struct address peer;
    char text[ADDRESS_TEXT_MAX];

    if (stream_is_tls(&client->stream) || client->stream.is_local)
        return true;
    if (!address_of_peer(&peer, client->stream.fd))
        return false;
    address_host_text(&peer, text, sizeof(text));
    return list_has(connection_settings(connection)->http_plain_from,
                    (struct span){(const uint8_t *)text, strlen(text)});
}

static void refuse(struct gateway_connection *connection, int status, const char *why)
{
    answer_error(connection, status, "", why, NULL);
}

bool policy_admits(struct gateway_connection *connection, const struct http_head *head)
{
    unsigned limit = connection_settings(connection)->http_max_request;
    struct span encoding = http_head_field(head, "content-encoding");
    char text[80];

    if (!is_private(connection)) {
        refuse(connection, 403,
               "SQL over HTTP needs TLS, or a proxy that ends it (http_plain_from)");
    } else if (!host_is_ours(connection, head)) {
        refuse(connection, 421, "no host of this name is served here (http_hosts)");
    } else if (encoding.data != NULL && !http_is(encoding, "identity")) {
        refuse(connection, 415, "bodies with a Content-Encoding are not taken");
    } else if (limit > 0 && head->length > limit) {
        connection->keep_alive = false;
        (void)snprintf(text, sizeof(text), REQUEST_TOO_LARGE_TEXT, limit);
        refuse(connection, 413, text);
    } else {
        return true;
    }
    return false;
}
