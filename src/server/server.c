#include "server/server.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "ledger/session_state.h"
#include "server/dedicated.h"
#include "server_private.h"
#include "wire/build.h"

static const char *const state_names[] = {
    [SERVER_CONNECTING] = "new",    [SERVER_LOGIN] = "new",
    [SERVER_IDLE] = "idle",         [SERVER_ACTIVE] = "active",
    [SERVER_TESTED] = "tested",     [SERVER_CANCELING] = "being_canceled",
    [SERVER_RECOVERING] = "tested", [SERVER_MOVING] = "idle",
    [SERVER_CLOSING] = "closing",   [SERVER_CLOSED] = "closed",
};

const char *server_state_name(enum server_state state)
{
    return state_names[state];
}

#define M(name) (1u << SERVER_##name)
static const unsigned successors[] = {
    [SERVER_CONNECTING] = M(LOGIN) | M(ACTIVE) | M(CLOSED),
    [SERVER_LOGIN] = M(CONNECTING) | M(ACTIVE) | M(CLOSING) | M(CLOSED),
    [SERVER_IDLE] = M(ACTIVE) | M(MOVING) | M(CLOSING) | M(CLOSED),
    [SERVER_ACTIVE] =
        M(IDLE) | M(TESTED) | M(RECOVERING) | M(CANCELING) | M(MOVING) | M(CLOSING) | M(CLOSED),
    [SERVER_TESTED] = M(ACTIVE) | M(CLOSING) | M(CLOSED),
    [SERVER_RECOVERING] = M(ACTIVE) | M(CLOSING) | M(CLOSED),
    [SERVER_CANCELING] = M(ACTIVE) | M(CLOSING) | M(CLOSED),
    [SERVER_MOVING] = M(ACTIVE) | M(CLOSED),
    [SERVER_CLOSING] = M(CLOSED),
    [SERVER_CLOSED] = 0,
};
#undef M

void server_move_state(struct server *server, enum server_state next)
{
    if (server->state == next)
        return;
    assert(successors[server->state] & (1u << next));
    server->state = next;
}

void server_set_profile(struct server *server, struct session_profile *profile)
{
    session_profile_acquire(profile);
    session_profile_release(server->profile);
    server->profile = profile;
    server->dirt &= ~(uint32_t)SESSION_APPLIED;
    if (profile && profile->disturbs)
        server->dirt |= SESSION_APPLIED;
}

static struct server *server_of_release_task(struct loop_task *task)
{
    return (struct server *)((char *)task - offsetof(struct server, release_task));
}

static void run_release_task(struct loop_task *task)
{
    struct server *server = server_of_release_task(task);
    if (server->owner || (server->state != SERVER_ACTIVE && server->state != SERVER_TESTED))
        return;
    if (server->is_dedicated) {
        server_dedicated_granted(server);
        return;
    }
    if (server->ledger.error_in_swallowed) {
        server_close(server, server_test_failure(server), NULL);
        return;
    }
    if (server->state == SERVER_TESTED) {
        if (!ledger_is_empty(&server->ledger))
            return; /* the next of its queries is to be answered */
        if (server->member.is_checked)
            pool_check_end(server->member.pool, &server->member);
    }
    deadline_clear(&server->deadline);
    server_move_state(server, SERVER_ACTIVE);
    if (server_is_clean(server))
        server_release(server);
    else
        server_close(server, "client disconnect while server was not ready", NULL);
}

static void run_free_task(struct loop_task *task)
{
    struct server *server = (struct server *)((char *)task - offsetof(struct server, free_task));
    server_parameters_finish(&server->parameters);
    session_profile_release(server->profile);
    bytes_finish(&server->borrowed);
    server_statements_finish(&server->statements);
    tls_context_release(server->tls);
    database_release(server->database);
    memory_wipe(server->cancel_key, sizeof(server->cancel_key));
    memory_free(server);
}

static struct server *make_server(struct server_set *set, struct pool *pool)
{
    struct server *server = memory_zalloc(sizeof(*server));
    if (!server)
        return NULL;
    server->set = set;
    server->id = atomic_fetch_add(set->ids, 1);
    server->stream.fd = -1;
    server->stream.is_closed = true; /* until it is opened */
    server->release_task.run = run_release_task;
    server->free_task.run = run_free_task;
    ledger_init(&server->ledger);
    server_statements_init(&server->statements);
    borrowed_init(server);
    server->connect_time = server->request_time = loop_now(set->loop);
    server->database = pool_database_acquire(pool);
    server->tls = tls_context_acquire(server->database->server_tls);
    server->stats = pool_stats(pool, set->worker);
    snprintf(server->subject.prefix, sizeof(server->subject.prefix), "S-%p: %s/%s@(unknown)",
             (void *)server, server->database->name, pool->user_name);
    return server;
}

