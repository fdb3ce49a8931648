#include "server/peer.h"

#include "base/memory.h"
#include "server_private.h"
#include "wire/build.h"

struct forward {
    struct stream stream;
    TAILQ_ENTRY(forward) link; /* of the set */
    struct server_set *set;
    struct peer_request request;
    struct resolver_request lookup;
    struct deadline deadline;
    struct loop_task free_task;
    struct tls_context *tls; /* a reference; NULL: plain */
    _Atomic int *counted_in; /* of the peer's counters */
    bool is_resolving, is_open, ssl_was_asked, was_sent, is_over;
};

static struct forward *forward_of_stream(struct stream *stream)
{
    return (struct forward *)((char *)stream - offsetof(struct forward, stream));
}

static void count_in(struct forward *forward, _Atomic int *counter)
{
    if (forward->counted_in != NULL)
        atomic_fetch_sub_explicit(forward->counted_in, 1, memory_order_relaxed);
    forward->counted_in = counter;
    if (counter != NULL)
        atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool is_waiting(const struct forward *forward)
{
    return forward->counted_in == &forward->request.peer->waiting;
}

static void run_free_task(struct loop_task *task)
{
    struct forward *forward =
        (struct forward *)((char *)task - offsetof(struct forward, free_task));

    peer_release(forward->request.peer);
    tls_context_release(forward->tls);
    memory_wipe(&forward->request.key, sizeof(forward->request.key));
    memory_free(forward);
}

static void start_next(struct server_set *set, const struct peer_entry *peer);

static void finish(struct forward *forward)
{
    struct server_set *set = forward->set;

    if (forward->is_over)
        return;
    forward->is_over = true;
    TAILQ_REMOVE(&set->forwards, forward, link);
    count_in(forward, NULL);
    deadline_clear(&forward->deadline);
    if (forward->is_resolving)
        resolver_cancel(set->resolver, &forward->lookup);
    if (forward->is_open)
        stream_close(&forward->stream);
    loop_defer(set->loop, LOOP_FREE, &forward->free_task);
    forward->request.done(forward->request.argument, forward->was_sent);
    if (!set->is_shutting_down)
        start_next(set, forward->request.peer);
}

static void expired(struct deadline *deadline, struct deadline_list *list)
{
    (void)list;
    finish((struct forward *)((char *)deadline - offsetof(struct forward, deadline)));
}

/* -- the connection
 * ------------------------------------------------------------------------------
 */

static void send_request(struct forward *forward)
{
    uint8_t memory[PEER_KEY_MAX + 16];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct cursor key = cursor_over(forward->request.key, forward->request.key_size);
    uint32_t process = cursor_u32(&key);

    build_cancel_request(&out, process, forward->request.key + sizeof(process),
                         forward->request.key_size - (uint32_t)sizeof(process));
    forward->was_sent = bytes_ok(&out) && stream_put(&forward->stream, out.data, out.size);
    memory_wipe(memory, sizeof(memory));
    count_in(forward, &forward->request.peer->sent);
    if (!forward->was_sent)
        finish(forward);
}

static void ready(struct stream *stream)
{
    static const uint8_t ssl_request[] = {0, 0, 0, 8, 4, 210, 22, 47};
    struct forward *forward = forward_of_stream(stream);

    if (forward->tls == NULL || stream->is_local || forward->ssl_was_asked) {
        send_request(forward);
        return;
    }
    forward->ssl_was_asked = true;
    if (!stream_put(stream, ssl_request, sizeof(ssl_request)))
        finish(forward);
}

/* The answer to SSLRequest; to the request itself there is none but the end. */
static void input(struct stream *stream)
{
    struct forward *forward = forward_of_stream(stream);
    struct span answer = stream_input(stream);
    struct error error;
    bool is_answer =
        answer.size == 1 && forward->ssl_was_asked && !forward->was_sent && !stream_is_tls(stream);
    uint8_t letter = is_answer ? answer.data[0] : 0;

    stream_consume(stream, answer.size);
    if (letter == 'N')
        send_request(forward);
    else if (letter != 'S' || !stream_start_tls_connect(stream, forward->tls, NULL, NULL, &error))
        finish(forward);
}

static void closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    finish(forward_of_stream(stream));
}

