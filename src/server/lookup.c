#include "server/lookup.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "server_private.h"
#include "wire/answer.h"
#include "wire/build.h"
#include "wire/message.h"

/* Where server_connect_timeout says none. */
#define LOOKUP_TIME_MAX (15 * USEC_PER_SEC)

struct lookup {
    TAILQ_ENTRY(lookup) link; /* of the set, until its answer was given */
    struct server_set *set;
    struct pool *pool; /* a reference */
    struct pool_waiter waiter;
    struct server *server; /* while it has one */
    struct deadline deadline;
    char *query, *name; /* owned */
    void (*answer)(void *argument, const struct user_cache_news *news);
    void *argument;
    bool is_over;     /* the answer was given; a server that was granted may still be on its way */
    bool has_columns; /* two of them */
    bool has_row;     /* of this very name */
    char *secret;     /* of the last row; NULL: it has none */
};

static struct lookup *lookup_of_waiter(struct pool_waiter *waiter)
{
    return (struct lookup *)((char *)waiter - offsetof(struct lookup, waiter));
}

static struct lookup *lookup_of(struct stream *stream)
{
    return server_of_stream(stream)->owner;
}

/* ---- its end ---- */

static void free_lookup(struct lookup *lookup)
{
    pool_release_reference(lookup->pool);
    memory_free(lookup->query);
    memory_free(lookup->name);
    memory_free_secret(lookup->secret);
    memory_free(lookup);
}

/* Its memory goes when nothing refers to its waiter any more. */
static void end(struct lookup *lookup, const struct user_cache_news *news)
{
    if (lookup->is_over)
        return;
    lookup->is_over = true;
    deadline_clear(&lookup->deadline);
    TAILQ_REMOVE(&lookup->set->lookups, lookup, link);
    lookup->answer(lookup->argument, news);
    if (!waiter_is_waiting(&lookup->waiter))
        free_lookup(lookup);
}

static void fail(struct lookup *lookup, bool was_not_reached)
{
    const struct user_cache_news news = {.found = USER_CACHE_UNKNOWN,
                                         .was_not_reached = was_not_reached};
    end(lookup, &news);
}

/* `owner` is unset first: the server says nothing to one that is over. */
static void close_server(struct lookup *lookup, const char *reason)
{
    struct server *server = lookup->server;
    lookup->server = NULL;
    if (!server)
        return;
    server_take_back(server);
    server_close(server, reason, NULL);
}

static void give_back(struct lookup *lookup)
{
    struct server *server = lookup->server;
    lookup->server = NULL;
    server->stream.events = &server_stream_events;
    server_detach(server, false, "auth_query is over");
}

/* ---- answers ---- */

static bool broken(struct lookup *lookup, const char *why)
{
    log_error(&lookup->server->subject, "auth_query: %s", why);
    close_server(lookup, why);
    fail(lookup, false);
    return false;
}

static bool take_columns(struct lookup *lookup, struct span body)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    unsigned count = cursor_u16(&cursor);
    char text[64];
    lookup->has_columns = count == 2;
    if (lookup->has_columns)
        return true;
    snprintf(text, sizeof(text), "expected 2 columns from auth_query, not %u", count);
    log_error(&lookup->server->subject, "%s", text);
    close_server(lookup, "expected 2 columns from auth_query");
    fail(lookup, false);
    return false;
}

/* Zero-terminated texts alone: what has a zero byte inside is another name. */
static bool is_text(struct span value, size_t most)
{
    return value.size <= most && !memchr(value.data, 0, value.size);
}

