/* A client meets a server, and parts from it.
 *
 * The events of a server that has an owner arrive here; so do grants and refusals of the pool.
 * DESIGN §3, MECHANISMS §2.4, §4.1-4.2.
 */
#include <string.h>

#include "client_private.h"
#include "wire/build.h"

static usec_t now_of(const struct client *client)
{
    return loop_now(client->set->loop);
}

/* A listener that has gone holds on for who came in by it. */
static void renew_listener(struct client *client, const struct config *config)
{
    struct listener_entry *listener = config_listener(config, client->listener->name);

    if (listener == NULL || listener == client->listener)
        return;
    listener_entry_release(client->listener);
    client->listener = listener_entry_acquire(listener);
}

/* Of the newest configuration, though its database's entry may be older. */
static void find_effective(struct client *client, const struct config *config)
{
    struct database_entry *database = pool_database_acquire(client->pool);
    struct user_entry *pool_user = pool_user_acquire(client->pool);

    renew_listener(client, config);
    const struct config_subject subject = {.database = database,
                                           .pool_user = pool_user,
                                           .login_user = client->user,
                                           .listener = client->listener,
                                           .route_mode = &client->route_mode};
    config_effective(config, &subject, &client->effective);
    client->effective_generation = config->generation;
    user_release(pool_user);
    database_release(database);
}

const struct effective *client_effective(struct client *client)
{
    const struct config *config = client->set->config;
    if (__builtin_expect(client->effective_generation != config->generation, false))
        find_effective(client, config);
    return &client->effective;
}

bool attach_ask(struct client *client, const char *query)
{
    struct server *server = client->server;

    if (!server_put_query(server, query)) {
        server->must_close = true;
        client_close(client, "out of memory");
        return false;
    }
    server->unnamed_owner = 0; /* a simple Query drops it */
    return true;
}

static inline void arm_idle(struct client *client)
{
    usec_t limit = client_effective(client)->client_idle_timeout;
    if (limit > 0)
        deadline_set(&client->set->idle_deadlines, &client->deadline, now_of(client) + limit);
}

void attach_arm_idle(struct client *client)
{
    deadline_clear(&client->deadline);
    arm_idle(client);
}

void attach_arm(struct client *client)
{
    const struct effective *effective = client_effective(client);
    if (client->replication) /* a stream has no end */
        return;
    client->over_time = NULL;
    usec_t limit = client->is_in_request       ? effective->query_timeout
                   : client->is_in_transaction ? effective->idle_transaction_timeout
                                               : 0;
    usec_t at = limit > 0 ? now_of(client) + limit : INT64_MAX;
    if (effective->transaction_timeout > 0 && client->is_in_transaction &&
        client->xact_start + effective->transaction_timeout < at)
        at = client->xact_start + effective->transaction_timeout;
    if (at != INT64_MAX)
        deadline_set(&client->set->transaction_deadlines, &client->deadline, at);
    else if (client->pins && !client->is_in_transaction)
        attach_arm_idle(client);
    else
        deadline_clear(&client->deadline);
}

/* -- meeting
 * ----------------------------------------------------------------------------------------------------------------
 */

static bool take(struct client *client, struct server *server)
{
    if (!server_attach(server, &attach_server_events, client, &client->stream, &client->told))
        return false;
    deadline_clear(&client->deadline);
    client->server = server;
    enum pool_mode mode = client_effective(client)->pool_mode;
    client->is_session_mode = server->is_session_owners = mode == POOL_MODE_SESSION;
    client->is_statement_mode = client->holds_units = mode == POOL_MODE_STATEMENT;
    server->ready_watch = client->is_statement_mode ? READY_WATCH_OPEN : 0;
    client->tracks_statements =
        !client->is_session_mode && client->set->config->settings.max_prepared_statements > 0;
    client->prefix_left = 0;
    server->ledger.failed_quietly = false;
    server->ledger.unnamed_of_client = client->unnamed;
    if (client->is_session_mode)
        server->ledger.unnamed = LEDGER_UNNAMED_UNKNOWN; /* for who has it next */
    client->unit_has_begun = false;
    client->flush_was_sent = client->withheld_sync = client->is_repeating = false;
    if (!client->is_session_mode) {
        stream_keep(&client->stream);
        server->may_repeat = true;
    }
    client_move_state(client, CLIENT_ACTIVE);
    attach_arm(client);
    session_begin(client);
    if (client->prefix_is_broken)
        mend_profile(client);
    bool ok = prefix_send(client);
    if (ok && client->prefix_is_broken && client->prefix_left == 0)
        mend_done(client);
    ok = ok && (!client->listening || listen_bring(client));
    if (ok && (!client->virtual_failure || virtual_failure_open(client)))
        requests_go_on(client);
    return true;
}

