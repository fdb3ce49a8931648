#include "rule_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

/* ---- reading ---- */

static bool read_all(int descriptor, struct bytes *text)
{
    uint8_t chunk[16384];
    ssize_t count;

    do {
        count = read(descriptor, chunk, sizeof(chunk));
        if (count > 0)
            bytes_put(text, chunk, (size_t)count);
    } while ((count > 0 && bytes_ok(text)) || (count < 0 && errno == EINTR));
    return count >= 0;
}

bool rule_file_from_disk(const char *file, struct bytes *text, struct error *error)
{
    int descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (descriptor < 0)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s: %s", file, strerror(errno));
    bool is_read = read_all(descriptor, text);
    int cause = errno;
    close(descriptor);
    if (!is_read)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s: %s", file, strerror(cause));
    if (!bytes_ok(text))
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "%s: longer than %d bytes, or no memory", file, RULE_FILE_MAX);
    return true;
}

/* ---- lines ---- */

struct reader {
    const struct rule_source *source;
    struct rule_line line;
    int capacity; /* of the line's items */
    int depth;
};

bool rule_line_error(const struct rule_line *line, struct error *error, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s:%d: %s", line->file, line->number,
                     text);
}

const struct rule_item *rule_line_word(const struct rule_line *line, int field)
{
    if (field >= line->field_count || line->starts[field + 1] - line->starts[field] != 1)
        return NULL;
    return &line->items[line->starts[field]];
}

static void forget_items(struct rule_line *line)
{
    for (int i = 0; i < line->item_count; i++)
        memory_free(line->items[i].text);
    line->item_count = 0;
    line->field_count = 0;
}

