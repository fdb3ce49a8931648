#include "conninfo.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

static const struct {
    const char *word, *variable;
} keys[CONNINFO_KEYS] = {
    [CONNINFO_HOST] = {"host", "PGHOST"},
    [CONNINFO_PORT] = {"port", "PGPORT"},
    [CONNINFO_DBNAME] = {"dbname", "PGDATABASE"},
    [CONNINFO_USER] = {"user", "PGUSER"},
    [CONNINFO_PASSWORD] = {"password", NULL},
    [CONNINFO_SSLMODE] = {"sslmode", "PGSSLMODE"},
    [CONNINFO_SSLROOTCERT] = {"sslrootcert", "PGSSLROOTCERT"},
    [CONNINFO_SSLCERT] = {"sslcert", "PGSSLCERT"},
    [CONNINFO_SSLKEY] = {"sslkey", "PGSSLKEY"},
    [CONNINFO_CHANNEL_BINDING] = {"channel_binding", "PGCHANNELBINDING"},
    [CONNINFO_REQUIRE_AUTH] = {"require_auth", "PGREQUIREAUTH"},
    [CONNINFO_CONNECT_TIMEOUT] = {"connect_timeout", "PGCONNECT_TIMEOUT"},
    [CONNINFO_APPLICATION_NAME] = {"application_name", "PGAPPNAME"},
};

static const char *behind_scheme(const char *argument)
{
    if (strncmp(argument, "postgres://", 11) == 0)
        return argument + 11;
    return strncmp(argument, "postgresql://", 13) == 0 ? argument + 13 : NULL;
}

bool conninfo_looks_like(const char *argument)
{
    return behind_scheme(argument) != NULL ||
           (strchr(argument, '=') != NULL && access(argument, F_OK) != 0);
}

static bool refuse(struct error *error, const char *why)
{
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "the connection string: %s", why);
}

static bool set(struct conninfo *info, const char *word, const char *value, struct error *error)
{
    for (int key = 0; key < CONNINFO_KEYS; key++)
        if (strcmp(keys[key].word, word) == 0) {
            if (*value != '\0')
                info->values[key] = value;
            return true;
        }
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                     "the connection string: \"%.64s\" is not understood: write an ini for it (see "
                     "--print-config)",
                     word);
}

/* ---- URIs ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX in place. */
static bool decode(char *text, struct error *error)
{
    char *to = text;

    for (; *text != '\0'; text++, to++) {
        *to = *text;
        if (*text != '%')
            continue;
        int high = hex_digit(text[1]), low = high >= 0 ? hex_digit(text[2]) : -1;
        if (low < 0 || high + low == 0)
            return refuse(error, "a % without two hexadecimal digits behind it");
        *to = (char)(high * 16 + low);
        text += 2;
    }
    *to = '\0';
    return true;
}

static bool set_decoded(struct conninfo *info, const char *word, char *value, struct error *error)
{
    return decode(value, error) && set(info, word, value, error);
}

/* user[:password] */
static bool take_user(struct conninfo *info, char *user, char *argument, struct error *error)
{
    char *password = strchr(user, ':');

    if (password != NULL) {
        *password++ = '\0';
        memset(argument + (password - info->text), '*', strlen(password));
        if (!set_decoded(info, "password", password, error))
            return false;
    }
    return set_decoded(info, "user", user, error);
}

/* host[:port][,host[:port]...]: one port for all of them. */
static bool take_hosts(struct conninfo *info, char *hosts, struct error *error)
{
    char *to = hosts, *port = NULL;

    info->values[CONNINFO_HOST] = *hosts != '\0' ? hosts : NULL;
    for (char *at = hosts; *at != '\0';) {
        size_t length = strcspn(at, ",");
        bool is_last = at[length] == '\0';
        at[length] = '\0';
        char *end = *at == '[' ? strchr(at, ']') : NULL,
             *colon = strchr(end != NULL ? end : at, ':');
        if (*at == '[' && end == NULL)
            return refuse(error, "a [ without its ]");
        if (colon != NULL && port != NULL && strcmp(port, colon + 1) != 0)
            return refuse(error, "hosts with ports of their own");
        if (colon != NULL) {
            *colon = '\0';
            port = colon + 1;
        }
        const char *name = at + (end != NULL);
        size_t size = end != NULL ? (size_t)(end - name) : strlen(name);
        while (size-- > 0)
            *to++ = *name++;
        at += length + !is_last;
        *to = is_last ? '\0' : ',';
        to += !is_last;
    }
    if (port != NULL && *port != '\0')
        info->values[CONNINFO_PORT] = port;
    return info->values[CONNINFO_HOST] == NULL || decode(hosts, error);
}

