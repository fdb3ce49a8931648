/* rule_file: the lines of pg_hba.conf and pg_ident.conf, as PostgreSQL splits them (manual, chapter
 * "The pg_hba.conf File").
 *
 * A line is fields, parted by white space; a field is items, parted by commas; an item may be in
 * double quotes ("" inside is one quote), which takes its special meaning away. # begins a comment,
 * a backslash at the end goes on with the next line, @FILE stands for the items in that file, whose
 * name is relative to the folder of the one that names it. Everything is bounded. Blocking where
 * files are read. Any thread. */
#pragma once
#include "base/bytes.h"
#include "base/error.h"

#define RULE_FILE_MAX   (16 * 1024 * 1024)
#define RULE_ITEM_MAX   1024
#define RULE_FIELDS_MAX 32
#define RULE_ITEMS_MAX  65536 /* of a line, with those of its @FILEs */
#define RULE_DEPTH_MAX  10    /* of @FILEs that name @FILEs */

struct rule_item {
    char *text; /* who takes it sets it to NULL */
    bool is_quoted;
};

struct rule_line {
    const char *file;
    int number; /* of its first line */
    struct rule_item *items;
    int item_count;
    int starts[RULE_FIELDS_MAX + 1]; /* of each field among the items; one more: their end */
    int field_count;
};

/* Whole into `text`, which was begun with bytes_init(). */
typedef bool rule_file_read(const char *file, struct bytes *text, struct error *error);
typedef bool rule_file_line(void *argument, struct rule_line *line, struct error *error);

struct rule_source {
    const char *file;
    rule_file_read *read; /* for @FILE; NULL: refused */
};

/* Reads from the file system. */
bool rule_file_from_disk(const char *file, struct bytes *text, struct error *error);

/* Calls back for each line that has fields. False: with "FILE:LINE: reason". */
bool rule_file_parse(const struct rule_source *source, const void *data, size_t size,
                     rule_file_line *call, void *argument, struct error *error);

/* What the only item of a field is; NULL: there is no such field, or it is a list. */
const struct rule_item *rule_line_word(const struct rule_line *line, int field);
/* "FILE:LINE: text". False always. */
bool rule_line_error(const struct rule_line *line, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
