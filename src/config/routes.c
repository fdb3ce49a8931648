#include "config/routes.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "load_private.h"
#include "owned.h"
#include "snapshot_private.h"

#define CAPTURES_MAX 3 /* host, user, database */
#define HOST_MAX     255

/* ---- patterns ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_capturable(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static bool is_alike(const char *a, const char *b, size_t size, bool fold)
{
    return fold ? strncasecmp(a, b, size) == 0 : strncmp(a, b, size) == 0;
}

bool route_pattern_fits(const char *pattern, const char *text, bool fold, char *capture)
{
    const char *star = strchr(pattern, '*');
    size_t length = strlen(text);

    capture[0] = '\0';
    if (star == NULL)
        return strlen(pattern) == length && is_alike(pattern, text, length, fold);
    size_t before = (size_t)(star - pattern), behind = strlen(star + 1);
    if (length <= before + behind || length - before - behind > ROUTE_CAPTURE_MAX ||
        !is_alike(pattern, text, before, fold) ||
        !is_alike(star + 1, text + length - behind, behind, fold))
        return false;
    size_t size = length - before - behind;
    for (size_t i = 0; i < size; i++) {
        capture[i] = lower(text[before + i]);
        if (!is_capturable(capture[i]))
            return false;
    }
    capture[size] = '\0';
    return true;
}

bool route_expand(const char *text, const char captures[][ROUTE_CAPTURE_MAX + 1], int count,
                  char *into, size_t size)
{
    size_t used = 0;

    for (; *text != '\0'; text++) {
        char one[2] = {*text, '\0'};
        const char *part = one;

        if (*text == '$' && text[1] >= '1' && text[1] <= '9') {
            if (text[1] - '1' >= count)
                return false;
            part = captures[*++text - '1'];
        }
        size_t length = strlen(part);
        if (used + length >= size)
            return false;
        memcpy(into + used, part, length);
        used += length;
    }
    into[used] = '\0';
    return true;
}

/* ---- a host ---- */

static size_t label_size(const char *host)
{
    return strcspn(host, ".");
}

bool route_is_consistent(const struct route_question *question, struct error *error)
{
    const char *sni = question->sni, *endpoint = question->endpoint;

    if (sni == NULL || endpoint == NULL)
        return true;
    size_t size = label_size(sni);
    if (strlen(endpoint) == size && strncasecmp(sni, endpoint, size) == 0)
        return true;
    return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                     "Inconsistent project name inferred from SNI ('%.*s') and project option "
                     "('%.63s').",
                     (int)(size < 63 ? size : 63), sni, endpoint);
}

/* An endpoint stands for the first label of a host whose rest is not said. */
static bool host_fits(const struct route *route, const struct route_question *question,
                      char *capture)
{
    char text[HOST_MAX + 1];

    capture[0] = '\0';
    if (strcmp(route->host, "*") == 0)
        return true;
    if (question->sni != NULL) {
        size_t length = strlen(question->sni);
        if (length > 0 && question->sni[length - 1] == '.')
            length--;
        if (length > HOST_MAX)
            return false;
        (void)snprintf(text, sizeof text, "%.*s", (int)length, question->sni);
        return route_pattern_fits(route->host, text, true, capture);
    }
    if (question->endpoint == NULL)
        return false;
    (void)snprintf(text, sizeof text, "%.*s", (int)label_size(route->host), route->host);
    return route_pattern_fits(text, question->endpoint, true, capture);
}

/* ---- a line ---- */

struct match {
    char captures[CAPTURES_MAX][ROUTE_CAPTURE_MAX + 1];
    int count;
};

static bool take_part(struct match *match, const char *pattern, const char *text)
{
    if (pattern == NULL)
        return true;
    if (text == NULL || !route_pattern_fits(pattern, text, false, match->captures[match->count]))
        return false;
    match->count += strchr(pattern, '*') != NULL;
    return true;
}

