/* name_pattern: a regular expression for names, in files that the operator wrote.
 *
 * POSIX extended, not anchored, as in PostgreSQL's rule files. No back-references inside it: they
 * take exponential time, and strangers choose the names. For the same reason longer names than
 * NAME_PATTERN_TEXT_MAX match nothing. Any thread. */
#pragma once
#include <regex.h>
#include <stdbool.h>
#include <stddef.h>

#define NAME_PATTERN_TEXT_MAX 128

/* `text` begins behind the slash. False: `reason` says why; nothing is to be freed. */
bool name_pattern_compile(regex_t *pattern, const char *text, char *reason, size_t reason_size);
/* `groups` (2 of them) may be NULL. */
bool name_pattern_matches(const regex_t *pattern, const char *name, regmatch_t *groups);
