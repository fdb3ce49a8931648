/* pgweir's own tables: SHOW WHY id, SESSIONS, ERRORS, WORKERS, HISTOGRAMS. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tally.h"
#include "show.h"

/* -- SHOW WHY
 * ----------------------------------------------------------------------------------------------------------------
 */

static const struct column why_columns[] = {
    COLUMN_BIGINT("client_id"),
    COLUMN_TEXT("state"),
    COLUMN_TEXT("database"),
    COLUMN_TEXT("user"),
    COLUMN_TEXT("reason"),
    COLUMN_BIGINT("wait_us"),
    COLUMN_INT("waiting_before"),
    COLUMN_BIGINT("server_id"),
    COLUMN_INT("server_pid"),
    COLUMN_TEXT("server_state"),
    COLUMN_BIGINT("holder_id"),
    COLUMN_TEXT("holder_user"),
    COLUMN_TEXT("holder_application_name"),
    COLUMN_TEXT("holder_state"),
    COLUMN_BIGINT("holder_query_us"),
    COLUMN_BIGINT("holder_xact_us"),
};

static int servers_of(const struct console_session *session, const struct pool *pool, bool of_user)
{
    struct limits *limits = registry_limits(session->workers->shared.registry);
    return of_user ? limits_user_count(limits, pool->user_name)
                   : limits_database_count(limits, pool->key);
}

/* Which limit holds it up. */
static void say_limit(const struct console_session *session, struct pool *pool, char *text,
                      size_t size)
{
    struct effective effective;
    struct error error;
    int servers = atomic_load(&pool->published_size), limit = atomic_load(&pool->published_limit);
    pool_effective(pool, &effective);
    if (atomic_load(&pool->is_paused))
        snprintf(text, size, "the database is paused: RESUME lets it go on");
    else if (limit != INT_MAX && servers >= limit)
        snprintf(text, size, "all servers of the pool are in use: pool_size=%d", limit);
    else if (effective.max_db_connections > 0 &&
             servers_of(session, pool, false) >= effective.max_db_connections)
        snprintf(text, size, "the database has as many servers as it may: max_db_connections=%d",
                 effective.max_db_connections);
    else if (effective.max_user_connections > 0 &&
             servers_of(session, pool, true) >= effective.max_user_connections)
        snprintf(text, size, "the user has as many servers as it may: max_user_connections=%d",
                 effective.max_user_connections);
    else if (pool_is_failing(pool, &error))
        snprintf(text, size, "no server can be opened: %s", error.message);
    else
        snprintf(text, size, "a server is being opened or is on its way");
}

static void say_reason(const struct console_session *session, const struct report_subject *subject,
                       char *text, size_t size)
{
    if (subject->wait_start > 0 && subject->pool)
        say_limit(session, subject->pool, text, size);
    else if (subject->server_id > 0)
        snprintf(text, size, "it does not wait for the pooler: it has a server");
    else
        snprintf(text, size, "it does not wait: it has asked nothing");
}

static void put_subject(struct bytes *out, const struct report *report, const char *reason)
{
    const struct report_subject *subject = &report->subject;
    cell_unsigned(out, subject->id);
    cell_text(out, subject->state);
    cell_text(out, subject->database);
    cell_text(out, subject->user);
    cell_text(out, reason);
    cell_int(out, subject->wait);
    cell_int(out, report->waiting_before);
}

static void put_holder(struct bytes *out, const struct report_holder *holder)
{
    cell_unsigned(out, holder->server_id);
    cell_int(out, holder->remote_pid);
    cell_text(out, holder->state);
    if (holder->client_id == 0) {
        for (int i = 0; i < 6; i++)
            cell_text(out, NULL);
        return;
    }
    cell_unsigned(out, holder->client_id);
    cell_text(out, holder->user);
    cell_text(out, holder->application_name);
    cell_text(out, holder->query > 0           ? "query"
                   : holder->is_in_transaction ? "idle in transaction"
                                               : "session");
    cell_int(out, holder->query);
    cell_int(out, holder->xact);
}

/* A row for each server of the pool; of a client that has one, that alone. */
static void write_why(struct console_session *session, const struct report *report,
                      struct bytes *out)
{
    const struct report_subject *subject = &report->subject;
    char reason[ERROR_MESSAGE_MAX];
    size_t rows = 0;
    build_row_description(out, why_columns, COLUMN_COUNT(why_columns));
    if (!subject->is_found)
        return;
    say_reason(session, subject, reason, sizeof(reason));
    for (size_t i = 0; i < report->count; i++) {
        if (subject->wait_start == 0 && report->holders[i].server_id != subject->server_id)
            continue;
        size_t row = data_row_begin(out, COLUMN_COUNT(why_columns));
        put_subject(out, report, reason);
        put_holder(out, &report->holders[i]);
        data_row_end(out, row);
        rows++;
    }
    if (rows > 0)
        return;
    size_t row = data_row_begin(out, COLUMN_COUNT(why_columns));
    put_subject(out, report, reason);
    for (int i = 0; i < 9; i++)
        cell_text(out, NULL);
    data_row_end(out, row);
}

