/* What the files of room gateway share: the process's gateway, and one HTTP connection with the
 * request that is being answered on it. */
#pragma once
#include "base/bytes.h"
#include "client/client_set.h"
#include "gateway/budget.h"
#include "gateway/connection_string.h"
#include "gateway/gateway.h"
#include "gateway/json_request.h"
#include "gateway/rows.h"
#include "gateway/spool.h"
#include "http/chunked.h"
#include "http/head.h"
#include "net/transport_memory.h"

struct gateway_worker {
    bool is_ready;
    struct deadline_list deadlines;
    struct deadline_list sweeps; /* of one entry: looks whether the daemon shuts down */
    struct deadline sweep;
};

struct gateway {
    struct front_ops ops;
    struct budget budget;
    struct gateway_worker workers[WORKERS_MAX];
};

/* ---- a connection ---- */

#define CONNECTION_STATES(X)                                                                       \
    X(HEAD)    /* between requests, or in a head */                                                \
    X(LOGIN)   /* a request waits for its login: nothing is read */                                \
    X(BODY)    /* its body is read */                                                              \
    X(ANSWER)  /* nothing is read until the answer is out, and the request is gone */              \
    X(SKIP)    /* the rest of a body that was answered already is thrown away */                   \
    X(DISCARD) /* all is answered; what still comes is thrown away, until the peer closes */
enum connection_state {
#define CONNECTION_STATE_ENUM(name) CONNECTION_##name,
    CONNECTION_STATES(CONNECTION_STATE_ENUM)
#undef CONNECTION_STATE_ENUM
};

#define MESSAGE_KEPT_MAX       (1024u * 1024 * 1024 + 65536) /* PostgreSQL's rows are not larger */
#define ORIGIN_MAX             256
#define REQUEST_TOO_LARGE_TEXT "request is too large (max is %u bytes)"

struct gateway_connection {
    struct gateway *gateway;
    struct client *client; /* whose client->front this is */
    struct loop_task free_task;
    struct gateway_request *request; /* owned; NULL: none */
    enum connection_state state;

    /* Of the request that is being read or answered. */
    struct chunked chunked;
    uint64_t body_left, body_taken;
    bool head_has_begun; /* its first byte was seen */
    bool body_is_over;   /* all of it was read */
    bool is_chunked, expects_continue, is_head_only, keep_alive;
    char origin[ORIGIN_MAX]; /* allowed; "": none was named */
};

bool connection_opened(struct client *client);
void connection_closed(struct client *client);
void connection_timed_out(struct deadline *deadline, struct deadline_list *list);
/* The expired function of `sweeps`: connections without a request hold no shutdown up. */
void connection_sweep(struct deadline *deadline, struct deadline_list *list);

static inline struct gateway_connection *connection_of(const struct client *client)
{
    return client->front;
}
static inline const struct settings *
connection_settings(const struct gateway_connection *connection)
{
    return &connection->client->set->config->settings;
}
struct gateway_worker *connection_worker(const struct gateway_connection *connection);
/* No wait longer than this for the peer. 0: none. */
void connection_arm(struct gateway_connection *connection, usec_t time);

/* Nothing is read any more until its request is answered. */
void connection_enter_answer(struct gateway_connection *connection);
/* The login of its request has succeeded: the body may be read. */
void connection_read_body(struct gateway_connection *connection);
/* The answer of the request, or its own, has all been handed to the stream; the request is gone. */
void connection_next(struct gateway_connection *connection);

/* ---- what is answered ---- */

struct answer {
    int status;
    const char *content_type; /* NULL: JSON */
    const char *fields;       /* whole lines with CR LF, or "" */
    bool is_chunked;          /* the size is not known yet; else `size` */
    size_t size;
};

/* The head of an answer goes out. False: no memory, the connection is closed. */
bool answer_head(struct gateway_connection *connection, const struct answer *answer);
/* An answer without a request: all of it, and on with the next. */
void answer_text(struct gateway_connection *connection, int status, const char *fields,
                 const char *text);
void answer_error(struct gateway_connection *connection, int status, const char *fields,
                  const char *message, const char *code);

/* ---- who may ask ---- */

/* False: answered, and not to be served. */
bool policy_admits(struct gateway_connection *connection, const struct http_head *head);
/* The answer's CORS fields, where the origin is allowed. */
void policy_put_fields(const struct gateway_connection *connection, struct bytes *out);
bool policy_read_origin(struct gateway_connection *connection, const struct http_head *head);

/* ---- a request ---- */

enum request_end {
    REQUEST_RUNS,
    REQUEST_DONE,      /* the answer is whole in the spool */
    REQUEST_TOO_LARGE, /* 507 */
    REQUEST_NO_MEMORY, /* 503: http_memory */
    REQUEST_BROKEN, /* 500: the server said what makes no sense, or the client ended without a word
                     */
    REQUEST_COPY,   /* 400: COPY */
};

struct gateway_request {
    struct gateway_connection *connection;
    struct memory_peer peer;
    struct client *inner; /* NULL: closed */
    struct loop_task step;
    struct budget_share share;
    struct json_request *json;
    struct json_request_settings json_settings;
    struct bytes login; /* StartupMessage and password; wiped when they were read */
    char begin[96];     /* START TRANSACTION with what the headers ask for */
    char fields[160];   /* headers that are echoed */

    struct bytes partial; /* a message that did not come whole */
    size_t skip;          /* bytes of a message that is not looked at */
    bool is_logged_in, is_asked, is_ended, said_goodbye;
    bool has_error; /* the spool has the first error, as JSON, and nothing else */
    int error_status;
    bool is_open; /* a statement's object is open in the spool */
    bool raw_text;
    unsigned query; /* the next whose answer comes */
    enum request_end end;
    bool is_answered; /* the head is out */
    bool is_streaming;
    struct rows rows;
    struct spool spool;
};

/* A POST /sql: starts it (state LOGIN), or answers why not. */
void request_begin(struct gateway_connection *connection, const struct http_head *head);
/* More of the body, and its end. It may be answered in it: the state is ANSWER then. */
void request_feed(struct gateway_request *request, struct span part);
void request_end_body(struct gateway_request *request);
/* It is answered with this error instead of what it asked; the state becomes ANSWER. */
void request_answer_error(struct gateway_request *request, int status, const char *message);
/* The connection may be written again. */
void request_drained(struct gateway_request *request);
/* The connection is gone: so is its query. */
void request_abandon(struct gateway_request *request);

/* request: makes and frees it. */
void request_init(struct gateway_request *request, struct gateway_connection *connection);
void request_destroy(struct gateway_request *request);
/* What it holds has changed. False: http_memory. */
bool request_account(struct gateway_request *request);
/* So much is there, and of a kind, that the answer may begin before its end is known; so much that
 * the server is not read for a while. */
bool request_may_stream(const struct gateway_request *request);
bool request_is_full(const struct gateway_request *request);

/* request_result: what the inner client is answered. In LOOP_WRITE. */
extern const struct memory_peer_events request_peer_events;
