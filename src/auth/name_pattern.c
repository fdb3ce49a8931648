#include "name_pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATTERN_MAX     256
#define REPETITIONS_MAX 1024

static bool has_back_reference(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text == '\\' && *++text >= '0' && *text <= '9')
            return true;
        else if (*text == '\0')
            return false;
    return false;
}

/* The last byte of the bracket expression that begins here. */
static const char *bracket_end(const char *text)
{
    const char *first = text + 1;

    if (*first == '^')
        first++;
    if (*first == '\0')
        return text;
    const char *end = strchr(first + 1, ']');
    return end != NULL ? end : text;
}

/* "a**", "a+{2}": PostgreSQL refuses a quantifier behind a quantifier, and the library needs twice
 * the time for each. */
static bool has_double_quantifier(const char *text)
{
    bool was_quantifier = false;

    for (; *text != '\0'; text++) {
        bool is_quantifier = strchr("*+?{", *text) != NULL;
        if (is_quantifier && was_quantifier && *text != '?') /* "a*?" is PostgreSQL's lazy one */
            return true;
        if (*text == '\\' && text[1] != '\0')
            text++;
        else if (*text == '[')
            text = bracket_end(text);
        else if (*text == '{')
            text += strcspn(text + 1, "}");
        was_quantifier = is_quantifier;
        if (is_quantifier && *text != '\0' && text[1] == '}')
            text++;
    }
    return false;
}

/* The library writes a repeated part out as often as it is repeated, and nested ones multiply: a
 * few bytes can want all memory there is, and all time: each `+` of a group in a group of its own
 * takes four times as long. The product of all repetitions says at most how much. What stands in
 * brackets is counted too, which only errs on the safe side. */
static bool is_small(const char *text)
{
    unsigned long product = 1;

    if (strlen(text) > PATTERN_MAX)
        return false;
    for (const char *at = text; *at != '\0' && product <= REPETITIONS_MAX; at++) {
        if (*at == '+' && at > text && at[-1] == ')') {
            product *= 4;
        } else if (*at == '{') {
            unsigned long number = strtoul(at + 1, NULL, 10);
            const char *comma = at + 1 + strcspn(at + 1, ",}");
            unsigned long most = *comma == ',' ? strtoul(comma + 1, NULL, 10) : 0;

            number = number > most ? number : most;
            product *= number > REPETITIONS_MAX ? REPETITIONS_MAX + 1 : number + 1;
        }
    }
    return product <= REPETITIONS_MAX;
}

bool name_pattern_compile(regex_t *pattern, const char *text, char *reason, size_t reason_size)
{
    if (has_back_reference(text)) {
        (void)snprintf(reason, reason_size, "back-references are not supported");
        return false;
    }
    if (has_double_quantifier(text)) {
        (void)snprintf(reason, reason_size, "a quantifier behind a quantifier");
        return false;
    }
    if (!is_small(text)) {
        (void)snprintf(reason, reason_size, "it is too large, or repeats too much");
        return false;
    }
    int verdict = regcomp(pattern, text, REG_EXTENDED);
    if (verdict == 0)
        return true;
    (void)regerror(verdict, pattern, reason, reason_size);
    return false;
}

bool name_pattern_matches(const regex_t *pattern, const char *name, regmatch_t *groups)
{
    if (strnlen(name, NAME_PATTERN_TEXT_MAX + 1) > NAME_PATTERN_TEXT_MAX)
        return false;
    return regexec(pattern, name, groups != NULL ? 2 : 0, groups, 0) == 0;
}
