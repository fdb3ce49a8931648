#include "wire/answer.h"

#include <string.h>

#include "wire/startup.h"

/* One field of an ErrorResponse: V is the severity that no language setting translates, so it goes
 * before S, whichever comes first. */
static void take_field(struct error_response *error, uint8_t code, const char *text,
                       bool *have_severity)
{
    switch (code) {
    case 'V':
        error->severity = text;
        *have_severity = true;
        break;
    case 'S':
        if (!*have_severity)
            error->severity = text;
        break;
    case 'C':
        error->sqlstate = text;
        break;
    case 'M':
        error->message = text;
        break;
    case 'D':
        error->detail = text;
        break;
    case 'H':
        error->hint = text;
        break;
    case 'R':
        error->routine = text;
        break;
    default: /* the protocol lets servers send fields that we do not know */
        break;
    }
}

bool error_response_read(struct span body, struct error_response *error)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    bool have_severity = false;

    *error = (struct error_response){"", "", "", "", "", ""};
    for (;;) {
        uint8_t code = cursor_u8(&cursor);
        if (code == 0)
            return cursor_finished(&cursor);
        const char *text = cursor_string(&cursor);
        if (text == NULL)
            return false;
        take_field(error, code, text, &have_severity);
    }
}

bool parameter_status_read(struct span body, const char **name, const char **value)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    *name = cursor_string(&cursor);
    *value = cursor_string(&cursor);
    return cursor_finished(&cursor);
}

bool backend_key_data_read(struct span body, uint32_t *process, struct span *key)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    *process = cursor_u32(&cursor);
    *key = cursor_rest(&cursor, CANCEL_KEY_MAX);
    return cursor_finished(&cursor) && key->size >= 4;
}

bool ready_for_query_read(struct span body, uint8_t *status)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    *status = cursor_u8(&cursor);
    return cursor_finished(&cursor) && (*status == 'I' || *status == 'T' || *status == 'E');
}

bool authentication_read(struct span body, uint32_t *code, struct span *rest)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    *code = cursor_u32(&cursor);
    *rest = cursor_rest(&cursor, SIZE_MAX);
    return cursor_ok(&cursor);
}

bool sasl_mechanisms_have(struct span list, const char *mechanism)
{
    struct cursor cursor = cursor_over(list.data, list.size);

    for (;;) {
        const char *name = cursor_string(&cursor);
        if (name == NULL || name[0] == '\0')
            return false;
        if (strcmp(name, mechanism) == 0)
            return true;
    }
}

bool negotiate_protocol_read(struct span body, uint32_t *version, uint32_t *refused)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    *version = cursor_u32(&cursor);
    *refused = cursor_u32(&cursor);
    for (uint32_t i = 0; i < *refused && cursor_ok(&cursor); i++)
        cursor_string(&cursor);
    return cursor_finished(&cursor);
}

bool command_tag_read(struct span body, const char **tag)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    *tag = cursor_string(&cursor);
    return cursor_finished(&cursor);
}

/* A column's value: its length, -1 for NULL, and its bytes. */
static struct span take_column(struct cursor *cursor)
{
    int32_t length = cursor_i32(cursor);

    if (length == -1)
        return (struct span){NULL, 0};
    if (length < 0)
        cursor->failed = true;
    return cursor_bytes(cursor, length > 0 ? (size_t)length : 0);
}

bool data_row_column(struct span body, unsigned index, struct span *value)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    uint16_t columns = cursor_u16(&cursor);

    *value = (struct span){NULL, 0};
    if (index >= columns)
        return false;
    for (unsigned i = 0; i <= index && cursor_ok(&cursor); i++)
        *value = take_column(&cursor);
    return cursor_ok(&cursor);
}

bool data_row_count(struct span body, unsigned *columns)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    *columns = cursor_u16(&cursor);
    return cursor_ok(&cursor);
}
