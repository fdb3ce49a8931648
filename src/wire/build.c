#include "wire/build.h"

#include <assert.h>
#include <string.h>

#include "wire/answer.h"

#define CODE_CANCEL UINT32_C(80877102)
#define CODE_SSL    UINT32_C(80877103)

/* Opens a packet without a type byte. */
static size_t packet_begin(struct bytes *bytes)
{
    size_t mark = bytes->size;

    bytes_u32(bytes, 0);
    return mark;
}

size_t message_begin(struct bytes *bytes, uint8_t type)
{
    bytes_u8(bytes, type);
    return packet_begin(bytes);
}

void message_end(struct bytes *bytes, size_t mark)
{
    if (!bytes_ok(bytes)) /* the mark may point at what was never written */
        return;
    assert(bytes->size - mark <= INT32_MAX);
    bytes_patch_u32(bytes, mark, (uint32_t)(bytes->size - mark));
}

void build_authentication(struct bytes *bytes, uint32_t code, const void *rest, size_t rest_size)
{
    size_t mark = message_begin(bytes, 'R');

    bytes_u32(bytes, code);
    bytes_put(bytes, rest, rest_size);
    message_end(bytes, mark);
}

void build_sasl_mechanisms(struct bytes *bytes, const char *const *mechanisms, size_t count)
{
    size_t mark = message_begin(bytes, 'R');

    bytes_u32(bytes, AUTHENTICATION_SASL);
    for (size_t i = 0; i < count; i++)
        bytes_string(bytes, mechanisms[i]);
    bytes_u8(bytes, 0);
    message_end(bytes, mark);
}

void build_parameter_status(struct bytes *bytes, const char *name, const char *value)
{
    size_t mark = message_begin(bytes, 'S');

    bytes_string(bytes, name);
    bytes_string(bytes, value);
    message_end(bytes, mark);
}

void build_backend_key_data(struct bytes *bytes, uint32_t process, const void *key, size_t key_size)
{
    size_t mark = message_begin(bytes, 'K');

    bytes_u32(bytes, process);
    bytes_put(bytes, key, key_size);
    message_end(bytes, mark);
}

void build_ready_for_query(struct bytes *bytes, uint8_t status)
{
    size_t mark = message_begin(bytes, 'Z');

    bytes_u8(bytes, status);
    message_end(bytes, mark);
}

static void put_field(struct bytes *bytes, uint8_t code, const char *text)
{
    bytes_u8(bytes, code);
    bytes_string(bytes, text);
}

void build_error(struct bytes *bytes, const char *severity, const struct error *error)
{
    size_t mark = message_begin(bytes, 'E');

    put_field(bytes, 'S', severity);
    put_field(bytes, 'C', error->sqlstate);
    put_field(bytes, 'M', error->message);
    if (error->hint[0] != '\0')
        put_field(bytes, 'H', error->hint);
    bytes_u8(bytes, 0);
    message_end(bytes, mark);
}

static void put_renamed(struct bytes *bytes, const char *text, const char *from, const char *to)
{
    const char *found = strstr(text, from);

    if (found != NULL) {
        bytes_put(bytes, text, (size_t)(found - text));
        bytes_text(bytes, to);
        text = found + strlen(from);
    }
    bytes_string(bytes, text);
}

void build_error_renamed(struct bytes *bytes, struct span body, const char *from, const char *to)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    size_t mark = message_begin(bytes, 'E');

    for (;;) {
        uint8_t code = cursor_u8(&cursor);
        const char *text = code != 0 ? cursor_string(&cursor) : NULL;
        if (text == NULL)
            break;
        bytes_u8(bytes, code);
        if (code == 'M')
            put_renamed(bytes, text, from, to);
        else
            bytes_string(bytes, text);
    }
    bytes_u8(bytes, 0);
    message_end(bytes, mark);
}

void build_notice(struct bytes *bytes, const char *sqlstate, const char *message,
                  const char *detail)
{
    size_t mark = message_begin(bytes, 'N');

    put_field(bytes, 'S', "NOTICE");
    put_field(bytes, 'C', sqlstate);
    put_field(bytes, 'M', message);
    if (detail != NULL)
        put_field(bytes, 'D', detail);
    bytes_u8(bytes, 0);
    message_end(bytes, mark);
}

void build_command_complete(struct bytes *bytes, const char *tag)
{
    size_t mark = message_begin(bytes, 'C');

    bytes_string(bytes, tag);
    message_end(bytes, mark);
}

void build_empty(struct bytes *bytes, uint8_t type)
{
    message_end(bytes, message_begin(bytes, type));
}