/* Several rows: the last one counts. A name that is not the one asked for is nobody's. */
static bool take_row(struct lookup *lookup, struct span body)
{
    struct span name, secret;
    unsigned columns;
    if (!lookup->has_columns || !data_row_count(body, &columns) || columns != 2 ||
        !data_row_column(body, 0, &name) || !data_row_column(body, 1, &secret))
        return broken(lookup, "malformed row");
    if (!name.data)
        return broken(lookup, "auth_query response contained null user name");
    lookup->has_row = span_is(name, lookup->name);
    memory_free_secret(lookup->secret);
    lookup->secret = NULL;
    if (!lookup->has_row) {
        log_warning(&lookup->server->subject,
                    "auth_query gave another name than it was asked for: refused");
        return true;
    }
    if (!secret.data || secret.size == 0)
        return true;
    if (is_text(secret, AUTH_SECRET_MAX))
        lookup->secret = memory_strndup_secret((const char *)secret.data, secret.size);
    return lookup->secret || broken(lookup, "a secret is too long, or not a text");
}

static bool take_error(struct lookup *lookup, struct span body)
{
    struct error_response said;
    if (!error_response_read(body, &said))
        return broken(lookup, "malformed error");
    log_error(NULL, "S: error in auth_query: %s: %s", said.severity, said.message);
    close_server(lookup, "error response from auth_query");
    fail(lookup, false);
    return false;
}

static bool take_ready(struct lookup *lookup, const struct message *message)
{
    struct stream *stream = &lookup->server->stream;
    uint8_t status;
    if (!ready_for_query_read(message->body, &status) || status != 'I')
        return broken(lookup, "auth_query left a transaction open");
    if (!lookup->has_columns)
        return broken(lookup, "auth_query gives no rows");
    const struct user_cache_news news = {
        .found = lookup->has_row ? USER_CACHE_USER : USER_CACHE_NOBODY, .secret = lookup->secret};
    stream_consume(stream, message->size);
    if (stream_input(stream).size > 0)
        return broken(lookup, "the server said more than was asked");
    give_back(lookup);
    end(lookup, &news);
    return false;
}

/* False: the lookup is over. */
static bool take_message(struct lookup *lookup, const struct message *message)
{
    switch (message->type) {
    case 'T':
        return take_columns(lookup, message->body);
    case 'D':
        return take_row(lookup, message->body);
    case 'E':
        return take_error(lookup, message->body);
    case 'Z':
        return take_ready(lookup, message);
    case '1':
    case '2':
    case 'n':
    case 'C':
    case 'I':
    case 'N':
    case 'S':
    case 'A':
        return true;
    default:
        return broken(lookup, "unexpected message");
    }
}

static void input(struct stream *stream)
{
    struct lookup *lookup = lookup_of(stream);
    struct message message;
    enum message_verdict verdict;
    while ((verdict = server_next_message(stream, &message)) == MESSAGE_WHOLE) {
        if (!take_message(lookup, &message))
            return;
        stream_consume(stream, message.size);
    }
    if (verdict == MESSAGE_BAD)
        broken(lookup, "bad pkt header");
}

static void closed(struct stream *stream, enum stream_end how, const struct error *why)
{
    struct lookup *lookup = lookup_of(stream);
    struct server *server = lookup->server;
    (void)how;
    log_warning(&server->subject, "server went away during auth_query: %s", why->message);
    server->must_close = true;
    server->end_was_seen = true;
    close_server(lookup, "server conn crashed?");
    fail(lookup, true);
}

static const struct stream_events lookup_events = {.input = input, .closed = closed};

/* The server was closed by somebody else: RECONNECT, shutdown. */
static void gone(struct server *server, const struct error *why, bool told)
{
    struct lookup *lookup = server->owner;
    (void)why;
    (void)told;
    lookup->server = NULL;
    fail(lookup, true);
}

static const struct server_events lookup_server_events = {.gone = gone};

/* ---- asking ---- */

/* One round trip (COMPAT 4.5). */
static void send_query(struct lookup *lookup)
{
    const char *const values[] = {lookup->name};
    struct bytes out;
    bytes_init(&out, strlen(lookup->query) + strlen(lookup->name) + 256);
    build_parse(&out, "", lookup->query, (struct span){NULL, 0}, 0);
    build_bind(&out, "", "", values, 1);
    build_target(&out, 'D', 'P', "");
    build_execute(&out, "", 0);
    build_simple(&out, 'S');
    bool ok = bytes_ok(&out) && stream_put(&lookup->server->stream, out.data, out.size);
    bytes_finish(&out);
    if (ok)
        return;
    close_server(lookup, "out of memory");
    fail(lookup, false);
}

