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
    struct server_cancel_request request;
    struct deadline deadline;
    struct loop_task free_task;
    struct tls_context *tls; /* a reference; NULL: plain */
    char host[256];
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

static void finish(struct side_cancel *cancel)
{
    if (cancel->is_over)
        return;
    cancel->is_over = true;
    TAILQ_REMOVE(&cancel->set->cancels, cancel, link);
    struct server *server = find_server(cancel);
    deadline_clear(&cancel->deadline);
    stream_close(&cancel->stream);
    loop_defer(cancel->set->loop, LOOP_FREE, &cancel->free_task);
    tell(cancel);
    if (server && --server->cancels_in_flight == 0 && server->state == SERVER_CANCELING)
        server_release(server);
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
    while ((cancel = TAILQ_FIRST(&set->cancels))) {
        finish(cancel);
        loop_cancel_task(set->loop, &cancel->free_task);
        run_free_task(&cancel->free_task);
    }
}

/* Only if the query may still run: else it would hit whoever comes next. */
static void send_request(struct side_cancel *cancel)
{
    uint8_t memory[512];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct server *server = find_server(cancel);
    if (!server || !ledger_head_is_clients(&server->ledger)) {
        finish(cancel);
        return;
    }
    build_cancel_request(&out, server->process, server->cancel_key, server->cancel_key_size);
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

void server_cancel(struct server *server, struct server_cancel_request request)
{
    struct server_set *set = server->set;
    struct socket_options options;
    struct side_cancel *cancel =
        server->cancel_key_size > 0 ? memory_zalloc(sizeof(*cancel)) : NULL;
    struct error error;
    if (!cancel) { /* or the server gave no key */
        if (request.done)
            request.done(request.argument);
        return;
    }
    cancel->set = set;
    cancel->server_id = server->id;
    cancel->request = request;
    cancel->free_task.run = run_free_task;
    if (stream_is_tls(&server->stream))
        cancel->tls = tls_context_acquire(server->tls);
    snprintf(cancel->host, sizeof(cancel->host), "%s", server->host ? server->host : "");
    server->cancels_in_flight++;
    TAILQ_INSERT_TAIL(&set->cancels, cancel, link);
    arm(cancel);
    server_socket_options(set, &options);
    if (!stream_connect(&cancel->stream, set->loop, &server->address, &options, &cancel_events,
                        &error))
        finish(cancel);
}
