#include "gateway/rows.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/json_text.h"
#include "gateway/json_value.h"

void rows_init(struct rows *rows)
{
    *rows = (struct rows){0};
    bytes_init(&rows->description, ROWS_DESCRIPTION_MAX);
}

void rows_finish(struct rows *rows)
{
    bytes_finish(&rows->description);
}

/* ---- fields ---- */

struct field {
    const char *name;
    uint32_t table, type;
    int16_t column, size;
    int32_t modifier;
};

static bool read_field(struct cursor *cursor, struct field *field)
{
    field->name = cursor_string(cursor);
    field->table = cursor_u32(cursor);
    field->column = cursor_i16(cursor);
    field->type = cursor_u32(cursor);
    field->size = cursor_i16(cursor);
    field->modifier = cursor_i32(cursor);
    cursor_i16(cursor); /* the format: text was asked for */
    return cursor_ok(cursor);
}

static void put_member(struct spool *spool, const char *name, int64_t value)
{
    spool_text(spool, name);
    spool_number(spool, value);
}

static void put_field(struct spool *spool, const struct field *field)
{
    spool_text(spool, "{\"name\":");
    json_string_text(spool, field->name);
    put_member(spool, ",\"dataTypeID\":", field->type);
    put_member(spool, ",\"tableID\":", field->table);
    put_member(spool, ",\"columnID\":", field->column);
    put_member(spool, ",\"dataTypeSize\":", field->size);
    put_member(spool, ",\"dataTypeModifier\":", field->modifier);
    spool_text(spool, ",\"format\":\"text\"}");
}

static bool put_fields(struct rows *rows, struct spool *spool)
{
    struct cursor cursor = cursor_over(rows->description.data, rows->description.size);
    struct field field;

    rows->column_count = rows->description.size > 0 ? cursor_u16(&cursor) : 0;
    for (unsigned i = 0; i < rows->column_count; i++) {
        if (!read_field(&cursor, &field))
            return false;
        if (i > 0)
            spool_text(spool, ",");
        put_field(spool, &field);
    }
    return cursor_finished(&cursor);
}

bool rows_begin(struct rows *rows, struct rows_mode mode, struct span description,
                struct spool *spool)
{
    rows->mode = mode;
    rows->count = 0;
    bytes_clear(&rows->description);
    bytes_put(&rows->description, description.data, description.size);
    if (!bytes_ok(&rows->description))
        return false;
    spool_text(spool, "{\"fields\":[");
    bool ok = put_fields(rows, spool);
    spool_text(spool, "],\"rows\":[");
    return ok;
}

/* ---- rows ---- */

static void put_value(const struct rows *rows, const struct field *field, struct span text,
                      struct spool *spool)
{
    if (rows->mode.raw_text)
        json_string(spool, text);
    else
        json_value(spool, field->type, text);
}

bool rows_add(struct rows *rows, struct span data_row, struct spool *spool)
{
    struct cursor values = cursor_over(data_row.data, data_row.size);
    struct cursor fields = cursor_over(rows->description.data, rows->description.size);
    bool as_arrays = rows->mode.as_arrays;
    struct field field;

    if (cursor_u16(&values) != rows->column_count)
        return false;
    cursor_u16(&fields);
    spool_text(spool, rows->count++ > 0 ? "," : "");
    spool_text(spool, as_arrays ? "[" : "{");
    for (unsigned i = 0; i < rows->column_count && read_field(&fields, &field); i++) {
        int32_t size = cursor_i32(&values);
        struct span text = size > 0 ? cursor_bytes(&values, (size_t)size) : (struct span){0};
        spool_text(spool, i > 0 ? "," : "");
        if (!as_arrays) {
            json_string_text(spool, field.name);
            spool_text(spool, ":");
        }
        if (size < 0)
            spool_text(spool, "null");
        else
            put_value(rows, &field, text, spool);
    }
    spool_text(spool, as_arrays ? "]" : "}");
    return cursor_finished(&values);
}

/* ---- the end ---- */

/* The first word of a tag is the command, a number at its end says how many rows. */
void rows_end(struct rows *rows, const char *tag, struct spool *spool)
{
    const char *text = tag != NULL ? tag : "";
    const char *last = strrchr(text, ' ');
    bool has_count =
        last != NULL && last[1] != '\0' && strspn(last + 1, "0123456789") == strlen(last + 1);

    spool_text(spool, "],\"command\":");
    json_string(spool, (struct span){(const uint8_t *)text, strcspn(text, " ")});
    spool_text(spool, ",\"rowCount\":");
    spool_text(spool, has_count ? last + 1 : "null");
    spool_text(spool, rows->mode.as_arrays ? ",\"rowAsArray\":true}" : ",\"rowAsArray\":false}");
}

/* ---- errors ---- */

static const struct {
    char letter;
    const char *name;
} error_members[] = {
    {'M', "message"},  {'C', "code"},     {'D', "detail"},           {'H', "hint"},
    {'P', "position"}, {'S', "severity"}, {'p', "internalPosition"}, {'q', "internalQuery"},
    {'W', "where"},    {'t', "table"},    {'c', "column"},           {'s', "schema"},
    {'d', "dataType"}, {'F', "file"},     {'n', "constraint"},       {'L', "line"},
    {'R', "routine"},
};
#define ERROR_MEMBERS (sizeof(error_members) / sizeof(error_members[0]))

static void put_error(const char *const values[ERROR_MEMBERS], struct spool *spool)
{
    for (size_t i = 0; i < ERROR_MEMBERS; i++) {
        spool_text(spool, i == 0 ? "{\"" : ",\"");
        spool_text(spool, error_members[i].name);
        spool_text(spool, "\":");
        json_string_or_null(spool, values[i]);
    }
    spool_text(spool, "}");
}

void rows_error(struct span body, struct spool *spool)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    const char *values[ERROR_MEMBERS] = {0};
    uint8_t letter;

    while ((letter = cursor_u8(&cursor)) != 0) {
        const char *value = cursor_string(&cursor);
        for (size_t i = 0; i < ERROR_MEMBERS && value != NULL; i++)
            if (error_members[i].letter == (char)letter)
                values[i] = value;
    }
    if (values[0] == NULL)
        values[0] = "the server has sent an error without a message";
    put_error(values, spool);
}

void rows_own_error(const char *message, const char *code, const char *hint, struct spool *spool)
{
    const char *values[ERROR_MEMBERS] = {[0] = message, [1] = code, [3] = hint};

    put_error(values, spool);
}