/* True: the holders are asked for, and the session waits on. */
static bool ask_for_holders(struct console_session *session, const struct report *report)
{
    const struct report_question question = {.subject = &report->subject};
    return report->subject.pool && !report->failed &&
           report_ask(session->workers, report->loop, REPORT_HOLDERS, &question,
                      console_report_done, session);
}

static void client_is_known(struct report *report, void *argument)
{
    struct console_session *session = argument;
    if (!session->client || !ask_for_holders(session, report)) {
        if (console_end_wait(session)) {
            if (report->subject.is_found)
                console_table(session, session->show, report);
            else
                console_error(session, SQLSTATE_PROTOCOL_VIOLATION, "client not found");
            console_go_on(session);
        }
    }
    report_destroy(report);
}

static void ask_why(struct console_session *session, const struct command *command)
{
    char *end;
    errno = 0;
    struct report_question question = {.client_id = strtoull(command->value, &end, 10)};
    if (end == command->value || *end || question.client_id == 0 || errno != 0) {
        console_error(session, SQLSTATE_PROTOCOL_VIOLATION,
                      "SHOW WHY needs the id of a client, as SHOW CLIENTS has it");
        return;
    }
    console_begin_wait(session);
    if (report_ask(session->workers, session->client->set->loop, REPORT_CLIENT, &question,
                   client_is_known, session))
        return;
    session->is_waiting = false;
    console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    console_go_on(session);
}

/* -- SHOW SESSIONS
 * -----------------------------------------------------------------------------------------------------------
 */

static void put_session(struct bytes *out, const struct report_connection *client)
{
    bool is_pinned = client->pinned_since > 0;
    cell_unsigned(out, client->id);
    cell_text(out, client->database);
    cell_text(out, client->user);
    cell_text(out, client->application_name);
    cell_text(out, client->state);
    cell_text(out, client->session_state);
    cell_int(out, client->followed_settings + client->followed_statements);
    cell_int(out, client->followed_settings);
    cell_int(out, client->followed_statements);
    cell_text(out, is_pinned ? "yes" : "no");
    cell_text(out, is_pinned ? client->pins : NULL);
    cell_time(out, client->pinned_since);
    if (client->server_id == 0) {
        cell_text(out, NULL);
        cell_text(out, NULL);
        return;
    }
    cell_unsigned(out, client->server_id);
    cell_int(out, client->server_pid);
}

static void write_sessions(struct console_session *session, const struct report *report,
                           struct bytes *out)
{
    static const struct column columns[] = {
        COLUMN_BIGINT("client_id"),      COLUMN_TEXT("database"), COLUMN_TEXT("user"),
        COLUMN_TEXT("application_name"), COLUMN_TEXT("state"),    COLUMN_TEXT("session_state"),
        COLUMN_INT("replayable"),        COLUMN_INT("settings"),  COLUMN_INT("statements"),
        COLUMN_TEXT("pinned"),           COLUMN_TEXT("reason"),   COLUMN_TEXT("pinned_since"),
        COLUMN_BIGINT("server_id"),      COLUMN_INT("server_pid")};
    (void)session;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; i < report->count; i++) {
        const struct report_connection *client = &report->connections[i];
        if (!client->session_state) /* a session of the console */
            continue;
        size_t row = data_row_begin(out, COLUMN_COUNT(columns));
        put_session(out, client);
        data_row_end(out, row);
    }
}

/* -- SHOW ERRORS
 * -------------------------------------------------------------------------------------------------------------
 */

static void write_error(struct bytes *out, const char *source, const struct tally_entry *entry)
{
    size_t row = data_row_begin(out, 5);
    cell_text(out, source);
    cell_text(out, entry->sqlstate);
    cell_text(out, entry->cause);
    cell_unsigned(out, entry->count);
    cell_time(out, entry->last);
    data_row_end(out, row);
}

static void write_tally(struct bytes *out, const char *source, const struct tally *tally)
{
    for (size_t i = 0; tally && i < tally->count; i++)
        write_error(out, source, &tally->entries[i]);
    if (tally && tally->others.count > 0)
        write_error(out, source, &tally->others);
}

static void write_errors(struct console_session *session, const struct report *report,
                         struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("source"), COLUMN_TEXT("sqlstate"),
                                            COLUMN_TEXT("cause"), COLUMN_BIGINT("count"),
                                            COLUMN_TEXT("last_time")};
    (void)session;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    write_tally(out, "pooler", report->client_errors);
    write_tally(out, "server", report->server_errors);
}