static void enter_set(struct server *server)
{
    struct server_set *set = server->set;
    TAILQ_INSERT_TAIL(&set->servers, server, link);
    set->count++;
    set->opened++;
}

bool server_open_dedicated(struct server_set *set, struct pool *pool,
                           struct server_dedicated *dedicated)
{
    struct server *server = make_server(set, pool);
    if (!server)
        return false;
    pool_dedicated_init(pool, &server->member, set->worker, loop_now(set->loop));
    server->is_dedicated = true;
    server->dedicated = dedicated;
    server->is_physical = dedicated->is_physical;
    dedicated->server = server;
    enter_set(server);
    server_login_start(server);
    return true;
}

bool server_open_probe(struct server_set *set, struct pool *pool, struct server_probe *probe)
{
    struct server *server = make_server(set, pool);
    if (!server)
        return false;
    server->member = (struct pool_member){.pool = pool_acquire_reference(pool),
                                          .state = MEMBER_LENT,
                                          .worker = set->worker,
                                          .epoch = atomic_load(&pool->epoch)};
    server->is_probe = true;
    server->probe = probe;
    enter_set(server);
    server_login_start(server);
    return true;
}

/* It had no place to give back. */
static void leave_probe_pool(struct server *server)
{
    pool_release_reference(server->member.pool);
    server->member.pool = NULL;
}

void server_open(struct server_set *set, struct pool *pool)
{
    struct server *server = make_server(set, pool);
    if (!server) {
        struct pool_advice advice = {.order = POOL_NOTHING};
        pool_open_abandoned(pool, &advice);
        server_follow(set, &advice);
        return;
    }
    pool_member_init(pool, &server->member, set->worker, loop_now(set->loop));
    enter_set(server);
    if (atomic_load_explicit(&pool->published_size, memory_order_relaxed) >
        atomic_load_explicit(&pool->published_limit, memory_order_relaxed))
        log_warning(&server->subject, "taking connection from reserve_pool");
    server_login_start(server);
}

void server_follow(struct server_set *set, const struct pool_advice *advice)
{
    if (advice->order != POOL_NOTHING)
        server_set_order(set, advice->order, advice->worker, advice->pool);
}

/* A server that came from another loop may have been closed by its peer on the way: it is read once
 * (MECHANISMS §1.1). */
static bool is_fit_for_use(struct server *server)
{
    if (server->state == SERVER_CLOSED || server->state == SERVER_CLOSING || server->must_close)
        return false;
    if (!server->has_moved_in)
        return true;
    server->has_moved_in = false;
    return !stream_has_unasked_input(&server->stream);
}

bool server_attach(struct server *server, const struct server_events *events, void *owner,
                   struct stream *peer, struct told_parameters *told)
{
    if (!is_fit_for_use(server)) {
        server_close(server, "idle server got dirty", NULL);
        return false;
    }
    server_set_not_idle(server);
    server_move_state(server, SERVER_ACTIVE);
    server->events = events;
    server->owner = owner;
    server->peer = peer;
    server->told = told;
    server->request_time = loop_now(server->set->loop);
    server->sent_before = stream_sent(&server->stream);
    server->was_used = server->was_used || owner != NULL;
    server->turns++;
    server->stats->server_assignments++;
    return true;
}

static bool owes_nothing(const struct server *server)
{
#ifdef PGWEIR_BREAK_EARLY_RELEASE
    /* A fault on purpose, in a build of its own: the ReadyForQuery may still be owed. The torture
     * test must catch it. */
    const struct ledger *ledger = &server->ledger;
    if (ledger->status == 'I' && ledger->tail - ledger->head == 1 &&
        ledger->entries[ledger->head % LEDGER_ENTRIES].kind == LEDGER_SYNC)
        return true;
#endif
    return ledger_is_free(&server->ledger);
}

bool server_is_clean(const struct server *server)
{
    return owes_nothing(server) && !server->request_is_partial && server->pass == 0 &&
           !server->must_close && !stream_is_blocked(&server->stream);
}

#define RESET_LIMIT (15 * USEC_PER_SEC)

bool server_put_query(struct server *server, const char *query)
{
    struct bytes out;
    bytes_init(&out, strlen(query) + 64);
    build_query(&out, query);
    bool ok = bytes_ok(&out) && ledger_has_room(&server->ledger, 1) &&
              stream_put(&server->stream, out.data, out.size);
    bytes_finish(&out);
    if (ok)
        ledger_expect(&server->ledger, LEDGER_QUERY, LEDGER_SWALLOW, 0, NULL);
    return ok;
}

