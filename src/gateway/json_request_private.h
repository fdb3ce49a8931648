/* What the files of json_request share: the reader's state, and how parameters are written. */
#pragma once
#include <yajl/yajl_parse.h>

#include "gateway/json_request.h"

#define JSON_MESSAGES_MAX (1024u * 1024 * 1024) /* a message's length has 31 bits */

enum json_level_kind {
    JSON_REQUEST,     /* the whole body, an object */
    JSON_QUERIES,     /* the array of a batch */
    JSON_QUERY,       /* an object in it */
    JSON_PARAMETERS,  /* the array of one query */
    JSON_ARRAY_TEXT,  /* an array in it, or deeper: PostgreSQL's array text */
    JSON_TEXT_OBJECT, /* below a parameter: written as JSON again */
    JSON_TEXT_ARRAY,
    JSON_SKIPPED, /* below a key of somebody else's */
};

struct json_level {
    uint8_t kind; /* enum json_level_kind */
    bool has_elements;
    bool is_quoted;     /* a JSON text inside an array: its quotes are put around it at its end */
    size_t quote_start; /* where it begins in `parameters` */
};

enum json_key {
    JSON_KEY_QUERY,
    JSON_KEY_PARAMETERS,
    JSON_KEY_ARRAY_MODE,
    JSON_KEY_QUERIES,
    JSON_KEY_OTHER
};

struct json_request {
    struct json_request_settings settings;
    yajl_handle parser;
    size_t parser_memory;
    const char *problem; /* a literal; NULL: none */

    struct json_level levels[JSON_DEPTH_MAX];
    int depth;
    bool is_over; /* the body's object has ended */

    /* Of the query that is being read. */
    enum json_key key; /* whose value comes next */
    unsigned keys_seen;
    bool as_arrays;
    struct bytes query, parameters; /* the text; Bind's values */
    uint32_t parameter_count;
    size_t parameter_start; /* of the one that is open: where its length stands */

    bool is_batch;
    unsigned query_count;
    uint8_t modes[JSON_QUERIES_MAX]; /* as_arrays of each query */
    struct bytes messages, scratch;
};

/* 0, which ends the reading. */
int json_request_fail(struct json_request *request, const char *problem);

/* A value that stands where a parameter, or a part of one, stands. */
enum json_scalar { JSON_NULL, JSON_STRING, JSON_PLAIN }; /* plain: a number, true, false */
int json_parameter_scalar(struct json_request *request, enum json_scalar scalar, struct span text);
/* An object or array begins there. */
int json_parameter_open(struct json_request *request, bool is_object);
/* The innermost level, which json_parameter_open has made, ends. */
int json_parameter_close(struct json_request *request);
/* A key of an object there. */
int json_parameter_key(struct json_request *request, struct span key);

/* One level deeper. */
int json_level_push(struct json_request *request, enum json_level_kind kind);
static inline struct json_level *json_level_top(struct json_request *request)
{
    return &request->levels[request->depth - 1];
}
