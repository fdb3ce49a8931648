/* What a client that vanished leaves behind is cleared up, and its server goes back to the pool.
 *
 * The ledger knows what the server still owes: it is drained, a COPY IN is ended, a batch without
 * its Sync is rolled back (a Sync alone would commit what PostgreSQL rolls back when a connection
 * ends), what runs is cancelled, an open transaction is rolled back. PITFALLS §2 rows 12-15.
 *
 * A cancel is a connection of its own, so it is sent only for what still runs after a moment, and
 * after twice that time again. Nothing of ours goes out behind an open transaction while a cancel
 * is in flight: it would be struck.
 */
#include <string.h>

#include "server_private.h"
#include "wire/build.h"

#define FIRST_CANCEL_DELAY (10 * USEC_PER_MSEC)
#define ROLLBACKS_MAX      3
/* CopyFail, ROLLBACK, Sync; or one Query. */
#define ENTRIES_NEEDED 3
/* A query that may finish, but whose rows nobody takes: PostgreSQL would see that its client has
 * gone when it sends them. */
#define DRAINED_MAX (256 * 1024)

static bool say(struct server *server, const void *data, size_t size, enum ledger_kind kind)
{
    if (!stream_put(&server->stream, data, size)) {
        server_close(server, "out of memory", NULL);
        return false;
    }
    ledger_expect(&server->ledger, kind, LEDGER_SWALLOW, 0, NULL);
    return true;
}

static bool say_query(struct server *server, const char *text)
{
    uint8_t memory[64];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_query(&out, text);
    return say(server, out.data, out.size, LEDGER_QUERY);
}

/* False: the server waits for the end of a COPY or for a Sync no longer, it was closed. */
static bool end_what_is_open(struct server *server)
{
    static const uint8_t sync[] = {'S', 0, 0, 0, 4};
    static const uint8_t copy_fail[] = {'f', 0,   0,   0,   16,  'c', 'l', 'i', 'e',
                                        'n', 't', ' ', 'l', 'e', 'f', 't', 0};
    struct ledger *ledger = &server->ledger;
    bool fails_copy = ledger->copy_in && !ledger->copy_ended;
    if (fails_copy && !say(server, copy_fail, sizeof(copy_fail), LEDGER_COPY_END))
        return false;
    if (!ledger->is_unsynced && !ledger->is_skipping)
        return true;
    if (ledger->executes_unsynced && !ledger->is_skipping && !fails_copy &&
        !say_query(server, "ROLLBACK"))
        return false;
    return say(server, sync, sizeof(sync), LEDGER_SYNC);
}

static usec_t now_of(const struct server *server)
{
    return loop_now(server->set->loop);
}

/* What the client left runs. */
static bool is_at_work(const struct server *server)
{
    return ledger_may_cancel(&server->ledger);
}

static void arm(struct server *server)
{
    struct recovery *recovery = &server->recovery;
    usec_t now = now_of(server), at = INT64_MAX;
    if (recovery->may_finish && is_at_work(server)) {
        deadline_clear(&server->deadline);
        return;
    }
    usec_t limit = server->set->config->settings.client_gone_timeout;
    if (recovery->end == 0)
        recovery->end = limit > 0 ? now + limit : INT64_MAX;
    at = recovery->end;
    if (is_at_work(server) && server->cancels_in_flight == 0) {
        if (recovery->cancel_at == 0)
            recovery->cancel_at = now + recovery->cancel_delay;
        if (recovery->cancel_at < at)
            at = recovery->cancel_at;
    }
    if (at == INT64_MAX)
        deadline_clear(&server->deadline);
    else if (!deadline_is_set(&server->deadline) || server->deadline.at != at)
        deadline_set(&server->set->recovery_deadlines, &server->deadline, at);
}

static void cancel_what_runs(struct server *server)
{
    struct recovery *recovery = &server->recovery;
    recovery->cancel_at = 0;
    recovery->cancel_delay *= 2;
    server_cancel(server, (struct server_cancel_request){0});
}

static void finish(struct server *server)
{
    bool must_reset = server->recovery.must_reset;
    const char *reason = server->recovery.reason;
    server->recovery = (struct recovery){0};
    server->ledger.error_in_swallowed = false;
    server->owner_holds = false;
    deadline_clear(&server->deadline);
    server_move_state(server, SERVER_ACTIVE);
    server_detach(server, must_reset, reason);
}

/* Nothing is owed, and no cancel is in flight that could strike what is said now. */
static void settle_transaction(struct server *server)
{
    struct ledger *ledger = &server->ledger;
    if (ledger->doubtful_syncs > 0) {
        say_query(server, ""); /* its answer comes behind all that were doubtful */
    } else if (ledger->status == 'I') {
        finish(server);
    } else if (server->recovery.rollbacks++ < ROLLBACKS_MAX) {
        say_query(server, "ROLLBACK");
    } else {
        server_close(server, server->recovery.reason, NULL);
    }
}

