#include "auth/ident.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "name_pattern.h"
#include "rule_file.h"

struct ident_line {
    char *map, *system_user, *user;
    bool system_is_pattern, user_is_pattern, user_is_all;
    regex_t system_pattern, user_pattern;
    struct ident_line *next;
};

struct ident {
    struct ident_line *first, **last;
};

struct ident *ident_create(void)
{
    struct ident *ident = memory_zalloc(sizeof(*ident));

    if (ident != NULL)
        ident->last = &ident->first;
    return ident;
}

static void destroy_line(struct ident_line *line)
{
    memory_free(line->map);
    memory_free(line->system_user);
    memory_free(line->user);
    if (line->system_is_pattern)
        regfree(&line->system_pattern);
    if (line->user_is_pattern)
        regfree(&line->user_pattern);
    memory_free(line);
}

void ident_destroy(struct ident *ident)
{
    struct ident_line *line;

    if (ident == NULL)
        return;
    while ((line = ident->first) != NULL) {
        ident->first = line->next;
        destroy_line(line);
    }
    memory_free(ident);
}

/* ---- reading ---- */

static bool compile(const struct rule_line *from, const char *text, regex_t *pattern,
                    bool *is_pattern, struct error *error)
{
    char reason[128];

    *is_pattern = name_pattern_compile(pattern, text + 1, reason, sizeof(reason));
    return *is_pattern ||
           rule_line_error(from, error, "regular expression \"%.100s\": %s", text + 1, reason);
}

static bool understand(const struct rule_line *from, struct ident_line *line, bool user_is_quoted,
                       struct error *error)
{
    if (line->system_user[0] == '/' &&
        !compile(from, line->system_user, &line->system_pattern, &line->system_is_pattern, error))
        return false;
    line->user_is_all = !user_is_quoted && strcmp(line->user, "all") == 0;
    if (!user_is_quoted && line->user[0] == '+')
        return rule_line_error(from, error, "groups (%.100s) are not supported", line->user);
    if (line->user[0] == '/')
        return compile(from, line->user, &line->user_pattern, &line->user_is_pattern, error);
    if (strstr(line->user, "\\1") != NULL &&
        (!line->system_is_pattern || line->system_pattern.re_nsub == 0))
        return rule_line_error(from, error, "\\1 needs a group in the regular expression");
    return true;
}

static bool take_line(void *argument, struct rule_line *from, struct error *error)
{
    struct ident *ident = argument;
    const struct rule_item *map = rule_line_word(from, 0), *system_user = rule_line_word(from, 1),
                           *user = rule_line_word(from, 2);

    if (map == NULL || system_user == NULL || user == NULL || from->field_count != 3)
        return rule_line_error(from, error,
                               "could not parse ident config line %d: it reads MAP SYSTEM-USER "
                               "DB-USER",
                               from->number);
    struct ident_line *line = memory_zalloc(sizeof(*line));
    if (line == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    line->map = memory_strdup(map->text);
    line->system_user = memory_strdup(system_user->text);
    line->user = memory_strdup(user->text);
    *ident->last = line;
    ident->last = &line->next;
    if (line->map == NULL || line->system_user == NULL || line->user == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    return understand(from, line, user->is_quoted, error);
}

bool ident_parse(struct ident *ident, const char *file, const void *data, size_t size,
                 struct error *error)
{
    const struct rule_source source = {.file = file};

    return rule_file_parse(&source, data, size, take_line, ident, error);
}

bool ident_load(struct ident *ident, const char *file, struct error *error)
{
    struct bytes text;

    bytes_init(&text, RULE_FILE_MAX);
    bool is_good = rule_file_from_disk(file, &text, error);
    if (!is_good)
        error_prefix(error, "could not open ident config file");
    else
        is_good = ident_parse(ident, file, text.data, text.size, error);
    bytes_finish(&text);
    return is_good;
}

/* ---- matching ---- */

bool ident_has_map(const struct ident *ident, const char *map)
{
    for (const struct ident_line *line = ident->first; line != NULL; line = line->next)
        if (strcmp(line->map, map) == 0)
            return true;
    return false;
}

/* `user` is the line's DB-USER with the group in place of \1. */
static bool is_expanded(const struct ident_line *line, const char *name, const regmatch_t *group,
                        const char *user)
{
    const char *reference = strstr(line->user, "\\1");
    char expected[2 * RULE_ITEM_MAX + NAME_PATTERN_TEXT_MAX];

    if (reference == NULL)
        return strcmp(line->user, user) == 0;
    if (group->rm_so < 0)
        return false;
    (void)snprintf(expected, sizeof(expected), "%.*s%.*s%s", (int)(reference - line->user),
                   line->user, (int)(group->rm_eo - group->rm_so), name + group->rm_so,
                   reference + 2);
    return strcmp(expected, user) == 0;
}

static bool line_matches(const struct ident_line *line, const struct ident_peer *peer,
                         const char *user)
{
    regmatch_t groups[2] = {{-1, -1}, {-1, -1}};

    if (line->system_is_pattern) {
        if (peer->name == NULL || !name_pattern_matches(&line->system_pattern, peer->name, groups))
            return false;
    } else if (!peer->is_called(peer->argument, line->system_user)) {
        return false;
    }
    if (line->user_is_all)
        return true;
    if (line->user_is_pattern)
        return name_pattern_matches(&line->user_pattern, user, NULL);
    return line->system_is_pattern ? is_expanded(line, peer->name, &groups[1], user)
                                   : strcmp(line->user, user) == 0;
}

bool ident_match(const struct ident *ident, const char *map, const struct ident_peer *peer,
                 const char *user)
{
    for (const struct ident_line *line = ident->first; line != NULL; line = line->next)
        if (strcmp(line->map, map) == 0 && line_matches(line, peer, user))
            return true;
    return false;
}