/* -- SHOW WORKERS
 * ------------------------------------------------------------------------------------------------------------
 */

static void write_workers(struct console_session *session, const struct report *report,
                          struct bytes *out)
{
    static const struct column columns[] = {COLUMN_INT("worker"),
                                            COLUMN_INT("clients"),
                                            COLUMN_INT("servers"),
                                            COLUMN_BIGINT("servers_opened"),
                                            COLUMN_BIGINT("servers_moved_in"),
                                            COLUMN_BIGINT("turns"),
                                            COLUMN_BIGINT("idle_wakeups"),
                                            COLUMN_BIGINT("lag_us"),
                                            COLUMN_INT("buffers_lent"),
                                            COLUMN_INT("buffers_free"),
                                            COLUMN_BIGINT("statement_bytes")};
    (void)session;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; report->workers_rows && i < report->count; i++) {
        const struct report_worker *worker = &report->workers_rows[i];
        size_t row = data_row_begin(out, COLUMN_COUNT(columns));
        cell_unsigned(out, i);
        cell_int(out, worker->clients);
        cell_int(out, worker->servers);
        cell_unsigned(out, worker->servers_opened);
        cell_unsigned(out, worker->servers_moved_in);
        cell_unsigned(out, worker->turns);
        cell_unsigned(out, worker->idle_wakeups);
        cell_int(out, worker->lag > 0 ? worker->lag : 0);
        cell_int(out, worker->buffers_lent);
        cell_int(out, worker->buffers_free);
        cell_unsigned(out, worker->statement_bytes);
        data_row_end(out, row);
    }
}

/* -- SHOW HISTOGRAMS
 * ---------------------------------------------------------------------------------------------------------
 */

/* An upper bound; NULL where there is none, or nothing to bound. */
static void cell_quantile(struct bytes *out, const struct histogram *histogram,
                          unsigned thousandths)
{
    int bucket = histogram_quantile(histogram, thousandths);
    if (bucket < 0 || bucket == HISTOGRAM_BUCKETS - 1)
        cell_text(out, NULL);
    else
        cell_int(out, histogram_bound(bucket));
}

/* "16:3,64:1": how many took at most so many microseconds, and longer than the bound before. */
static void cell_buckets(struct bytes *out, const struct histogram *histogram)
{
    char text[HISTOGRAM_BUCKETS * 36] = "";
    size_t used = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->counts[i] == 0)
            continue;
        const char *comma = used > 0 ? "," : "";
        if (i == HISTOGRAM_BUCKETS - 1)
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%sinf:%" PRIu64, comma,
                                     histogram->counts[i]);
        else
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%lld:%" PRIu64, comma,
                                     (long long)histogram_bound(i), histogram->counts[i]);
    }
    cell_text(out, text);
}

static void write_histogram(struct bytes *out, const struct report_pool *pool, const char *what,
                            const struct histogram *histogram)
{
    size_t row = data_row_begin(out, 8);
    cell_text(out, pool->database);
    cell_text(out, pool->user);
    cell_text(out, what);
    cell_unsigned(out, histogram_count(histogram));
    cell_quantile(out, histogram, 500);
    cell_quantile(out, histogram, 900);
    cell_quantile(out, histogram, 990);
    cell_buckets(out, histogram);
    data_row_end(out, row);
}

static void write_histograms(struct console_session *session, const struct report *report,
                             struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("database"), COLUMN_TEXT("user"),
                                            COLUMN_TEXT("time"),     COLUMN_BIGINT("count"),
                                            COLUMN_BIGINT("p50_us"), COLUMN_BIGINT("p90_us"),
                                            COLUMN_BIGINT("p99_us"), COLUMN_TEXT("buckets")};
    (void)session;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; i < report->count; i++) {
        const struct report_pool *pool = &report->pools[i];
        write_histogram(out, pool, "wait", &pool->stats.waits);
        write_histogram(out, pool, "query", &pool->stats.queries_took);
        write_histogram(out, pool, "transaction", &pool->stats.xacts_took);
        write_histogram(out, pool, "login", &pool->stats.logins_took);
    }
}

const struct show show_own[] = {
    {.word = "WHY", .ask = ask_why, .write = write_why},
    {.word = "SESSIONS", .needs_report = true, .kind = REPORT_CLIENTS, .write = write_sessions},
    {.word = "ERRORS", .needs_report = true, .kind = REPORT_ERRORS, .write = write_errors},
    {.word = "WORKERS", .needs_report = true, .kind = REPORT_WORKERS, .write = write_workers},
    {.word = "HISTOGRAMS", .needs_report = true, .kind = REPORT_STATS, .write = write_histograms},
    {.word = NULL},
};
