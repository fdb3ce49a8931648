#include "gateway/json_request.h"

#include <string.h>

#include "base/memory.h"
#include "json_request_private.h"
#include "wire/build.h"

int json_request_fail(struct json_request *request, const char *problem)
{
    if (request->problem == NULL)
        request->problem = problem;
    return 0;
}

/* ---- memory of the parser, counted ---- */

struct parser_block {
    size_t size;
    max_align_t data[];
};

static void *parser_resize(void *context, void *memory, size_t size)
{
    struct json_request *request = context;
    struct parser_block *old =
        memory != NULL ? (struct parser_block *)((char *)memory - sizeof(*old)) : NULL;
    size_t old_size = old != NULL ? old->size : 0;
    struct parser_block *block = memory_resize_array(old, 1, sizeof(*block) + size);

    if (block == NULL)
        return NULL;
    block->size = size;
    request->parser_memory += size - old_size;
    return block->data;
}

static void *parser_allocate(void *context, size_t size)
{
    return parser_resize(context, NULL, size);
}

static void parser_free(void *context, void *memory)
{
    struct json_request *request = context;

    if (memory == NULL)
        return;
    struct parser_block *block = (struct parser_block *)((char *)memory - sizeof(*block));
    request->parser_memory -= block->size;
    memory_free(block);
}

/* ---- messages ---- */

static void put_bind(struct bytes *out, const struct bytes *values, uint32_t count)
{
    size_t mark = message_begin(out, 'B');

    bytes_string(out, ""); /* portal */
    bytes_string(out, ""); /* statement */
    bytes_u16(out, 0);     /* no formats: all text */
    bytes_u16(out, (uint16_t)count);
    bytes_put(out, values->data, values->size);
    bytes_u16(out, 0);
    if (bytes_ok(out))
        message_end(out, mark);
}

/* A statement of ours, whose rows nobody asks for. */
static void put_command(struct bytes *out, const char *text)
{
    build_parse(out, "", text, (struct span){0}, 0);
    build_bind(out, "", "", NULL, 0);
    build_execute(out, "", 0);
}

static int put_query(struct json_request *request)
{
    struct bytes *out = &request->messages;

    if (!(request->keys_seen & 1u << JSON_KEY_QUERY))
        return json_request_fail(request, "a query is missing");
    if (request->query_count == JSON_QUERIES_MAX)
        return json_request_fail(request, "too many queries (max is 1000)");
    bytes_u8(&request->query, 0);
    if (bytes_ok(&request->query))
        build_parse(out, "", (const char *)request->query.data, (struct span){0}, 0);
    put_bind(out, &request->parameters, request->parameter_count);
    build_target(out, 'D', 'P', "");
    build_execute(out, "", 0);
    request->modes[request->query_count++] = request->as_arrays;
    if (bytes_ok(out) && bytes_ok(&request->query))
        return 1;
    return json_request_fail(request, "the request is too large");
}

static void begin_query(struct json_request *request)
{
    request->keys_seen = 0;
    request->key = JSON_KEY_OTHER;
    request->as_arrays = request->settings.as_arrays;
    bytes_clear(&request->query);
    bytes_clear(&request->parameters);
    request->parameter_count = 0;
}

/* ---- levels ---- */

int json_level_push(struct json_request *request, enum json_level_kind kind)
{
    if (request->depth == JSON_DEPTH_MAX)
        return json_request_fail(request, "the JSON is nested too deeply (max is 64)");
    request->levels[request->depth++] = (struct json_level){.kind = (uint8_t)kind};
    return 1;
}

static bool is_parameter_level(const struct json_request *request)
{
    uint8_t kind = request->levels[request->depth - 1].kind;

    return kind >= JSON_PARAMETERS && kind <= JSON_TEXT_ARRAY;
}

/* ---- values of a query's keys ---- */

static int take_query_text(struct json_request *request, enum json_scalar scalar, struct span text)
{
    if (scalar != JSON_STRING)
        return json_request_fail(request, "query is no string");
    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL)
        return json_request_fail(request, "query has a zero byte");
    bytes_put(&request->query, text.data, text.size);
    return 1;
}

