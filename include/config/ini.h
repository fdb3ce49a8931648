/* ini: the grammar of a configuration file (COMPAT 1.1), from text to sections and keys.
 *
 * Reads files with their %include, or a text in memory, and calls back for each section head, key
 * and mistake, in order and with its exact place. Goes on behind a mistake, so that all of them are
 * found in one run. Knows no section and no key.
 *
 * inih splits key from value. In front of it stands a reader of our own, which counts lines of each
 * file, follows includes, takes section heads (inih cuts their names), refuses what the grammar
 * refuses, and keeps a quoted key away from inih, which would split it at a '=' or ':' inside. Sets
 * inih's process-wide switches, always to the same values: one run at a time. Blocking; file
 * contents are wiped after use.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define INI_INCLUDE_DEPTH_MAX 10
#define INI_FILES_MAX         10000
#define INI_FILE_SIZE_MAX     (64 << 20)

/* `file` as it was named; line from 1, or 0: the file as a whole. Lives as long as the struct ini.
 */
struct ini_place {
    const char *file;
    int line;
};

/* Texts are borrowed for the call. */
struct ini_events {
    void (*section)(void *argument, struct ini_place place, const char *name);
    void (*key)(void *argument, struct ini_place place, const char *key, const char *value);
    /* `key`: the key it is about, "%include", or NULL */
    void (*problem)(void *argument, struct ini_place place, const char *key, const char *reason);
    void *argument;
};

struct ini;

struct ini *ini_create(const struct ini_events *events); /* NULL: no memory */
void ini_destroy(struct ini *ini);                       /* all places die; NULL is fine */

/* Reads a file. Mistakes, also a file that cannot be read, are told through events->problem. */
void ini_load(struct ini *ini, const char *file);
/* The same over memory; `name` stands for the file. */
void ini_load_text(struct ini *ini, const char *name, const char *data, size_t size);