bool attach_dedicated(struct client *client, struct server *server)
{
    if (!server_attach(server, &attach_server_events, client, &client->stream, &client->told))
        return false;
    client->server = server;
    client->is_session_mode = server->is_session_owners = true;
    client_move_state(client, CLIENT_ACTIVE);
    return true;
}

static void arm_wait(struct client *client)
{
    usec_t notify = client->set->config->settings.query_wait_notify * USEC_PER_SEC;
    usec_t timeout = client_effective(client)->query_wait_timeout;
    if (!client->was_notified && notify > 0 && (timeout <= 0 || notify < timeout))
        deadline_set(&client->set->notify_deadlines, &client->deadline,
                     client->wait_start + notify);
    else if (timeout > 0)
        deadline_set(&client->set->wait_deadlines, &client->deadline, client->wait_start + timeout);
}

static void wait_for_server(struct client *client, const struct pool_advice *advice)
{
    client_move_state(client, CLIENT_WAITING);
    arm_wait(client);
    server_follow(client->set->servers, advice);
}

/* Each transaction asks: no call for it. */
static inline bool was_idle_for_long(const struct client *client, const struct pool_member *member)
{
    return now_of(client) - member->idle_since >= client->set->config->settings.server_check_delay;
}

/* `since`: the place in the queue that it had; 0: it is new there. */
static void acquire(struct client *client, usec_t since)
{
    struct pool_member *member = NULL;
    struct pool_advice advice = {.order = POOL_NOTHING};
    /* Read only where it was set; clearing all of it was 100 instructions of each transaction. */
    struct error error __attribute__((uninitialized));
    enum pool_verdict verdict;
    client->waiter.granted = attach_granted;
    client->waiter.refused = attach_refused;
    client->waiter.since = since;
    for (;;) {
        verdict = pool_acquire(client->pool, client->set->worker, &client->waiter, now_of(client),
                               &member, &advice, &error);
        if (verdict == POOL_GOT && __builtin_expect(was_idle_for_long(client, member), false) &&
            server_is_stale(server_of_member(member))) {
            server_check(server_of_member(member));
            verdict = pool_wait_for_check(client->pool, client->set->worker, &client->waiter,
                                          now_of(client), &advice, &error);
        }
        switch (verdict) {
        case POOL_GOT:
            if (take(client, server_of_member(member)))
                return;
            continue; /* that one was dead: the next */
        case POOL_WAIT:
            wait_for_server(client, &advice);
            return;
        case POOL_REFUSED:
            client_refuse(client, &error);
            return;
        }
    }
}

void attach_acquire(struct client *client)
{
    client->wait_start = now_of(client);
    client->was_notified = false;
    requests_begin(client);
    acquire(client, 0);
}

void attach_granted(struct pool_waiter *waiter, struct pool_member *member)
{
    struct client *client = client_of_waiter(waiter);
    struct server *server = server_of_member(member);
    pool_waiter_done(waiter);
    if (client->state == CLIENT_CLOSED) {
        server_release(server);
        client_free_if_closed(client);
        return;
    }
    usec_t waited = now_of(client) - client->wait_start;
    struct pool_stats *stats = pool_stats(client->pool, client->set->worker);
    if (take(client, server)) {
        client->waited = waited;
        stats->wait_time += (uint64_t)waited;
        histogram_add(&stats->waits, waited);
    } else {
        acquire(client, client->wait_start); /* it was dead: the client's turn is still its own */
    }
}