static bool start_reset(struct server *server)
{
    const char *query = server->set->config->settings.server_reset_query;
    if (!query || !*query) {
        /* Who says that nothing need be undone does not say it for clients of other modes. */
        if (server->set->config->has_mixed_modes)
            server->dirt |= SESSION_UNKNOWN;
        return false;
    }
    if (!server_clean_profile(server) || !server_put_query(server, query)) {
        server_close(server, "reset query failed", NULL);
        return true;
    }
    usec_t limit = server->set->config->settings.server_connect_timeout;
    deadline_set(&server->set->connect_deadlines, &server->deadline,
                 loop_now(server->set->loop) + (limit > 0 ? limit : RESET_LIMIT));
    server_move_state(server, SERVER_TESTED);
    return true;
}

static void forget_owner(struct server *server)
{
    if (server->may_repeat)
        server_forget_request(server);
    server->owner = NULL;
    server->events = NULL;
    server->is_session_owners = false;
    server->ready_watch = 0;
    server->peer = NULL;
    server->told = NULL;
}

/* What its owner left is undone. False: there is nothing to wait for. */
static bool clean_behind_owner(struct server *server, bool must_reset)
{
    if (!borrowed_return(server)) {
        server_close(server, "its client's statement names could not be closed", NULL);
        return true;
    }
    if (must_reset && start_reset(server)) {
        server->dirt = 0;
        return true;
    }
    if (server->dirt) {
        server_clean(server);
        return true;
    }
    if (!server->ledger.is_unsynced)
        return false;
    borrowed_finish_return(server);
    return true;
}

void server_detach(struct server *server, bool must_reset, const char *reason)
{
    forget_owner(server);
    if (server->state != SERVER_ACTIVE)
        return;
    if (server->is_dedicated || !server_is_clean(server)) {
        server_close(server, reason, NULL);
        return;
    }
    stream_resume(&server->stream);
    bool has_more = must_reset || server->dirt != 0 || server->borrowed_count > 0;
    if (has_more && clean_behind_owner(server, must_reset))
        return;
    loop_defer(server->set->loop, LOOP_GRANT, &server->release_task);
}

/* On the loop of the waiter that it was granted to. */
static void arrive(struct mail *mail, struct loop *loop)
{
    struct server *server = (struct server *)((char *)mail - offsetof(struct server, mail));
    struct pool_waiter *waiter = server->moving_to;
    struct server_set *set = server->set->siblings[waiter->worker];
    struct pool *pool = server->member.pool;
    server->moving_to = NULL;
    server->set = set;
    server->member.worker = set->worker;
    server->member.state = MEMBER_LENT;
    server->stats = pool_stats(pool, set->worker);
    TAILQ_INSERT_TAIL(&set->servers, server, link);
    set->count++;
    set->moves++;
    server_move_state(server, SERVER_ACTIVE);
    bool is_there = stream_attach(&server->stream, loop);
    server->has_moved_in = true;
    if (is_there && is_fit_for_use(server)) {
        waiter->granted(waiter, &server->member);
        return;
    }
    struct pool_advice advice = {.order = POOL_NOTHING};
    pool_acquire_reference(pool);
    pool_grant_failed(pool, waiter, loop_now(loop), &advice);
    server_close(server, "idle server got dirty", NULL);
    server_follow(set, &advice);
    pool_release_reference(pool);
}

static void send_away(struct server *server, struct pool_waiter *waiter)
{
    struct server_set *set = server->set;
    struct loop *loop = set->siblings[waiter->worker]->loop;
    server_move_state(server, SERVER_MOVING);
    loop_cancel_task(set->loop, &server->release_task);
    stream_detach(&server->stream);
    TAILQ_REMOVE(&set->servers, server, link);
    set->count--;
    server->moving_to = waiter;
    server->mail.deliver = arrive;
    loop_post(loop, &server->mail);
}

void server_release(struct server *server)
{
    struct server_set *set = server->set;
    if (server->state != SERVER_ACTIVE)
        server_move_state(server, SERVER_ACTIVE);
    if (!stream_is_flushed(&server->stream))
        stream_flush(
            &server
                 ->stream); /* a last Flush of the client's: it may move only with nothing unsent */
    if (stream_is_blocked(&server->stream)) {
        server_close(server, "client disconnect before everything was sent to the server", NULL);
        return;
    }
    if (server->cancels_in_flight > 0) {
        server_move_state(server, SERVER_CANCELING);
        return;
    }
    if (server->was_used && server_set_close_over_age(server))
        return;
    struct pool_waiter *waiter = NULL;
    const char *why = "close_needed";
    switch (pool_release(server->member.pool, set->worker, &server->member, loop_now(set->loop),
                         &waiter, &why)) {
    case RELEASE_IDLE:
        server_move_state(server, SERVER_IDLE);
        server_set_idle(server);
        return;
    case RELEASE_GRANT:
        waiter->granted(waiter, &server->member);
        return;
    case RELEASE_MOVE:
        send_away(server, waiter);
        return;
    case RELEASE_CLOSE:
        server_close(server, why, NULL);
        return;
    }
}

