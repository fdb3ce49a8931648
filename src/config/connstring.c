#include "config/connstring.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static char *skip_space(char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* Undoubles the quotes of a value in place. `at` is behind the opening quote; gives the place of
 * the closing one, or NULL when there is none. */
static char *unquote(char *at)
{
    char *to = at;

    for (; *at != '\0'; at++) {
        if (*at == '\'') {
            if (at[1] != '\'') {
                *to = '\0';
                return at;
            }
            at++;
        }
        *to++ = *at;
    }
    return NULL;
}

/* Only the space character ends a value: a tab is part of it, as in PgBouncer. */
static char *take_value(char *at, const char **value)
{
    if (*at == '\'') {
        *value = at + 1;
        at = unquote(at + 1);
        if (at == NULL)
            return NULL;
        at++;
    } else {
        *value = at;
        while (*at != '\0' && *at != ' ')
            at++;
    }
    /* One character behind a value is swallowed, whatever it is; files rely on a space there. */
    if (*at != '\0')
        *at++ = '\0';
    return at;
}

enum connstring_verdict connstring_next(char **at, const char **key, const char **value)
{
    char *start = skip_space(*at);
    char *key_end = start, *next;

    if (*start == '\0')
        return CONNSTRING_END;
    while (*key_end != '\0' && *key_end != '=' && !isspace((unsigned char)*key_end))
        key_end++;
    next = skip_space(key_end);
    if (*next != '=' || key_end == start)
        return CONNSTRING_BROKEN;
    next = skip_space(next + 1);
    *key_end = '\0';
    next = take_value(next, value);
    if (next == NULL || **value == '\0')
        return CONNSTRING_BROKEN;
    *key = start;
    *at = next;
    return CONNSTRING_PAIR;
}