/* Captures lead to entries that have a line of their own, and nowhere else. */
static const char *lead(const struct config *config, const struct route *route,
                        const struct route_question *question, const struct match *match,
                        struct route_answer *answer)
{
    const struct database_entry *entry;

    answer->user[0] = '\0';
    if (route->user != NULL && !route_expand(route->user, match->captures, match->count,
                                             answer->user, sizeof answer->user))
        return "user= does not come out as a name";
    if (route->database == NULL) {
        (void)snprintf(answer->database, sizeof answer->database, "%s",
                       question->database != NULL ? question->database : "");
        return NULL;
    }
    if (!route_expand(route->database, match->captures, match->count, answer->database,
                      sizeof answer->database))
        return "database= does not come out as a name";
    entry = tables_database(config->tables, answer->database);
    return entry != NULL && !entry->is_console ? NULL
                                               : "the database it leads to has no line of its own";
}

/* NULL: it fits. */
static const char *try_line(const struct config *config, const struct route *route,
                            const struct route_question *question, struct route_answer *answer)
{
    struct match match = {.count = 0};

    if (!host_fits(route, question, match.captures[0]))
        return "another host";
    match.count = match.captures[0][0] != '\0';
    if (route->if_listener != NULL &&
        (question->listener == NULL || strcmp(route->if_listener, question->listener) != 0))
        return "another listener";
    if (!take_part(&match, route->if_user, question->user))
        return "another user";
    if (!take_part(&match, route->if_database, question->database))
        return "another database";
    return lead(config, route, question, &match, answer);
}

bool route_find(const struct config *config, const struct route_question *question,
                struct route_answer *answer, const struct route_why *why)
{
    for (int i = 0; i < config->route_count; i++) {
        struct route *route = config->routes[i];
        const char *reason = try_line(config, route, question, answer);

        if (why != NULL)
            why->call(route, reason, why->argument);
        if (reason != NULL)
            continue;
        answer->route = route;
        answer->pool_mode = route->pool_mode;
        return true;
    }
    answer->route = NULL;
    return false;
}

/* ---- the file ---- */

void route_free(struct route *route)
{
    if (route == NULL)
        return;
    entry_keys_finish(&route_keys, route);
    owned_free(route->host);
    memory_free(route);
}

struct route *route_create(const char *host)
{
    struct route *route = memory_zalloc(sizeof *route);

    if (route == NULL)
        return NULL;
    route->pool_mode = CONFIG_UNSET;
    route->host = memory_strdup(host);
    if (route->host != NULL)
        return route;
    route_free(route);
    return NULL;
}

struct route *route_copy(const struct route *route)
{
    struct route *copy = route_create(route->host);

    if (copy == NULL || !entry_keys_copy(&route_keys, route, copy)) {
        route_free(copy);
        return NULL;
    }
    copy->line = route->line;
    atomic_store(&copy->taken, atomic_load(&route->taken));
    return copy;
}

static int stars(const char *pattern)
{
    int count = 0;

    for (; pattern != NULL && *pattern != '\0'; pattern++)
        count += *pattern == '*';
    return count;
}

static int highest(const char *text)
{
    int found = 0;

    for (; text != NULL && *text != '\0'; text++)
        if (*text == '$' && text[1] >= '1' && text[1] <= '9' && text[1] - '0' > found)
            found = text[1] - '0';
    return found;
}

const char *route_check(const struct route *route)
{
    bool is_any = strcmp(route->host, "*") == 0;
    int captures =
        (is_any ? 0 : stars(route->host)) + stars(route->if_user) + stars(route->if_database);

    if (stars(route->host) > 1 || stars(route->if_user) > 1 || stars(route->if_database) > 1)
        return "a pattern has at most one *";
    if (highest(route->database) > captures || highest(route->user) > captures)
        return "there are not so many * as its $ ask for";
    if (route->database != NULL && strcmp(route->database, CONFIG_CONSOLE_NAME) == 0)
        return "the console is not reached by routes";
    return NULL;
}