void attach_refused(struct pool_waiter *waiter, const struct error *why)
{
    struct client *client = client_of_waiter(waiter);
    pool_waiter_done(waiter);
    if (client->state != CLIENT_CLOSED)
        client_refuse(client, why);
    else
        client_free_if_closed(client);
}

/* -- parting
 * ----------------------------------------------------------------------------------------------------------------
 */

static void hear_abandoned(struct client *client, struct server *server)
{
    struct ledger_entry entry;
    ledger_abandon(&server->ledger);
    while (ledger_take_settled(&server->ledger, &entry))
        if (entry.tag)
            statement_delta_settle(entry.tag, false, &client->statements, &client->set->statements,
                                   NULL);
}

/* The client leaves: what the server still does for it concerns no names of its own any more. */
static void *disown(void *tag, void *argument)
{
    return statement_delta_disown(tag, argument);
}

static void disown_all(struct client *client, struct server *server,
                       void *(*part)(void *tag, void *argument), void *argument)
{
    struct ledger_entry entry;
    while (ledger_take_settled(&server->ledger, &entry))
        if (entry.tag)
            statement_delta_settle(entry.tag, entry.outcome == LEDGER_DONE, &client->statements,
                                   &client->set->statements, &server->statements);
    ledger_disown(&server->ledger, part, argument);
}

/* The client goes on without the server: what is not answered yet has not been. */
static void *part_from(void *tag, void *argument)
{
    struct client *client = argument;
    return statement_delta_part(tag, &client->statements, &client->set->statements);
}

/* Nothing is left that the kept cancel could hit: its sender is answered. */
static void drop_cancel(struct client *client)
{
    void (*done)(void *argument) = client->cancel_done;
    client->cancel_done = NULL;
    if (done)
        done(client->cancel_argument);
}

/* The ledger has moved: the kept cancel may go out now, or came too late. */
static void retry_cancel(struct client *client)
{
    void (*done)(void *argument) = client->cancel_done;
    if (!done || !client->server)
        return;
    if (ledger_may_cancel(&client->server->ledger)) {
        client->cancel_done = NULL;
        server_cancel(client->server, (struct server_cancel_request){
                                          .done = done, .argument = client->cancel_argument});
    } else if (!client->is_in_request) {
        drop_cancel(client);
    }
}

void attach_go_on_pinned(struct client *client)
{
    attach_arm(client);
    if (prefix_send(client))
        retry_cancel(client);
}

void attach_part(struct client *client)
{
    drop_cancel(client);
    struct server *server = client->server;
    bool must_reset = client->set->config->settings.server_reset_query_always != 0;
    uint32_t touched = client->touched;
    client->server = NULL;
    client->touched = 0;
    session_unpin(client);
    client->unnamed = server->ledger.unnamed_of_client;
    deadline_clear(&client->deadline);
    client_move_state(client, CLIENT_IDLE);
    stream_resume(&client->stream);
    if (client->virtual_failure && server->ledger.status != 'I')
        server_recover(server, &(struct server_leaver){.reason = "idle transaction timeout",
                                                       .must_reset = must_reset});
    else
        server_detach(server, must_reset, "client disconnect while server was not ready");
    if (touched && !session_tell_lost(client, touched)) {
        client_close(client, "out of memory");
        return;
    }
    if (stream_input(&client->stream).size > 0)
        loop_defer(client->set->loop, LOOP_GRANT, &client->grant_task);
    else
        arm_idle(client);
}

void attach_abandon(struct client *client, const char *reason)
{
    struct server *server = client->server;
    drop_cancel(client);
    session_unpin(client);
    disown_all(client, server, part_from, client);
    client->server = NULL;
    client->touched = 0;
    client->prefix_left = client->probe_left = 0;
    client->is_in_request = client->is_in_transaction = client->unit_has_begun = false;
    client->pass_to_server = client->is_repeating = client->withheld_sync = false;
    client->unit++;
    client->unnamed = server->ledger.unnamed_of_client;
    deadline_clear(&client->deadline);
    client_move_state(client, CLIENT_IDLE);
    server_recover(server, &(struct server_leaver){.reason = reason, .terminated = true});
    stream_resume(&client->stream);
}