/* The rows of a query that may finish flow to nobody. */
static void limit_rows(struct server *server)
{
    struct recovery *recovery = &server->recovery;
    if (recovery->may_finish && server->stream.received - recovery->received > DRAINED_MAX)
        recovery->may_finish = false;
}

void server_recovery_step(struct server *server)
{
    static const uint8_t flush[] = {'H', 0, 0, 0, 4};
    struct recovery *recovery = &server->recovery;
    struct ledger *ledger = &server->ledger;
    if (server->state != SERVER_RECOVERING)
        return;
    if (ledger->copy_both) {
        server_close(server, recovery->reason, NULL);
        return;
    }
    limit_rows(server);
    if (!ledger_has_room(ledger, ENTRIES_NEEDED)) { /* MECHANISMS §5.1 */
        if (!recovery->flush_was_sent && !stream_put(&server->stream, flush, sizeof(flush))) {
            server_close(server, "out of memory", NULL);
            return;
        }
        recovery->flush_was_sent = true;
    } else if (!end_what_is_open(server)) {
        return;
    }
    if (ledger_is_empty(ledger) && server->cancels_in_flight == 0)
        settle_transaction(server);
    if (server->state == SERVER_RECOVERING)
        arm(server);
}

/* -- what the server tells
 * -----------------------------------------------------------------------------------------------
 */

static void settled(struct server *server, const struct ledger_entry *entry)
{
    if (entry->tag)
        statement_delta_settle(entry->tag, entry->outcome == LEDGER_DONE, NULL, NULL,
                               &server->statements);
}

static void ready(struct server *server, bool ours)
{
    (void)ours;
    server_recovery_step(server);
}

static void forgot_statements(struct server *server)
{
    (void)server;
}

static void parameter(struct server *server, int slot, bool asked)
{
    (void)server;
    (void)slot;
    (void)asked;
}

static void gone(struct server *server, const struct error *why, bool told)
{
    struct ledger_entry entry;
    (void)why;
    (void)told;
    ledger_abandon(&server->ledger);
    while (ledger_take_settled(&server->ledger, &entry))
        settled(server, &entry);
}

static const struct server_events recovery_events = {
    .settled = settled,
    .ready = ready,
    .progress = server_recovery_step,
    .forgot_statements = forgot_statements,
    .parameter = parameter,
    .gone = gone,
};

/* -- beginning and end
 * ---------------------------------------------------------------------------------------------------
 */

/* A statement that commits by itself is no part of a block. */
static bool may_finish(const struct server *server, bool terminated)
{
    return terminated ||
           (server->set->config->settings.cancel_on_disconnect == CANCEL_ON_DISCONNECT_NEVER &&
            server->ledger.status == 'I');
}

/* What runs is cancelled all the same, so that its backend does not run on. Of a message that came
 * half the server only reads. */
static void give_up(struct server *server)
{
    const struct ledger *ledger = &server->ledger;
    uint32_t unread = server->request_is_partial ? 1 : 0;
    if (is_at_work(server) && ledger->tail - ledger->head > unread && !server->recovery.may_finish)
        server_cancel(server, (struct server_cancel_request){.is_last = true});
    server_close(server, server->recovery.reason, NULL);
}

void server_kill(struct server *server, const char *reason)
{
    if (server->state == SERVER_RECOVERING) {
        server->recovery.reason = reason;
        give_up(server);
    } else if (server->state != SERVER_CLOSING) {
        server_close(server, reason, NULL);
    }
}

void server_recover(struct server *server, const struct server_leaver *leaver)
{
    if (server->may_repeat)
        server_forget_request(server);
    server->events = &recovery_events;
    server->owner = NULL;
    server->peer = NULL;
    server->told = NULL;
    server->recovery = (struct recovery){
        .reason = leaver->reason,
        .must_reset = leaver->must_reset,
        .may_finish = may_finish(server, leaver->terminated),
        .cancel_delay = FIRST_CANCEL_DELAY,
        .received = server->stream.received,
    };
    if (server->must_close || server->request_is_partial || server->ledger.copy_both) {
        give_up(server);
        return;
    }
    server->owner_holds = true; /* it looks at whatever comes */
    server_move_state(server, SERVER_RECOVERING);
    stream_resume(&server->stream);
    server_recovery_step(server);
}

void server_recovery_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct server *server = (struct server *)((char *)deadline - offsetof(struct server, deadline));
    (void)list;
    if (server->state != SERVER_RECOVERING)
        return;
    if (server->recovery.end > now_of(server)) {
        cancel_what_runs(server);
        arm(server);
        return;
    }
    give_up(server);
}