static int take_array_mode(struct json_request *request, enum json_scalar scalar, struct span text)
{
    bool is_true = scalar == JSON_PLAIN && span_is(text, "true");

    if (scalar == JSON_NULL)
        return 1;
    if (!is_true && !(scalar == JSON_PLAIN && span_is(text, "false")))
        return json_request_fail(request, "arrayMode is neither true nor false");
    request->as_arrays = is_true;
    return 1;
}

static int take_scalar(struct json_request *request, enum json_scalar scalar, struct span text)
{
    if (request->depth == 0)
        return json_request_fail(request, "the body is no JSON object");
    if (is_parameter_level(request))
        return json_parameter_scalar(request, scalar, text);
    switch (json_level_top(request)->kind) {
    case JSON_QUERIES:
        return json_request_fail(request, "a query is no JSON object");
    case JSON_SKIPPED:
        return 1;
    default:
        break;
    }
    switch (request->key) {
    case JSON_KEY_QUERY:
        return take_query_text(request, scalar, text);
    case JSON_KEY_ARRAY_MODE:
        return take_array_mode(request, scalar, text);
    case JSON_KEY_PARAMETERS:
        return json_request_fail(request, "params is no array");
    case JSON_KEY_QUERIES:
        return json_request_fail(request, "queries is no array");
    case JSON_KEY_OTHER:
        break;
    }
    return 1;
}

static int begin_batch(struct json_request *request)
{
    if (request->keys_seen != 1u << JSON_KEY_QUERIES)
        return json_request_fail(request, "queries stands beside query, params or arrayMode");
    request->is_batch = true;
    put_command(&request->messages, request->settings.begin);
    return json_level_push(request, JSON_QUERIES);
}

static int open_value(struct json_request *request, bool is_object)
{
    if (request->depth == 0) {
        if (!is_object || request->is_over)
            return json_request_fail(request, "the body is no JSON object");
        begin_query(request);
        return json_level_push(request, JSON_REQUEST);
    }
    if (is_parameter_level(request))
        return json_parameter_open(request, is_object);
    switch (json_level_top(request)->kind) {
    case JSON_SKIPPED:
        return json_level_push(request, JSON_SKIPPED);
    case JSON_QUERIES:
        if (!is_object)
            return json_request_fail(request, "a query is no JSON object");
        begin_query(request);
        return json_level_push(request, JSON_QUERY);
    default:
        break;
    }
    if (request->key == JSON_KEY_OTHER)
        return json_level_push(request, JSON_SKIPPED);
    if (request->key == JSON_KEY_PARAMETERS && !is_object)
        return json_level_push(request, JSON_PARAMETERS);
    if (request->key == JSON_KEY_QUERIES && !is_object)
        return begin_batch(request);
    return take_scalar(request, JSON_PLAIN, (struct span){0}); /* which says what it should be */
}

static int end_request(struct json_request *request)
{
    request->is_over = true;
    if (!request->is_batch && !put_query(request))
        return 0;
    if (request->is_batch)
        put_command(&request->messages, "COMMIT");
    build_simple(&request->messages, 'S');
    return bytes_ok(&request->messages) ? 1
                                        : json_request_fail(request, "the request is too large");
}

static int close_value(struct json_request *request)
{
    enum json_level_kind kind = json_level_top(request)->kind;

    if (is_parameter_level(request) && kind != JSON_PARAMETERS)
        return json_parameter_close(request);
    request->depth--;
    if (kind == JSON_QUERY)
        return put_query(request);
    return kind == JSON_REQUEST ? end_request(request) : 1;
}

static enum json_key key_of(const struct json_request *request, struct span name)
{
    bool is_whole = request->levels[request->depth - 1].kind == JSON_REQUEST;

    if (span_is(name, "query"))
        return JSON_KEY_QUERY;
    if (span_is(name, "params"))
        return JSON_KEY_PARAMETERS;
    if (span_is(name, "arrayMode"))
        return JSON_KEY_ARRAY_MODE;
    return is_whole && span_is(name, "queries") ? JSON_KEY_QUERIES : JSON_KEY_OTHER;
}