void attach_leave(struct client *client, const char *reason)
{
    (void)reason;
    drop_cancel(client);
    session_unpin(client);
    listen_leave(client);
    if (waiter_is_waiting(&client->waiter))
        pool_waiter_leave(
            &client->waiter); /* false: a server is on its way; attach_granted sends it on */
    if (client->replication) {
        replication_leave(client);
        return;
    }
    struct server *server = client->server;
    if (!server)
        return;
    client->server = NULL;
    if (server_is_clean(server)) {
        server_detach(server, client->is_session_mode, "");
        return;
    }
    struct server_leaver leaver = {
        .reason = ledger_is_empty(&server->ledger) && !server->request_is_partial
                      ? "client disconnect while server was not ready"
                      : "client disconnected with query in progress",
        .terminated = client->said_terminate,
        .must_reset =
            client->is_session_mode || client->set->config->settings.server_reset_query_always != 0,
    };
    disown_all(client, server, disown, &client->set->statements);
    server_recover(server, &leaver);
}

/* -- what servers tell
 * ------------------------------------------------------------------------------------------------------
 */

/* What a client has an answer to is not sent again. */
static void say_answer(struct client *client, struct server *server, uint8_t type)
{
    uint8_t answer[] = {type, 0, 0, 0, 4};
    bool is_all = !ledger_is_owing(&server->ledger);
    if (server->may_repeat && is_all)
        stream_keep(&client->stream);
    else if (server->may_repeat)
        server_forget_request(server);
    if (!stream_put(&client->stream, answer, sizeof(answer)))
        client_close(client, "out of memory");
}

static void settled(struct server *server, const struct ledger_entry *entry)
{
    struct client *client = server->owner;
    bool done = entry->outcome == LEDGER_DONE;
    if (entry->tag)
        statement_delta_settle(entry->tag, done, &client->statements, &client->set->statements,
                               &server->statements);
    if (entry->action == LEDGER_SYNTHESIZE && done)
        say_answer(client, server, entry->answer);
    retry_cancel(client);
}

static void end_request(struct client *client, const struct ledger *ledger)
{
    struct pool_stats *stats = pool_stats(client->pool, client->set->worker);
    usec_t now = now_of(client);
    if (client->is_in_request && ledger_is_empty(ledger)) {
        client->is_in_request = false;
        usec_t limit = client->set->config->settings.log_min_duration;
        if (limit > 0)
            notice_duration(client, now - client->query_start, limit);
        stats->query_time += (uint64_t)(now - client->query_start);
        histogram_add(&stats->queries_took, now - client->query_start);
    }
    if (client->is_in_transaction && ledger->status == 'I' && !client->is_in_request) {
        client->is_in_transaction = false;
        stats->xact_time += (uint64_t)(now - client->xact_start);
        histogram_add(&stats->xacts_took, now - client->xact_start);
    }
}

static void left_open(struct server *server)
{
    statement_mode_refuse(server->owner);
}

static void ready(struct server *server, bool ours)
{
    struct client *client = server->owner;
    if (ours && client->awaits_rollback) {
        if (client->is_statement_mode && !statement_mode_rolled_back(client))
            return;
    } else if (ours && client->is_repeating) {
        replay_ready(client);
        retry_cancel(client);
        return;
    } else if (ours && client->holds_units && listen_is_busy(client)) {
        listen_answered(client);
        return;
    } else if (ours && client->probe_left > 0) {
        session_probe_ready(client);
        return;
    } else if (ours) {
        if (client->virtual_failure && !virtual_failure_opened(client))
            return;
        prefix_ready(client);
        retry_cancel(client);
        return;
    }
    attach_ready(client);
}