/* False: the server was dead. */
static bool use(struct lookup *lookup, struct server *server)
{
    if (!server_attach(server, &lookup_server_events, lookup, NULL, NULL))
        return false;
    lookup->server = server;
    server->stream.events = &lookup_events;
    send_query(lookup);
    return true;
}

static void acquire(struct lookup *lookup);

static void granted(struct pool_waiter *waiter, struct pool_member *member)
{
    struct lookup *lookup = lookup_of_waiter(waiter);
    pool_waiter_done(waiter);
    if (lookup->is_over) {
        server_detach(server_of_member(member), false, "auth_query is over");
        free_lookup(lookup);
        return;
    }
    if (!use(lookup, server_of_member(member)))
        acquire(lookup);
}

static void refused(struct pool_waiter *waiter, const struct error *why)
{
    struct lookup *lookup = lookup_of_waiter(waiter);
    (void)why; /* the server's login has said it in the log */
    pool_waiter_done(waiter);
    if (lookup->is_over)
        free_lookup(lookup);
    else
        fail(lookup, true);
}

static void acquire(struct lookup *lookup)
{
    struct server_set *set = lookup->set;
    struct pool_member *member;
    struct pool_advice advice = {.order = POOL_NOTHING};
    struct error error;
    lookup->waiter.granted = granted;
    lookup->waiter.refused = refused;
    for (;;) {
        switch (pool_acquire(lookup->pool, set->worker, &lookup->waiter, loop_now(set->loop),
                             &member, &advice, &error)) {
        case POOL_GOT:
            if (use(lookup, server_of_member(member)))
                return;
            break;
        case POOL_WAIT:
            server_follow(set, &advice); /* may fail at once, and end the lookup */
            return;
        case POOL_REFUSED:
            fail(lookup, true);
            return;
        }
    }
}

static struct lookup *make(struct server_set *set, const struct lookup_request *request)
{
    struct lookup *lookup = memory_zalloc(sizeof(*lookup));
    if (!lookup)
        return NULL;
    lookup->set = set;
    lookup->pool = pool_acquire_reference(request->pool);
    lookup->query = memory_strdup(request->query);
    lookup->name = memory_strdup(request->name);
    lookup->answer = request->answer;
    lookup->argument = request->argument;
    if (lookup->query && lookup->name)
        return lookup;
    free_lookup(lookup);
    return NULL;
}

void lookup_start(struct server_set *set, const struct lookup_request *request)
{
    const struct user_cache_news none = {.found = USER_CACHE_UNKNOWN};
    usec_t limit = set->config->settings.server_connect_timeout;
    struct lookup *lookup = set->is_shutting_down ? NULL : make(set, request);
    if (!lookup) {
        request->answer(request->argument, &none);
        return;
    }
    TAILQ_INSERT_TAIL(&set->lookups, lookup, link);
    deadline_set(&set->lookup_deadlines, &lookup->deadline,
                 loop_now(set->loop) + (limit > 0 ? limit : LOOKUP_TIME_MAX));
    acquire(lookup);
}

/* One that a server is on its way to is freed when that has come. */
static void give_up(struct lookup *lookup)
{
    if (waiter_is_waiting(&lookup->waiter))
        pool_waiter_leave(&lookup->waiter);
    close_server(lookup, "auth_query took too long");
    fail(lookup, true);
}

void lookup_expired(struct deadline *deadline, struct deadline_list *list)
{
    (void)list;
    give_up((struct lookup *)((char *)deadline - offsetof(struct lookup, deadline)));
}

void lookup_finish_all(struct server_set *set)
{
    struct lookup *lookup;
    while ((lookup = TAILQ_FIRST(&set->lookups)))
        give_up(lookup);
}