static int take_key(struct json_request *request, struct span name)
{
    if (is_parameter_level(request))
        return json_parameter_key(request, name);
    if (json_level_top(request)->kind == JSON_SKIPPED)
        return 1;
    request->key = key_of(request, name);
    if (request->key == JSON_KEY_OTHER)
        return 1;
    if (request->keys_seen & 1u << request->key)
        return json_request_fail(request, "a key comes twice");
    request->keys_seen |= 1u << request->key;
    if (request->is_batch && json_level_top(request)->kind == JSON_REQUEST)
        return json_request_fail(request, "queries stands beside query, params or arrayMode");
    return 1;
}

/* ---- what yajl calls ---- */

static int on_null(void *context)
{
    return take_scalar(context, JSON_NULL, (struct span){0});
}

static int on_boolean(void *context, int value)
{
    const char *text = value ? "true" : "false";

    return take_scalar(context, JSON_PLAIN, (struct span){(const uint8_t *)text, strlen(text)});
}

static int on_number(void *context, const char *text, size_t size)
{
    return take_scalar(context, JSON_PLAIN, (struct span){(const uint8_t *)text, size});
}

static int on_string(void *context, const unsigned char *text, size_t size)
{
    return take_scalar(context, JSON_STRING, (struct span){text, size});
}

static int on_key(void *context, const unsigned char *text, size_t size)
{
    return take_key(context, (struct span){text, size});
}

static int on_start_map(void *context)
{
    return open_value(context, true);
}

static int on_start_array(void *context)
{
    return open_value(context, false);
}

static int on_end(void *context)
{
    return close_value(context);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

/* ---- the door ---- */

struct json_request *json_request_create(const struct json_request_settings *settings)
{
    struct json_request *request = memory_zalloc(sizeof(*request));

    if (request == NULL)
        return NULL;
    request->settings = *settings;
    bytes_init(&request->query, JSON_MESSAGES_MAX / 4);
    bytes_init(&request->parameters, JSON_MESSAGES_MAX / 4);
    bytes_init(&request->scratch, JSON_MESSAGES_MAX / 4);
    bytes_init(&request->messages, JSON_MESSAGES_MAX);
    yajl_alloc_funcs functions = {
        .malloc = parser_allocate, .realloc = parser_resize, .free = parser_free, .ctx = request};
    request->parser = yajl_alloc(&callbacks, &functions, request);
    if (request->parser != NULL)
        return request;
    json_request_destroy(request);
    return NULL;
}

static void release_parts(struct json_request *request)
{
    if (request->parser != NULL)
        yajl_free(request->parser);
    request->parser = NULL;
    bytes_finish(&request->query);
    bytes_finish(&request->parameters);
    bytes_finish(&request->scratch);
}

void json_request_destroy(struct json_request *request)
{
    if (request == NULL)
        return;
    release_parts(request);
    bytes_finish(&request->messages);
    memory_free(request);
}

bool json_request_feed(struct json_request *request, struct span part)
{
    if (request->problem == NULL && part.size > 0 &&
        yajl_parse(request->parser, part.data, part.size) != yajl_status_ok)
        json_request_fail(request, "the body is no JSON");
    return request->problem == NULL;
}

bool json_request_end(struct json_request *request)
{
    if (request->problem == NULL &&
        (yajl_complete_parse(request->parser) != yajl_status_ok || !request->is_over))
        json_request_fail(request, "the body is no JSON");
    release_parts(request); /* the messages are all that is needed from here on */
    return request->problem == NULL;
}

const char *json_request_problem(const struct json_request *request)
{
    return request->problem;
}

bool json_request_is_batch(const struct json_request *request)
{
    return request->is_batch;
}

unsigned json_request_queries(const struct json_request *request)
{
    return request->query_count;
}

bool json_request_as_arrays(const struct json_request *request, unsigned query)
{
    return query < request->query_count && request->modes[query];
}

struct bytes *json_request_messages(struct json_request *request)
{
    return &request->messages;
}

size_t json_request_memory(const struct json_request *request)
{
    return sizeof(*request) + request->parser_memory + request->query.capacity +
           request->parameters.capacity + request->scratch.capacity + request->messages.capacity;
}