void attach_ready(struct client *client)
{
    struct server *server = client->server;
    end_request(client, &server->ledger);
    if (client->virtual_failure && virtual_failure_ready(client))
        return;
    /* A COPY failed so early that it is not known how many Syncs the server will still answer: the
     * client has its answers, the server is closed. */
    bool is_spent = server->ledger.doubtful_syncs > 0 && ledger_is_empty(&server->ledger) &&
                    server->ledger.status == 'I';
    if (!client->is_session_mode && client->pass == 0 && (server_is_clean(server) || is_spent)) {
        if (client->touched | client->pins)
            session_rest(client);
        else
            attach_part(client);
        return;
    }
    attach_arm(client);
    retry_cancel(client);
}

static void row(struct server *server, struct span body)
{
    struct client *client = server->owner;
    if (client->holds_units && listen_is_asking(client))
        listen_take_row(client, body);
    else
        session_take_row(client, body);
}

static void ready_held(struct server *server)
{
    listen_ready(server->owner);
}

static void notified(struct server *server, struct span body)
{
    struct client *client = server->owner;
    if (client->listening)
        listen_hear(client, body);
}

static void progress(struct server *server)
{
    struct client *client = server->owner;
    requests_go_on(client);
    retry_cancel(client); /* what was held may run now */
}

static const char *client_name(struct server *server, const void *tag, const char *server_name)
{
    const struct client *client = server->owner;
    const struct statement_delta *delta = tag;
    if (delta && delta->kind == DELTA_CALLED)
        return delta->name;
    if (unnamed_is_called(client, server_name))
        return "";
    return client_statements_name_of(&client->statements, server_name);
}

static const char *cancelled_for(const struct server *server)
{
    const struct client *client = server->owner;
    return client->over_time;
}

static void repeat(struct server *server)
{
    replay_begin(server->owner);
}

static void changed(struct server *server)
{
    prepared_note_changed(server->owner);
}

static void provoked(struct server *server, uint8_t error)
{
    statement_limit_tell(server->owner, error);
}

static void forgot_statements(struct server *server)
{
    struct client *client = server->owner;
    client_statements_forget(&client->statements, &client->set->statements);
}

/* In answer to the client's own message: it has set it, and it follows the client from now on
 * (MECHANISMS §4.5). So it is with what a rollback brings back, whoever asked for that. */
static void parameter(struct server *server, int slot, bool asked)
{
    struct client *client = server->owner;
    if ((asked || client->awaits_rollback) && client->set->shared->parameter_names->tracked[slot])
        wanted_parameters_set(&client->wanted, slot, server->parameters.values[slot]);
}

static void gone(struct server *server, const struct error *why, bool told)
{
    struct client *client = server->owner;
    client->server = NULL;
    client->unnamed = server->ledger.unnamed_of_client;
    client->probe_left = 0;
    session_unpin(client);
    if (client->listening)
        listen_part(client);
    drop_cancel(client);
    hear_abandoned(client, server);
    if (client->state == CLIENT_CLOSED)
        return;
    if (server->ended_unread && !told && replay_elsewhere(client))
        return;
    bool is_in_mid_message = server->pass > 0 && server->pass_to_client;
    if (told || is_in_mid_message)
        client_close(client, "server connection closed");
    else
        client_refuse(client, why);
}

const struct server_events attach_server_events = {
    .settled = settled,
    .ready = ready,
    .row = row,
    .left_open = left_open,
    .ready_held = ready_held,
    .notified = notified,
    .progress = progress,
    .repeat = repeat,
    .changed = changed,
    .provoked = provoked,
    .forgot_statements = forgot_statements,
    .client_name = client_name,
    .cancelled_for = cancelled_for,
    .parameter = parameter,
    .gone = gone,
};

/* -- cancel
 * -----------------------------------------------------------------------------------------------------------------
 */

void attach_cancel(struct client *client, void (*done)(void *argument), void *argument)
{
    struct server *server = client->server;
    if (server && ledger_may_cancel(&server->ledger)) {
        server_cancel(server, (struct server_cancel_request){.done = done, .argument = argument});
        return;
    }
    if (!server || ledger_is_empty(&server->ledger) || client->cancel_done) {
        done(argument); /* nothing of the client's runs, or one is kept for it already */
        return;
    }
    /* A statement of ours runs, which must not be hit: the cancel waits for the client's. */
    client->cancel_done = done;
    client->cancel_argument = argument;
}