static bool take_query(struct conninfo *info, char *query, char *argument, struct error *error)
{
    char *pair;

    while ((pair = strsep(&query, "&")) != NULL) {
        char *value = strchr(pair, '=');
        if (value == NULL)
            return refuse(error, "a parameter without a value");
        *value++ = '\0';
        if (strcmp(pair, "password") == 0)
            memset(argument + (value - info->text), '*', strlen(value));
        if (!decode(pair, error) || !set_decoded(info, pair, value, error))
            return false;
    }
    return true;
}

static bool take_uri(struct conninfo *info, char *argument, struct error *error)
{
    char *at = info->text + (behind_scheme(info->text) - info->text);
    char *query = strchr(at, '?');

    if (query != NULL)
        *query++ = '\0';
    char *path = strchr(at, '/');
    if (path != NULL)
        *path++ = '\0';
    char *hosts = strrchr(at, '@');
    if (hosts != NULL) {
        *hosts++ = '\0';
        if (!take_user(info, at, argument, error))
            return false;
    }
    if (path != NULL && !set_decoded(info, "dbname", path, error))
        return false;
    return take_hosts(info, hosts != NULL ? hosts : at, error) &&
           (query == NULL || take_query(info, query, argument, error));
}

/* ---- keywords ---- */

static char *skip_space(char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* A value, unquoted in place; NULL: its quote is not closed. */
static char *take_value(char **from)
{
    char *at = *from, *value = at, *to = at;
    bool is_quoted = *at == '\'';

    if (is_quoted)
        value = to = ++at;
    for (; *at != '\0' && (is_quoted ? *at != '\'' : !isspace((unsigned char)*at)); at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        *to++ = *at;
    }
    if (is_quoted && *at != '\'')
        return NULL;
    *from = *at != '\0' ? at + 1 : at;
    *to = '\0';
    return value;
}

static bool take_keywords(struct conninfo *info, char *argument, struct error *error)
{
    char *at = skip_space(info->text);

    while (*at != '\0') {
        char *word = at;
        at += strcspn(at, "= \t\n");
        char *end = at;
        at = skip_space(at);
        if (*at != '=')
            return refuse(error, "a keyword without =");
        at = skip_space(at + 1);
        *end = '\0';
        char *raw = at, *value = take_value(&at);
        if (value == NULL)
            return refuse(error, "a quote that is not closed");
        if (strcmp(word, "password") == 0)
            memset(argument + (raw - info->text), '*', (size_t)(at - raw));
        if (!set(info, word, value, error))
            return false;
        at = skip_space(at);
    }
    return true;
}

/* ---- doors ---- */

bool conninfo_parse(char *argument, struct conninfo *info, struct error *error)
{
    *info = (struct conninfo){.text = memory_strdup(argument)};
    if (info->text == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    bool ok = behind_scheme(argument) != NULL ? take_uri(info, argument, error)
                                              : take_keywords(info, argument, error);
    for (int key = 0; ok && key < CONNINFO_KEYS; key++) {
        const char *value = keys[key].variable != NULL ? getenv(keys[key].variable) : NULL;
        if (info->values[key] == NULL && value != NULL && *value != '\0')
            info->values[key] = value;
    }
    return ok;
}

void conninfo_finish(struct conninfo *info)
{
    memory_free_secret(info->text);
    *info = (struct conninfo){0};
}
