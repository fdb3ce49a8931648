/* json_request: the body of POST /sql, read as it comes, and turned into the messages that a driver
 * would have sent (SERVERLESS §4).
 *
 * {"query": "...", "params": [...], "arrayMode": true} becomes Parse, Bind, Describe, Execute and
 * Sync; {"queries": [...]} the same for each, between a START TRANSACTION and a COMMIT, with one
 * Sync at the end, so that the first error skips all that follows. Everything is unnamed, all
 * values are text, no types are declared. Parameters become text as Neon's proxy does it: null,
 * strings as they are, numbers, booleans and objects as their JSON text, arrays as PostgreSQL's
 * array text.
 *
 * Foreign bytes: nesting, parameters and queries are bounded, a key of ours must not come twice,
 * keys of others are skipped. Never holds a tree. No I/O. One thread.
 */
#pragma once
#include "base/bytes.h"

#define JSON_DEPTH_MAX      64
#define JSON_PARAMETERS_MAX 65535
#define JSON_QUERIES_MAX    1000

struct json_request; /* opaque */

struct json_request_settings {
    bool as_arrays;    /* where a query says nothing */
    const char *begin; /* how a batch begins: "START TRANSACTION ..."; borrowed */
};

struct json_request *json_request_create(const struct json_request_settings *settings);
void json_request_destroy(struct json_request *request); /* NULL is fine */

/* More of the body. False: json_request_problem says why; nothing more is read. */
bool json_request_feed(struct json_request *request, struct span part);
/* The body is at its end: the messages are complete. */
bool json_request_end(struct json_request *request);
const char *json_request_problem(const struct json_request *request);

/* After json_request_end. */
bool json_request_is_batch(const struct json_request *request);
unsigned json_request_queries(const struct json_request *request);
bool json_request_as_arrays(const struct json_request *request, unsigned query);
/* The messages, as far as they are made. Whoever reads them may take them over: bytes_finish. */
struct bytes *json_request_messages(struct json_request *request);

/* Memory that it holds now. */
size_t json_request_memory(const struct json_request *request);
