/* ident: maps from names of the outside (of a certificate) to names of users, as pg_ident.conf:
 * MAP SYSTEM-USER DB-USER a line. Any line that fits is enough.
 *
 * SYSTEM-USER may be a regular expression behind a slash (POSIX extended, without back-references);
 * \1 in DB-USER then stands for its first group. DB-USER may be all, or a regular expression too.
 * Pure but for ident_load (blocking). Immutable after that; any thread may match.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct ident;

/* An empty set. NULL: no memory. */
struct ident *ident_create(void);
void ident_destroy(struct ident *ident); /* NULL is fine */
/* Adds lines. False: "FILE:LINE: reason". */
bool ident_parse(struct ident *ident, const char *file, const void *data, size_t size,
                 struct error *error);
bool ident_load(struct ident *ident, const char *file, struct error *error);

bool ident_has_map(const struct ident *ident, const char *map);

/* Who comes from outside. */
struct ident_peer {
    const char *name; /* for regular expressions; NULL: there is none */
    bool (*is_called)(const void *argument, const char *name);
    const void *argument;
};
bool ident_match(const struct ident *ident, const char *map, const struct ident_peer *peer,
                 const char *user);
