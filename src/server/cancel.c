/* Cancel requests to servers: a side connection like the main one, inside TLS where that is
 * (PITFALLS row 18). The server is held until its end. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "server_private.h"
#include "wire/build.h"

struct side_cancel {
    struct stream stream;
    TAILQ_ENTRY(side_cancel) link; /* of the set */
    struct server_set *set;
    uint64_t server_id;
    uint32_t turn; /* of the server's: its next client is not meant */
    bool is_under_way;
    struct server_cancel_request request;
    struct deadline deadline;
    struct loop_task free_task;
    struct tls_context *tls; /* a reference; NULL: plain */
    char host[256];
    struct address address;
    /* The server's, of a cancel that outlives it; size 0: the server is asked when it goes out. */
    uint32_t process, key_size;
    uint8_t key[256];
    bool ssl_was_asked, was_sent, is_over;
};

static struct side_cancel *cancel_of_stream(struct stream *stream)
{
    return (struct side_cancel *)((char *)stream - offsetof(struct side_cancel, stream));
}

static void run_free_task(struct loop_task *task)
{
    struct side_cancel *cancel =
        (struct side_cancel *)((char *)task - offsetof(struct side_cancel, free_task));
    tls_context_release(cancel->tls);
    memory_wipe(cancel->key, sizeof(cancel->key));
    memory_free(cancel);
}

static struct server *find_server(const struct side_cancel *cancel)
{
    struct server *server;
    TAILQ_FOREACH (server, &cancel->set->servers, link)
        if (server->id == cancel->server_id)
            return server;
    return NULL;
}

static void tell(struct side_cancel *cancel)
{
    void (*done)(void *argument) = cancel->request.done;
    cancel->request.done = NULL;
    if (done)
        done(cancel->request.argument);
}

static void start_next(struct server_set *set);

/* It holds its server no longer. */
static void let_go(struct server *server)
{
    if (--server->cancels_in_flight > 0)
        return;
    if (server->state == SERVER_CANCELING)
        server_release(server);
    else
        server_recovery_step(server);
}

static void finish(struct side_cancel *cancel)
{
    struct server_set *set = cancel->set;
    if (cancel->is_over)
        return;
    cancel->is_over = true;
    struct server *server = find_server(cancel);
    deadline_clear(&cancel->deadline);
    if (cancel->is_under_way) {
        TAILQ_REMOVE(&set->cancels, cancel, link);
        set->cancels_under_way--;
        stream_close(&cancel->stream);
    } else {
        TAILQ_REMOVE(&set->waiting_cancels, cancel, link);
    }
    loop_defer(set->loop, LOOP_FREE, &cancel->free_task);
    tell(cancel);
    if (server && cancel->is_under_way)
        let_go(server);
    start_next(set);
}

static void arm(struct side_cancel *cancel)
{
    struct server_set *set = cancel->set;
    usec_t limit = set->config->settings.cancel_wait_timeout;
    if (limit > 0)
        deadline_set(&set->cancel_deadlines, &cancel->deadline, loop_now(set->loop) + limit);
}

/* Who asked waits no longer. What was sent may still strike: as long as its client has the server
 * that is right, but nobody else may get it. */
void server_cancel_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct side_cancel *cancel =
        (struct side_cancel *)((char *)deadline - offsetof(struct side_cancel, deadline));
    struct server *server = find_server(cancel);
    (void)list;
    if (!cancel->was_sent || !server) {
        finish(cancel);
        return;
    }
    tell(cancel);
    if (server->state == SERVER_CANCELING) {
        server_close(server, "cancel_wait_timeout", NULL);
        finish(cancel);
    } else {
        arm(cancel);
    }
}

void server_cancel_finish(struct server_set *set)
{
    struct side_cancel *cancel;
    while ((cancel = TAILQ_FIRST(&set->cancels)) || (cancel = TAILQ_FIRST(&set->waiting_cancels))) {
        finish(cancel);
        loop_cancel_task(set->loop, &cancel->free_task);
        run_free_task(&cancel->free_task);
    }
}

/* What it is to strike may still run: else it would hit whoever comes next. */
static bool has_target(const struct side_cancel *cancel)
{
    const struct server *server = find_server(cancel);
    return cancel->key_size > 0 ||
           (server && server->turns == cancel->turn && ledger_may_cancel(&server->ledger));
}