static const struct stream_events forward_events = {
    .input = input, .closed = closed, .ready = ready};

static void connect_to(struct forward *forward, const struct address *address)
{
    struct socket_options options;
    struct error error;

    server_socket_options(forward->set, &options);
    forward->is_open = stream_connect(&forward->stream, forward->set->loop, address, &options,
                                      &forward_events, &error);
    if (!forward->is_open)
        finish(forward);
}

static void resolved(struct resolver_request *lookup, const struct address *addresses, int count,
                     const struct error *error)
{
    struct forward *forward = (struct forward *)((char *)lookup - offsetof(struct forward, lookup));

    (void)error;
    forward->is_resolving = false;
    if (count > 0)
        connect_to(forward, &addresses[0]);
    else
        finish(forward);
}

static void open_connection(struct forward *forward)
{
    const struct peer_entry *peer = forward->request.peer;
    const char *host = peer->hosts[0];
    struct address address;
    struct error error;

    count_in(forward, &forward->request.peer->opening);
    if (host[0] == '/' || host[0] == '@') {
        if (address_from_socket_dir(&address, host, peer->port, &error))
            connect_to(forward, &address);
        else
            finish(forward);
        return;
    }
    if (address_from_literal(&address, host, peer->port)) {
        connect_to(forward, &address);
        return;
    }
    forward->is_resolving = true;
    forward->lookup.answer = resolved;
    resolver_lookup(forward->set->resolver, forward->set->loop, host, peer->port, &forward->lookup);
}

/* -- how many at once
 * ----------------------------------------------------------------------------
 */

/* This worker's share of the peer's connections is in use. */
static bool is_full(const struct server_set *set, const struct peer_entry *peer)
{
    int limit = config_peer_pool_size(set->config, peer), open = 0;
    struct forward *forward;

    if (limit == 0)
        return false;
    TAILQ_FOREACH (forward, &set->forwards, link)
        open += forward->request.peer == peer && !is_waiting(forward);
    return open >= (limit + set->worker_count - 1) / set->worker_count;
}

static void start_next(struct server_set *set, const struct peer_entry *peer)
{
    struct forward *forward;

    TAILQ_FOREACH (forward, &set->forwards, link)
        if (forward->request.peer == peer && is_waiting(forward))
            break;
    if (forward != NULL && !is_full(set, peer))
        open_connection(forward);
}

void peer_forward(struct server_set *set, const struct peer_request *request)
{
    usec_t limit = set->config->settings.cancel_wait_timeout;
    struct forward *forward = set->is_shutting_down ? NULL : memory_zalloc(sizeof(*forward));

    if (forward == NULL) {
        peer_release(request->peer);
        request->done(request->argument, false);
        return;
    }
    forward->set = set;
    forward->request = *request;
    forward->free_task.run = run_free_task;
    forward->tls = tls_context_acquire(config_peer_tls(set->config));
    count_in(forward, &request->peer->waiting);
    TAILQ_INSERT_TAIL(&set->forwards, forward, link);
    if (limit > 0)
        deadline_set(&set->forward_deadlines, &forward->deadline, loop_now(set->loop) + limit);
    start_next(set, request->peer);
}

void peer_forward_init(struct server_set *set)
{
    TAILQ_INIT(&set->forwards);
    deadline_list_init(&set->forward_deadlines, set->loop, expired, set);
}

void peer_forward_finish(struct server_set *set)
{
    struct forward *forward;

    while ((forward = TAILQ_FIRST(&set->forwards)) != NULL) {
        finish(forward);
        loop_cancel_task(set->loop, &forward->free_task);
        run_free_task(&forward->free_task);
    }
    deadline_list_finish(&set->forward_deadlines);
}
