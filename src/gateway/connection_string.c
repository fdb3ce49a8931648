#include "gateway/connection_string.h"

#include <string.h>
#include <strings.h>

static bool refuse(struct error *error, const char *why)
{
    return error_set(error, SQLSTATE_CONNECTION_EXCEPTION, "%s", why);
}

/* Bytes that a part of the text has up to one of `ends`. */
static struct span take_part(struct span *rest, const char *ends)
{
    size_t size = 0;

    while (size < rest->size && strchr(ends, rest->data[size]) == NULL)
        size++;
    struct span part = {rest->data, size};
    *rest = (struct span){rest->data + size, rest->size - size};
    return part;
}

static void skip_one(struct span *rest)
{
    if (rest->size > 0)
        *rest = (struct span){rest->data + 1, rest->size - 1};
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Decoded into `memory`, with a zero byte. NULL: malformed, or a zero byte inside. */
static const char *decode(struct bytes *memory, struct span part)
{
    size_t start = memory->size;

    for (size_t i = 0; i < part.size; i++) {
        uint8_t byte = part.data[i];
        if (byte == '%') {
            int high = i + 2 < part.size ? hex_digit(part.data[i + 1]) : -1;
            int low = i + 2 < part.size ? hex_digit(part.data[i + 2]) : -1;
            if (i + 2 == part.size || high < 0 || low < 0)
                return NULL;
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (byte == 0)
            return NULL;
        bytes_u8(memory, byte);
    }
    bytes_u8(memory, 0);
    return bytes_ok(memory) ? (const char *)memory->data + start : NULL;
}

/* The last '@' in front of the path: a password may hold others only percent-encoded, but some
 * programs do not. */
static size_t end_of_credentials(struct span authority)
{
    size_t at = authority.size;

    while (at > 0 && authority.data[at - 1] != '@')
        at--;
    return at;
}

static bool read_credentials(struct span text, struct connection_string *string,
                             struct error *error)
{
    struct span user = take_part(&text, ":");

    string->user = decode(&string->memory, user);
    if (text.size > 0) {
        skip_one(&text);
        string->password = decode(&string->memory, text);
        if (string->password == NULL)
            return refuse(error, "malformed password in the connection string");
    }
    return string->user != NULL || refuse(error, "malformed user in the connection string");
}

static bool read_host(struct span text, struct connection_string *string, struct error *error)
{
    struct span host;

    if (text.size > 0 && text.data[0] == '[') {
        host = take_part(&text, "]");
        skip_one(&text);
        host = (struct span){host.data + 1, host.size - 1};
    } else {
        host = take_part(&text, ":");
    }
    if (text.size > 0) {
        skip_one(&text);
        for (size_t i = 0; i < text.size; i++)
            if (text.data[i] < '0' || text.data[i] > '9')
                return refuse(error, "malformed port in the connection string");
    }
    string->host = decode(&string->memory, host);
    return string->host != NULL || refuse(error, "malformed host in the connection string");
}

static bool is_in(const char *name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcasecmp(name, *list) == 0)
            return true;
    return false;
}

/* Who one is, where one goes, files, and another protocol: all of it is said elsewhere, or not at
 * all. */
static bool is_refused(const char *name)
{
    static const char *const list[] = {"user",        "password",    "host",     "hostaddr",
                                       "port",        "dbname",      "database", "passfile",
                                       "service",     "servicefile", "sslkey",   "sslcert",
                                       "sslpassword", "sslrootcert", "sslcrl",   "sslcrldir",
                                       "replication", "krbsrvname",  NULL};

    return is_in(name, list);
}

/* For a client's library: libpq's own, and what drivers have in their URLs. client_encoding is
 * UTF8 here. */
static bool is_dropped(const char *name)
{
    static const char *const list[] = {
        "sslmode",          "channel_binding",      "sslnegotiation",      "sslcompression",
        "sslsni",           "require_auth",         "gssencmode",          "connect_timeout",
        "keepalives",       "keepalives_idle",      "keepalives_interval", "keepalives_count",
        "tcp_user_timeout", "target_session_attrs", "load_balance_hosts",  "client_encoding",
        "pgbouncer",        "connection_limit",     "pool_timeout",        NULL};

    return is_in(name, list);
}

static bool add_parameter(struct connection_string *string, const char *name, const char *value,
                          struct error *error)
{
    for (unsigned i = 0; i < string->parameter_count; i++)
        if (strcasecmp(string->names[i], name) == 0)
            return refuse(error, "a parameter comes twice in the connection string");
    if (string->parameter_count == CONNECTION_STRING_PARAMETERS_MAX)
        return refuse(error, "too many parameters in the connection string");
    string->names[string->parameter_count] = name;
    string->values[string->parameter_count++] = value;
    return true;
}

static bool read_parameters(struct span text, struct connection_string *string, struct error *error)
{
    while (text.size > 0) {
        struct span pair = take_part(&text, "&");
        skip_one(&text);
        struct span rest = pair, first = take_part(&rest, "=");
        skip_one(&rest);
        const char *name = decode(&string->memory, first);
        const char *value = decode(&string->memory, rest);
        if (name == NULL || value == NULL || (*name == '\0' && pair.size > 0))
            return refuse(error, "malformed parameter in the connection string");
        if (is_refused(name))
            return refuse(error, "the connection string has a parameter that is not allowed here");
        if (pair.size > 0 && !add_parameter(string, name, value, error))
            return false;
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < string->parameter_count; i++)
        if (!is_dropped(string->names[i])) {
            string->names[kept] = string->names[i];
            string->values[kept++] = string->values[i];
        }
    string->parameter_count = kept;
    return true;
}

static bool take_scheme(struct span *text)
{
    static const char *const schemes[] = {"postgresql://", "postgres://"};

    for (size_t i = 0; i < 2; i++) {
        size_t size = strlen(schemes[i]);
        if (text->size >= size && strncasecmp((const char *)text->data, schemes[i], size) == 0) {
            *text = (struct span){text->data + size, text->size - size};
            return true;
        }
    }
    return false;
}

static bool read_all(struct span text, struct connection_string *string, struct error *error)
{
    struct span authority, path;

    if (!take_scheme(&text))
        return refuse(error, "the connection string is no postgres:// or postgresql:// URL");
    authority = take_part(&text, "/?#");
    size_t host = end_of_credentials(authority);
    if (host > 0 && !read_credentials((struct span){authority.data, host - 1}, string, error))
        return false;
    if (!read_host((struct span){authority.data + host, authority.size - host}, string, error))
        return false;
    if (text.size > 0 && text.data[0] == '/')
        skip_one(&text);
    path = take_part(&text, "?#");
    string->database = decode(&string->memory, path);
    if (string->database == NULL)
        return refuse(error, "malformed database in the connection string");
    if (text.size > 0 && text.data[0] == '?') {
        skip_one(&text);
        return read_parameters(take_part(&text, "#"), string, error);
    }
    return true;
}

bool connection_string_read(struct span text, struct connection_string *string, struct error *error)
{
    *string = (struct connection_string){0};
    /* No part grows by being decoded; each gets a zero byte. Never moved: pointers lie in it. */
    bytes_init(&string->memory, CONNECTION_STRING_MAX * 2 + 64);
    if (text.size > CONNECTION_STRING_MAX)
        return refuse(error, "the connection string is too long");
    if (bytes_reserve(&string->memory, text.size * 2 + 16) == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    bytes_clear(&string->memory);
    if (!read_all(text, string, error))
        return false;
    if (string->user == NULL || *string->user == '\0')
        return refuse(error, "missing user in the connection string");
    if (*string->database == '\0')
        return refuse(error, "missing database name in the connection string");
    return true;
}

void connection_string_finish(struct connection_string *string)
{
    bytes_finish_secret(&string->memory);
    *string = (struct connection_string){0};
}