static void copy_key(struct side_cancel *cancel, const struct server *server)
{
    cancel->process = server->process;
    cancel->key_size = server->cancel_key_size;
    memcpy(cancel->key, server->cancel_key, server->cancel_key_size);
}

static void send_request(struct side_cancel *cancel)
{
    uint8_t memory[512];
    struct bytes out = bytes_over(memory, sizeof(memory));
    if (!has_target(cancel)) {
        finish(cancel);
        return;
    }
    if (cancel->key_size == 0)
        copy_key(cancel, find_server(cancel));
    build_cancel_request(&out, cancel->process, cancel->key, cancel->key_size);
    bool ok = bytes_ok(&out) && stream_put(&cancel->stream, out.data, out.size);
    memory_wipe(memory, sizeof(memory));
    cancel->was_sent = ok;
    if (!ok)
        finish(cancel);
}

static void ready(struct stream *stream)
{
    struct side_cancel *cancel = cancel_of_stream(stream);
    static const uint8_t ssl_request[] = {0, 0, 0, 8, 4, 210, 22, 47};
    if (!cancel->tls || cancel->ssl_was_asked) {
        send_request(cancel);
        return;
    }
    cancel->ssl_was_asked = true;
    if (!stream_put(stream, ssl_request, sizeof(ssl_request)))
        finish(cancel);
}

/* The answer to SSLRequest; to the request itself there is none but the end. */
static void input(struct stream *stream)
{
    struct side_cancel *cancel = cancel_of_stream(stream);
    struct span answer = stream_input(stream);
    struct error error;
    bool is_yes = answer.size == 1 && answer.data[0] == 'S' && cancel->ssl_was_asked &&
                  !stream_is_tls(stream);
    stream_consume(stream, answer.size);
    if (!is_yes || !stream_start_tls_connect(stream, cancel->tls, cancel->host, NULL, &error))
        finish(cancel);
}

static void closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    finish(cancel_of_stream(stream));
}

static const struct stream_events cancel_events = {
    .input = input, .closed = closed, .ready = ready};

/* Each worker has its share of cancel_max_inflight. */
static bool is_full(const struct server_set *set)
{
    int limit = set->config->settings.cancel_max_inflight;
    return set->cancels_under_way >= (limit + set->worker_count - 1) / set->worker_count;
}

static void start(struct side_cancel *cancel)
{
    struct server_set *set = cancel->set;
    struct server *server = find_server(cancel);
    struct socket_options options;
    struct error error;
    TAILQ_REMOVE(&set->waiting_cancels, cancel, link);
    TAILQ_INSERT_TAIL(&set->cancels, cancel, link);
    set->cancels_under_way++;
    cancel->is_under_way = true;
    if (server)
        server->cancels_in_flight++;
    else
        cancel->server_id = 0;
    server_socket_options(set, &options);
    if (!stream_connect(&cancel->stream, set->loop, &cancel->address, &options, &cancel_events,
                        &error))
        finish(cancel);
}

static void start_next(struct server_set *set)
{
    struct side_cancel *cancel;
    while (!set->is_shutting_down && !is_full(set) &&
           (cancel = TAILQ_FIRST(&set->waiting_cancels))) {
        if (!has_target(cancel))
            finish(cancel);
        else
            start(cancel);
    }
}

void server_cancel(struct server *server, struct server_cancel_request request)
{
    struct server_set *set = server->set;
    struct side_cancel *cancel =
        server->cancel_key_size > 0 ? memory_zalloc(sizeof(*cancel)) : NULL;
    if (!cancel) { /* or the server gave no key */
        if (request.done)
            request.done(request.argument);
        return;
    }
    cancel->set = set;
    cancel->server_id = server->id;
    cancel->turn = server->turns;
    cancel->request = request;
    cancel->address = server->address;
    cancel->free_task.run = run_free_task;
    if (request.is_last)
        copy_key(cancel, server);
    if (stream_is_tls(&server->stream))
        cancel->tls = tls_context_acquire(server->tls);
    snprintf(cancel->host, sizeof(cancel->host), "%s", server->host ? server->host : "");
    TAILQ_INSERT_TAIL(&set->waiting_cancels, cancel, link);
    arm(cancel);
    start_next(set);
}