/* A row of a lookup has a name and a secret, which are bounded; a notification has 8000 bytes and a
 * name; an error is bounded by this, too. */
#define OWN_MESSAGE_MAX (128 * 1024)

enum message_verdict server_next_message(struct stream *stream, struct message *message)
{
    struct span input = stream_input(stream);
    enum message_verdict verdict = message_peek(input.data, input.size, OWN_MESSAGE_MAX, message);
    if (verdict == MESSAGE_PARTIAL)
        stream_want(stream, message->size);
    return verdict;
}

void server_take_back(struct server *server)
{
    server->owner = NULL;
    server->events = NULL;
    server->is_listening = false;
    server->stream.events = &server_stream_events;
}

void server_log_closing(struct server *server, const char *reason)
{
    if (!server->set->config->settings.log_disconnections || server->is_probe)
        return;
    usec_t age = (loop_now(server->set->loop) - server->connect_time) / USEC_PER_SEC;
    log_info(&server->subject, "closing because: %s (age=%llds)", reason, (long long)age);
}

/* At shutdown nothing is opened any more: a reserved place is given back. */
static void decline(struct pool_advice *advice)
{
    while (advice->order != POOL_NOTHING) {
        struct pool *pool = advice->pool;
        pool_order_abandoned(pool, advice->order, advice);
        pool_release_reference(pool);
    }
}

/* Its end was seen, or waited for long enough: the place is given back. */
static void finish_close(struct server *server)
{
    struct server_set *set = server->set;
    if (server->state == SERVER_CLOSED)
        return;
    server_move_state(server, SERVER_CLOSED);
    deadline_clear(&server->deadline);
    stream_close(&server->stream);
    TAILQ_REMOVE(&set->servers, server, link);
    set->count--;
    loop_defer(set->loop, LOOP_FREE, &server->free_task);
    if (server->is_probe) {
        leave_probe_pool(server);
        return;
    }
    struct pool_advice advice = {.order = POOL_NOTHING};
    pool_member_closed(server->member.pool, &server->member, loop_now(set->loop), &advice);
    if (!set->is_shutting_down)
        server_follow(set, &advice);
    else
        decline(&advice);
}

static void closing_input(struct stream *stream)
{
    stream_consume(stream, stream_input(stream).size);
}

static void closing_closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    finish_close(server_of_stream(stream));
}

static const struct stream_events closing_events = {.input = closing_input,
                                                    .closed = closing_closed};

void server_closing_expired(struct server *server)
{
    finish_close(server);
}

/* Says Terminate and waits for the server's FIN, so that the slot is free at PostgreSQL before it
 * is used again. */
static bool close_politely(struct server *server)
{
    struct server_set *set = server->set;
    if (server->end_was_seen || set->is_shutting_down || server->stream.is_closed ||
        server->stream.fd < 0 || server->state == SERVER_CONNECTING)
        return false;
    static const uint8_t terminate[] = {'X', 0, 0, 0, 4};
    if (!server->request_is_partial && !stream_put(&server->stream, terminate, sizeof(terminate)))
        return false;
    server_move_state(server, SERVER_CLOSING);
    server->stream.events = &closing_events;
    stream_consume(&server->stream, stream_input(&server->stream).size);
    stream_resume(&server->stream);
    deadline_set(&set->connect_deadlines, &server->deadline,
                 loop_now(set->loop) + SERVER_CLOSING_WAIT);
    return true;
}

static void tell_owner(struct server *server, const struct error *why)
{
    const struct server_events *events = server->events;
    struct error crashed;
    if (!why) {
        error_set(&crashed, SQLSTATE_CONNECTION_FAILURE, "server conn crashed?");
        why = &crashed;
    }
    if (events)
        events->gone(server, why, server->told_error);
    else if (server->dedicated)
        server_dedicated_lost(server, why);
    else if (server->probe)
        server_probe_lost(server, why);
    forget_owner(server);
}

void server_close(struct server *server, const char *reason, const struct error *why)
{
    if (server->state == SERVER_CLOSED)
        return;
    if (server->state == SERVER_CLOSING) {
        finish_close(server);
        return;
    }
    server->must_close = true;
    server_log_closing(server, reason);
    server_set_not_idle(server);
    loop_cancel_task(server->set->loop, &server->release_task);
    if (server->member.state == MEMBER_IDLE)
        pool_unlist(server->member.pool, &server->member);
    server_login_finish(server);
    deadline_clear(&server->deadline);
    if (!close_politely(server))
        finish_close(server);
    tell_owner(server, why);
}