static uint8_t peek(struct cursor cursor)
{
    return cursor_u8(&cursor);
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static void skip_blanks(struct cursor *cursor)
{
    while (cursor_left(cursor) > 0 && is_blank(peek(*cursor)))
        cursor_u8(cursor);
    if (cursor_left(cursor) > 0 && peek(*cursor) == '#')
        cursor->at = cursor->end;
}

/* Up to the line break that ends the rule, with those taken out that a backslash hides. Counts the
 * lines. */
static void take_line(struct cursor *text, struct bytes *line, int *lines)
{
    bytes_clear(line);
    for (bool goes_on = true; goes_on && cursor_left(text) > 0; ++*lines) {
        size_t left = cursor_left(text);
        const uint8_t *end = memchr(text->at, '\n', left);
        struct span part = cursor_bytes(text, end != NULL ? (size_t)(end - text->at) : left);

        if (end != NULL)
            cursor_u8(text);
        if (part.size > 0 && part.data[part.size - 1] == '\r')
            part.size--;
        goes_on = part.size > 0 && part.data[part.size - 1] == '\\';
        bytes_put(line, part.data, goes_on ? part.size - 1 : part.size);
    }
}

/* ---- items ---- */

static bool keep_item(struct reader *reader, const char *text, bool is_quoted, struct error *error)
{
    struct rule_line *line = &reader->line;

    if (line->item_count == RULE_ITEMS_MAX)
        return rule_line_error(line, error, "more than %d items", RULE_ITEMS_MAX);
    if (line->item_count == reader->capacity) {
        int capacity = reader->capacity == 0 ? 16 : 2 * reader->capacity;
        void *items = memory_resize_array(line->items, (size_t)capacity, sizeof(*line->items));
        if (items == NULL)
            return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        line->items = items;
        reader->capacity = capacity;
    }
    char *copy = memory_strdup(text);
    if (copy == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    line->items[line->item_count++] = (struct rule_item){copy, is_quoted};
    return true;
}

/* One item into `text`, whose last byte is kept for the zero. */
static bool take_text(struct reader *reader, struct cursor *cursor, struct bytes *text,
                      bool *is_quoted, struct error *error)
{
    bool in_quotes = false;

    *is_quoted = peek(*cursor) == '"';
    while (cursor_left(cursor) > 0) {
        uint8_t byte = peek(*cursor);

        if (!in_quotes && (is_blank(byte) || byte == ',' || byte == '#'))
            break;
        cursor_u8(cursor);
        if (byte == '\0')
            return rule_line_error(&reader->line, error, "a zero byte");
        if (byte != '"') {
            bytes_u8(text, byte);
        } else if (in_quotes && cursor_left(cursor) > 0 && peek(*cursor) == '"') {
            cursor_u8(cursor);
            bytes_u8(text, '"');
        } else {
            in_quotes = !in_quotes;
        }
    }
    if (in_quotes)
        return rule_line_error(&reader->line, error, "a quote is not closed");
    if (!bytes_ok(text))
        return rule_line_error(&reader->line, error, "an item longer than %d bytes", RULE_ITEM_MAX);
    return true;
}

static bool take_item(struct reader *reader, struct cursor *cursor, struct error *error);

static bool take_all_items(struct reader *reader, struct cursor *cursor, struct error *error)
{
    for (;;) {
        skip_blanks(cursor);
        if (cursor_left(cursor) == 0)
            return true;
        if (peek(*cursor) == ',')
            cursor_u8(cursor);
        else if (!take_item(reader, cursor, error))
            return false;
    }
}

static bool take_items_of(struct reader *reader, const char *file, struct error *error)
{
    struct bytes text, line;
    int lines = 0;
    bool is_good;

    bytes_init(&text, RULE_FILE_MAX);
    bytes_init(&line, RULE_FILE_MAX);
    is_good = reader->source->read(file, &text, error);
    struct cursor cursor = cursor_over(text.data, text.size);
    while (is_good && cursor_left(&cursor) > 0) {
        take_line(&cursor, &line, &lines);
        struct cursor rest = cursor_over(line.data, line.size);
        is_good = bytes_ok(&line) && take_all_items(reader, &rest, error);
    }
    bytes_finish(&text);
    bytes_finish(&line);
    return is_good;
}

/* `name` without its @. */
static bool take_file(struct reader *reader, const char *name, struct error *error)
{
    const char *from = reader->line.file, *slash = strrchr(from, '/');
    char path[RULE_ITEM_MAX + 4096];
    int folder = name[0] != '/' && slash != NULL ? (int)(slash + 1 - from) : 0;

    if (reader->source->read == NULL || reader->depth == RULE_DEPTH_MAX)
        return rule_line_error(&reader->line, error, "@%.128s: files are nested too deep", name);
    int length = snprintf(path, sizeof(path), "%.*s%s", folder, from, name);
    if (length < 0 || (size_t)length >= sizeof(path))
        return rule_line_error(&reader->line, error, "@%.128s: the path is too long", name);
    int number = reader->line.number;
    reader->depth++;
    reader->line.file = path;
    bool is_good = take_items_of(reader, path, error);
    reader->line.file = from;
    reader->depth--;
    if (!is_good && error != NULL && reader->depth == 0)
        error_prefix(error, "%s:%d", from, number);
    return is_good;
}

static bool take_item(struct reader *reader, struct cursor *cursor, struct error *error)
{
    char memory[RULE_ITEM_MAX + 1];
    struct bytes text = bytes_over(memory, RULE_ITEM_MAX);
    bool is_quoted;

    if (!take_text(reader, cursor, &text, &is_quoted, error))
        return false;
    memory[text.size] = '\0';
    if (memory[0] == '@' && memory[1] != '\0' && !is_quoted)
        return take_file(reader, memory + 1, error);
    return keep_item(reader, memory, is_quoted, error);
}

/* Items as long as commas join them. */
static bool take_field(struct reader *reader, struct cursor *cursor, struct error *error)
{
    struct rule_line *line = &reader->line;

    if (line->field_count == RULE_FIELDS_MAX)
        return rule_line_error(line, error, "more than %d fields", RULE_FIELDS_MAX);
    line->starts[line->field_count] = line->item_count;
    for (;;) {
        skip_blanks(cursor);
        if (cursor_left(cursor) == 0 || peek(*cursor) == ',')
            return rule_line_error(line, error, "an item is missing beside a comma");
        if (!take_item(reader, cursor, error))
            return false;
        skip_blanks(cursor);
        if (cursor_left(cursor) == 0 || peek(*cursor) != ',')
            break;
        cursor_u8(cursor);
    }
    line->starts[++line->field_count] = line->item_count;
    return true;
}

static bool take_fields(struct reader *reader, struct cursor cursor, struct error *error)
{
    for (;;) {
        skip_blanks(&cursor);
        if (cursor_left(&cursor) == 0)
            return true;
        if (!take_field(reader, &cursor, error))
            return false;
    }
}

static bool is_directive(const struct rule_line *line)
{
    const struct rule_item *first = rule_line_word(line, 0);

    return first != NULL && !first->is_quoted &&
           (strcmp(first->text, "include") == 0 || strcmp(first->text, "include_if_exists") == 0 ||
            strcmp(first->text, "include_dir") == 0);
}

static bool take_rule(struct reader *reader, const struct bytes *text, rule_file_line *call,
                      void *argument, struct error *error)
{
    struct rule_line *line = &reader->line;

    if (!bytes_ok(text))
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    forget_items(line);
    if (!take_fields(reader, cursor_over(text->data, text->size), error))
        return false;
    if (is_directive(line))
        return rule_line_error(line, error,
                               "include directives are not supported: one file holds all lines");
    return line->field_count == 0 || call(argument, line, error);
}

bool rule_file_parse(const struct rule_source *source, const void *data, size_t size,
                     rule_file_line *call, void *argument, struct error *error)
{
    struct reader reader = {.source = source, .line = {.file = source->file}};
    struct cursor text = cursor_over(data, size);
    struct bytes line;
    int lines = 0;
    bool is_good = true;

    if (size > RULE_FILE_MAX)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s: longer than %d bytes",
                         source->file, RULE_FILE_MAX);
    bytes_init(&line, RULE_FILE_MAX);
    while (is_good && cursor_left(&text) > 0) {
        reader.line.number = lines + 1;
        take_line(&text, &line, &lines);
        is_good = take_rule(&reader, &line, call, argument, error);
    }
    forget_items(&reader.line);
    memory_free(reader.line.items);
    bytes_finish(&line);
    return is_good;
}
