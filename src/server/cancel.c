/* Cancel requests to servers: a side connection like the main one, inside TLS where that is
 * (PITFALLS row 18). The server is held until its end. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "server_private.h"
#include "wire/build.h"

struct cancel {
    struct stream stream;
    LIST_ENTRY(cancel) link; /* of the set */
    struct server_set *set;
    uint64_t server_id;
    struct server_cancel_request request;
    struct deadline deadline;
    struct loop_task free_task;
    struct tls_context *tls; /* a reference; NULL: plain */
    char host[256];
    bool ssl_was_asked, is_over;
};

static struct cancel *cancel_of_stream(struct stream *stream)
{
    return (struct cancel *)((char *)stream - offsetof(struct cancel, stream));
}

static void run_free_task(struct loop_task *task)
{
    struct cancel *cancel = (struct cancel *)((char *)task - offsetof(struct cancel, free_task));
    tls_context_release(cancel->tls);
    memory_free(cancel);
}

static struct server *find_server(const struct cancel *cancel)
{
    struct server *server;
    TAILQ_FOREACH (server, &cancel->set->servers, link)
        if (server->id == cancel->server_id)
            return server;
    return NULL;
}

static void finish(struct cancel *cancel)
{
    if (cancel->is_over)
        return;
    cancel->is_over = true;
    LIST_REMOVE(cancel, link);
    struct server *server = find_server(cancel);
    deadline_clear(&cancel->deadline);
    stream_close(&cancel->stream);
    loop_defer(cancel->set->loop, LOOP_FREE, &cancel->free_task);
    if (cancel->request.done)
        cancel->request.done(cancel->request.argument);
    if (server && --server->cancels_in_flight == 0 && server->state == SERVER_CANCELING)
        server_release(server);
}

void server_cancel_expired(struct deadline *deadline, struct deadline_list *list)
{
    (void)list;
    finish((struct cancel *)((char *)deadline - offsetof(struct cancel, deadline)));
}

void server_cancel_all(struct server_set *set)
{
    struct cancel *cancel;
    while ((cancel = LIST_FIRST(&set->cancels)))
        finish(cancel);
}

/* Only if the query may still run: else it would hit whoever comes next. */
static void send_request(struct cancel *cancel)
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
    if (!ok)
        finish(cancel);
}

static void ready(struct stream *stream)
{
    struct cancel *cancel = cancel_of_stream(stream);
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
    struct cancel *cancel = cancel_of_stream(stream);
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
    const struct socket_options options = {.keepalive = 1};
    struct cancel *cancel = memory_zalloc(sizeof(*cancel));
    struct error error;
    if (!cancel) {
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
    LIST_INSERT_HEAD(&set->cancels, cancel, link);
    cancel->stream.is_closed = true; /* until it is opened */
    server->cancels_in_flight++;
    usec_t limit = set->config->settings.cancel_wait_timeout;
    deadline_set(&set->cancel_deadlines, &cancel->deadline,
                 loop_now(set->loop) + (limit > 0 ? limit : 10 * USEC_PER_SEC));
    if (!stream_connect(&cancel->stream, set->loop, &server->address, &options, &cancel_events,
                        &error))
        finish(cancel);
}
