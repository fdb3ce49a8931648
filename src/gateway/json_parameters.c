/* JSON values as text for PostgreSQL: Bind's values. */
#include <string.h>

#include "json_request_private.h"

/* ---- JSON again ---- */

static void put_json_string(struct bytes *out, struct span text)
{
    bytes_u8(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte == '"' || byte == '\\') {
            bytes_u8(out, '\\');
            bytes_u8(out, byte);
        } else if (byte < ' ') {
            bytes_format(out, "\\u%04x", byte);
        } else {
            bytes_u8(out, byte);
        }
    }
    bytes_u8(out, '"');
}

/* ---- array text ---- */

/* As array_in reads it: a backslash makes the next byte stand for itself, so (unlike in JSON) a
 * newline stays one. */
static void put_quoted(struct bytes *out, struct span text)
{
    bytes_u8(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            bytes_u8(out, '\\');
        bytes_u8(out, text.data[i]);
    }
    bytes_u8(out, '"');
}

/* ---- parameters ---- */

static int check(struct json_request *request)
{
    if (bytes_ok(&request->parameters))
        return 1;
    return json_request_fail(request, "the parameters are too large");
}

/* A value begins: what stands in front of it. */
static int begin_value(struct json_request *request)
{
    struct json_level *level = json_level_top(request);

    switch (level->kind) {
    case JSON_PARAMETERS:
        if (request->parameter_count++ == JSON_PARAMETERS_MAX)
            return json_request_fail(request, "too many parameters (max is 65535)");
        request->parameter_start = request->parameters.size;
        bytes_u32(&request->parameters, 0);
        break;
    case JSON_ARRAY_TEXT:
    case JSON_TEXT_ARRAY:
        if (level->has_elements)
            bytes_u8(&request->parameters, ',');
        break;
    default: /* of an object: its key is written */
        break;
    }
    level->has_elements = true;
    return 1;
}

/* A value of the innermost level has ended. */
static int end_value(struct json_request *request)
{
    struct bytes *out = &request->parameters;

    if (json_level_top(request)->kind == JSON_PARAMETERS && bytes_ok(out))
        bytes_patch_u32(out, request->parameter_start,
                        (uint32_t)(out->size - request->parameter_start - 4));
    return check(request);
}

static void put_null(struct json_request *request)
{
    struct bytes *out = &request->parameters;

    switch (json_level_top(request)->kind) {
    case JSON_PARAMETERS:
        break;
    case JSON_ARRAY_TEXT:
        bytes_text(out, "NULL");
        break;
    default:
        bytes_text(out, "null");
        break;
    }
}

static void put_string(struct json_request *request, struct span text)
{
    struct bytes *out = &request->parameters;

    switch (json_level_top(request)->kind) {
    case JSON_PARAMETERS:
        bytes_put(out, text.data, text.size);
        break;
    case JSON_ARRAY_TEXT:
        put_quoted(out, text);
        break;
    default:
        put_json_string(out, text);
        break;
    }
}

int json_parameter_scalar(struct json_request *request, enum json_scalar scalar, struct span text)
{
    struct bytes *out = &request->parameters;

    if (!begin_value(request))
        return 0;
    if (scalar == JSON_NULL)
        put_null(request);
    else if (scalar == JSON_STRING)
        put_string(request, text);
    else
        bytes_put(out, text.data, text.size);
    if (scalar == JSON_NULL && json_level_top(request)->kind == JSON_PARAMETERS) {
        if (bytes_ok(out))
            bytes_patch_u32(out, request->parameter_start, UINT32_MAX);
        return check(request);
    }
    return end_value(request);
}

int json_parameter_open(struct json_request *request, bool is_object)
{
    enum json_level_kind outer = json_level_top(request)->kind;
    bool is_array_text = !is_object && (outer == JSON_PARAMETERS || outer == JSON_ARRAY_TEXT);

    if (!begin_value(request) || !json_level_push(request, is_array_text ? JSON_ARRAY_TEXT
                                                           : is_object   ? JSON_TEXT_OBJECT
                                                                         : JSON_TEXT_ARRAY))
        return 0;
    json_level_top(request)->is_quoted = is_object && outer == JSON_ARRAY_TEXT;
    json_level_top(request)->quote_start = request->parameters.size;
    bytes_u8(&request->parameters, is_array_text || is_object ? '{' : '[');
    return check(request);
}

int json_parameter_close(struct json_request *request)
{
    const struct json_level level = *json_level_top(request);
    struct bytes *out = &request->parameters;

    bytes_u8(out, level.kind == JSON_TEXT_ARRAY ? ']' : '}');
    request->depth--;
    if (level.is_quoted && bytes_ok(out)) {
        struct bytes *text = &request->scratch;
        bytes_clear(text);
        bytes_put(text, out->data + level.quote_start, out->size - level.quote_start);
        out->size = level.quote_start;
        put_quoted(out, bytes_span(text));
        out->failed |= !bytes_ok(text);
    }
    return end_value(request);
}

int json_parameter_key(struct json_request *request, struct span key)
{
    struct json_level *level = json_level_top(request);

    if (level->has_elements)
        bytes_u8(&request->parameters, ',');
    put_json_string(&request->parameters, key);
    bytes_u8(&request->parameters, ':');
    return check(request);
}