void build_negotiate_protocol(struct bytes *bytes, uint32_t newest, const char *const *names,
                              size_t count)
{
    size_t mark = message_begin(bytes, 'v');

    assert(count <= INT32_MAX);
    bytes_u32(bytes, newest);
    bytes_u32(bytes, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        bytes_string(bytes, names[i]);
    message_end(bytes, mark);
}

void build_row_description(struct bytes *bytes, const struct column *columns, size_t count)
{
    size_t mark = message_begin(bytes, 'T');

    assert(count <= UINT16_MAX);
    bytes_u16(bytes, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        bytes_string(bytes, columns[i].name);
        bytes_u32(bytes, 0); /* of no table, */
        bytes_u16(bytes, 0); /* and no column of one */
        bytes_u32(bytes, columns[i].type);
        bytes_u16(bytes, (uint16_t)columns[i].type_size);
        bytes_u32(bytes, UINT32_MAX); /* type modifier: none, -1 */
        bytes_u16(bytes, 0);          /* text format */
    }
    message_end(bytes, mark);
}

size_t data_row_begin(struct bytes *bytes, size_t columns)
{
    size_t mark = message_begin(bytes, 'D');

    assert(columns <= UINT16_MAX);
    bytes_u16(bytes, (uint16_t)columns);
    return mark;
}

void data_row_text(struct bytes *bytes, const char *text)
{
    if (text == NULL) {
        bytes_u32(bytes, UINT32_MAX);
        return;
    }
    size_t size = strlen(text);
    assert(size <= INT32_MAX);
    bytes_u32(bytes, (uint32_t)size);
    bytes_put(bytes, text, size);
}

void data_row_end(struct bytes *bytes, size_t mark)
{
    message_end(bytes, mark);
}

void build_ssl_request(struct bytes *bytes)
{
    size_t mark = packet_begin(bytes);

    bytes_u32(bytes, CODE_SSL);
    message_end(bytes, mark);
}

void build_startup(struct bytes *bytes, uint32_t protocol,
                   const struct startup_parameter *parameters, size_t count)
{
    size_t mark = packet_begin(bytes);

    bytes_u32(bytes, protocol);
    for (size_t i = 0; i < count; i++) {
        bytes_string(bytes, parameters[i].name);
        bytes_string(bytes, parameters[i].value);
    }
    bytes_u8(bytes, 0);
    message_end(bytes, mark);
}

void build_cancel_request(struct bytes *bytes, uint32_t process, const void *key, size_t key_size)
{
    size_t mark = packet_begin(bytes);

    bytes_u32(bytes, CODE_CANCEL);
    bytes_u32(bytes, process);
    bytes_put(bytes, key, key_size);
    message_end(bytes, mark);
}

void build_password(struct bytes *bytes, const void *data, size_t size)
{
    size_t mark = message_begin(bytes, 'p');

    bytes_put(bytes, data, size);
    bytes_u8(bytes, 0);
    message_end(bytes, mark);
}

void build_sasl_initial(struct bytes *bytes, const char *mechanism, const void *data, size_t size)
{
    size_t mark = message_begin(bytes, 'p');

    assert(size <= INT32_MAX);
    bytes_string(bytes, mechanism);
    bytes_u32(bytes, data != NULL ? (uint32_t)size : UINT32_MAX); /* -1: no initial response */
    if (data != NULL)
        bytes_put(bytes, data, size);
    message_end(bytes, mark);
}

void build_sasl_response(struct bytes *bytes, const void *data, size_t size)
{
    size_t mark = message_begin(bytes, 'p');

    bytes_put(bytes, data, size);
    message_end(bytes, mark);
}

void build_query(struct bytes *bytes, const char *text)
{
    size_t mark = message_begin(bytes, 'Q');

    bytes_string(bytes, text);
    message_end(bytes, mark);
}

void build_parse(struct bytes *bytes, const char *name, const char *query, struct span types,
                 uint16_t type_count)
{
    size_t mark = message_begin(bytes, 'P');

    assert(types.size == (size_t)type_count * 4);
    bytes_string(bytes, name);
    bytes_string(bytes, query);
    bytes_u16(bytes, type_count);
    bytes_put(bytes, types.data, types.size);
    message_end(bytes, mark);
}

void build_bind(struct bytes *bytes, const char *portal, const char *statement,
                const char *const *values, size_t count)
{
    size_t mark = message_begin(bytes, 'B');

    assert(count <= UINT16_MAX);
    bytes_string(bytes, portal);
    bytes_string(bytes, statement);
    bytes_u16(bytes, 0); /* no formats: all text */
    bytes_u16(bytes, (uint16_t)count);
    for (size_t i = 0; i < count; i++)
        data_row_text(bytes, values[i]); /* parameters are laid out as columns are */
    bytes_u16(bytes, 0);
    message_end(bytes, mark);
}

void build_target(struct bytes *bytes, uint8_t type, uint8_t kind, const char *name)
{
    size_t mark = message_begin(bytes, type);

    bytes_u8(bytes, kind);
    bytes_string(bytes, name);
    message_end(bytes, mark);
}

void build_execute(struct bytes *bytes, const char *portal, uint32_t max_rows)
{
    size_t mark = message_begin(bytes, 'E');

    bytes_string(bytes, portal);
    bytes_u32(bytes, max_rows);
    message_end(bytes, mark);
}

void build_simple(struct bytes *bytes, uint8_t type)
{
    build_empty(bytes, type);
}
