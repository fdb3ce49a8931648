/* /metrics: OpenMetrics 1.0. Names are stable; labels come from the configuration, all else is
 * `other` (THREATS §4.6). */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "page.h"
#include "worker/stats.h"

enum value_kind { VALUE_COUNT, VALUE_SECONDS }; /* a number; microseconds, told as seconds */

struct counter {
    const char *name, *unit, *help;
    size_t offset; /* in struct pool_stats */
    enum value_kind kind;
};

#define COUNTER(field, name, unit, kind, help)                                                     \
    {                                                                                              \
        name, unit, help, offsetof(struct pool_stats, field), kind                                 \
    }

static const struct counter counters[] = {
    COUNTER(xacts, "transactions", NULL, VALUE_COUNT, "Transactions of clients"),
    COUNTER(queries, "queries", NULL, VALUE_COUNT, "Queries of clients"),
    COUNTER(received, "received_bytes", "bytes", VALUE_COUNT, "Bytes received from clients"),
    COUNTER(sent, "sent_bytes", "bytes", VALUE_COUNT, "Bytes that servers sent"),
    COUNTER(xact_time, "transaction_seconds", "seconds", VALUE_SECONDS,
            "Time that clients were in a transaction"),
    COUNTER(query_time, "query_seconds", "seconds", VALUE_SECONDS,
            "Time that servers worked on queries"),
    COUNTER(wait_time, "wait_seconds", "seconds", VALUE_SECONDS,
            "Time that clients waited for a server"),
    COUNTER(server_assignments, "server_assignments", NULL, VALUE_COUNT,
            "How often a client got a server"),
    COUNTER(client_logins, "client_logins", NULL, VALUE_COUNT, "Logins of clients"),
    COUNTER(client_parses, "client_parses", NULL, VALUE_COUNT,
            "Named statements that clients prepared"),
    COUNTER(server_parses, "server_parses", NULL, VALUE_COUNT,
            "Statements that were prepared on servers"),
    COUNTER(binds, "binds", NULL, VALUE_COUNT, "Binds of named statements"),
};

struct gauge {
    const char *state;
    size_t offset; /* in struct report_pool */
};

#define GAUGE(state, field)                                                                        \
    {                                                                                              \
        state, offsetof(struct report_pool, field)                                                 \
    }

static const struct gauge clients[] = {GAUGE("active", clients_active),
                                       GAUGE("waiting", clients_waiting)};
static const struct gauge servers[] = {
    GAUGE("active", servers_active),
    GAUGE("idle", servers_idle),
    GAUGE("tested", servers_tested),
    GAUGE("login", servers_login),
    GAUGE("being_canceled", servers_being_canceled),
};

static void put_family(struct bytes *out, const char *name, const char *type, const char *unit,
                       const char *help)
{
    bytes_format(out, "# TYPE pgweir_%s %s\n", name, type);
    if (unit)
        bytes_format(out, "# UNIT pgweir_%s %s\n", name, unit);
    bytes_format(out, "# HELP pgweir_%s %s.\n", name, help);
}

/* Backslash, quote and newline are escaped; other control bytes become '?'. */
static void put_value(struct bytes *out, const char *text)
{
    for (; *text; text++) {
        uint8_t byte = (uint8_t)*text;
        if (byte == '\n')
            bytes_text(out, "\\n");
        else if (byte == '"' || byte == '\\')
            bytes_format(out, "\\%c", byte);
        else
            bytes_u8(out, byte < ' ' || byte == 0x7f ? '?' : byte);
    }
}

static void put_pool_labels(struct bytes *out, const struct report_pool *pool)
{
    bytes_text(out, "database=\"");
    put_value(out, pool->database);
    bytes_text(out, "\",user=\"");
    put_value(out, pool->user);
    bytes_u8(out, '"');
}

static void put_amount(struct bytes *out, uint64_t amount, enum value_kind kind)
{
    if (kind == VALUE_SECONDS)
        bytes_format(out, "%" PRIu64 ".%06" PRIu64 "\n", amount / 1000000, amount % 1000000);
    else
        bytes_format(out, "%" PRIu64 "\n", amount);
}

static void put_counters(struct bytes *out, const struct report *report)
{
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        const struct counter *counter = &counters[i];
        put_family(out, counter->name, "counter", counter->unit, counter->help);
        for (size_t row = 0; row < report->count; row++) {
            uint64_t amount;
            memcpy(&amount, (const char *)&report->pools[row].stats + counter->offset,
                   sizeof(amount));
            bytes_format(out, "pgweir_%s_total{", counter->name);
            put_pool_labels(out, &report->pools[row]);
            bytes_text(out, "} ");
            put_amount(out, amount, counter->kind);
        }
    }
}

static void put_gauges(struct bytes *out, const struct report *report, const char *name,
                       const struct gauge *gauges, size_t count, const char *help)
{
    put_family(out, name, "gauge", NULL, help);
    for (size_t row = 0; row < report->count; row++)
        for (size_t i = 0; i < count; i++) {
            int amount;
            memcpy(&amount, (const char *)&report->pools[row] + gauges[i].offset, sizeof(amount));
            bytes_format(out, "pgweir_%s{", name);
            put_pool_labels(out, &report->pools[row]);
            bytes_format(out, ",state=\"%s\"} %d\n", gauges[i].state, amount);
        }
}

static void put_pools(struct bytes *out, const struct report *report)
{
    put_gauges(out, report, "pool_clients", clients, sizeof(clients) / sizeof(clients[0]),
               "Clients of a pool, by what they do");
    put_gauges(out, report, "pool_servers", servers, sizeof(servers) / sizeof(servers[0]),
               "Server connections of a pool, by what they do");
    put_family(out, "pool_size_limit", "gauge", NULL, "Most server connections of a pool");
    for (size_t row = 0; row < report->count; row++) {
        bytes_text(out, "pgweir_pool_size_limit{");
        put_pool_labels(out, &report->pools[row]);
        bytes_format(out, "} %d\n", report->pools[row].size_limit);
    }
    put_family(out, "pool_failing", "gauge", NULL,
               "1: no server of the pool is there, and the last login failed");
    for (size_t row = 0; row < report->count; row++) {
        bytes_text(out, "pgweir_pool_failing{");
        put_pool_labels(out, &report->pools[row]);
        bytes_format(out, "} %d\n", report->pools[row].failure[0] != '\0');
    }
    put_family(out, "pool_max_wait_seconds", "gauge", "seconds",
               "How long the client waits that has waited longest");
    for (size_t row = 0; row < report->count; row++) {
        bytes_text(out, "pgweir_pool_max_wait_seconds{");
        put_pool_labels(out, &report->pools[row]);
        bytes_text(out, "} ");
        put_amount(out, (uint64_t)report->pools[row].max_wait, VALUE_SECONDS);
    }
}

struct spread {
    const char *name, *help;
    size_t histogram, sum; /* in struct pool_stats */
};

#define SPREAD(name, field, sum, help)                                                             \
    {                                                                                              \
        name, help, offsetof(struct pool_stats, field), offsetof(struct pool_stats, sum)           \
    }

static const struct spread spreads[] = {
    SPREAD("wait_duration_seconds", waits, wait_time,
           "How long clients waited for a server; a server that was there at once is no wait"),
    SPREAD("query_duration_seconds", queries_took, query_time, "How long queries took"),
    SPREAD("transaction_duration_seconds", xacts_took, xact_time, "How long transactions took"),
    SPREAD("login_duration_seconds", logins_took, login_time,
           "How long logins took, from accept to the answer"),
};

/* Every other bucket of ours, so that a thousand pools stay readable; none of a pool where nothing
 * happened. */
static void put_spread(struct bytes *out, const struct spread *spread,
                       const struct report_pool *pool)
{
    const char *stats = (const char *)&pool->stats;
    struct histogram histogram;
    uint64_t sum, count = 0;
    memcpy(&histogram, stats + spread->histogram, sizeof(histogram));
    memcpy(&sum, stats + spread->sum, sizeof(sum));
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += histogram.counts[i];
    if (count == 0)
        return;
    uint64_t so_far = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        so_far += histogram.counts[i];
        if (i % 2 != 0)
            continue;
        bytes_format(out, "pgweir_%s_bucket{", spread->name);
        put_pool_labels(out, pool);
        bytes_format(out, ",le=\"%.6f\"} %" PRIu64 "\n", (double)histogram_bound(i) / 1e6, so_far);
    }
    bytes_format(out, "pgweir_%s_bucket{", spread->name);
    put_pool_labels(out, pool);
    bytes_format(out, ",le=\"+Inf\"} %" PRIu64 "\npgweir_%s_count{", count, spread->name);
    put_pool_labels(out, pool);
    bytes_format(out, "} %" PRIu64 "\npgweir_%s_sum{", count, spread->name);
    put_pool_labels(out, pool);
    bytes_text(out, "} ");
    put_amount(out, sum, VALUE_SECONDS);
}

static void put_spreads(struct bytes *out, const struct report *report)
{
    for (size_t i = 0; i < sizeof(spreads) / sizeof(spreads[0]); i++) {
        put_family(out, spreads[i].name, "histogram", "seconds", spreads[i].help);
        for (size_t row = 0; row < report->count; row++)
            put_spread(out, &spreads[i], &report->pools[row]);
    }
}

static void put_refusals(struct bytes *out, const uint64_t counts[MOAT_VERDICTS])
{
    static const char *const causes[MOAT_VERDICTS] = {
        [MOAT_REPLACES] = "replaced",
        [MOAT_FULL] = "max_login_clients",
        [MOAT_TOO_MANY] = "max_client_conn_per_ip",
        [MOAT_TOO_OFTEN] = "login_rate_per_ip",
    };
    put_family(out, "connections_refused", "counter", NULL,
               "Connections closed before their login; replaced: a newcomer took their place");
    for (int i = 0; i < MOAT_VERDICTS; i++)
        if (causes[i] != NULL)
            bytes_format(out, "pgweir_connections_refused_total{cause=\"%s\"} %" PRIu64 "\n",
                         causes[i], counts[i]);
}

static void put_listener_label(struct bytes *out, const char *name,
                               const struct report_listener *listener)
{
    bytes_format(out, "pgweir_%s{listener=\"", name);
    put_value(out, listener->name);
    bytes_text(out, "\"} ");
}

static void put_listeners(struct bytes *out, const struct page *page)
{
    put_family(out, "listener_connections", "gauge", NULL,
               "Connections that came in by a listener and are open, in login or behind it");
    for (size_t i = 0; i < page->listener_count; i++) {
        put_listener_label(out, "listener_connections", &page->listeners[i]);
        bytes_format(out, "%d\n", page->listeners[i].open);
    }
    put_family(out, "listener_accepted", "counter", NULL,
               "Connections that a listener has accepted, those that were closed at once too");
    for (size_t i = 0; i < page->listener_count; i++) {
        put_listener_label(out, "listener_accepted_total", &page->listeners[i]);
        bytes_format(out, "%" PRIu64 "\n", page->listeners[i].accepted);
    }
    put_family(out, "listener_strangers", "counter", NULL,
               "Connections closed because they spoke what the listener does not");
    for (size_t i = 0; i < page->listener_count; i++) {
        put_listener_label(out, "listener_strangers_total", &page->listeners[i]);
        bytes_format(out, "%" PRIu64 "\n", page->listeners[i].strangers);
    }
}

static void put_process(struct bytes *out, const struct page *page)
{
    put_family(out, "build", "info", NULL, "Version of pgweir");
    bytes_text(out, "pgweir_build_info{version=\"" PGWEIR_VERSION "\"} 1\n");
    put_family(out, "start_time_seconds", "gauge", "seconds",
               "When the process started, since 1970");
    bytes_format(out, "pgweir_start_time_seconds %" PRId64 "\n", page->started);
    put_family(out, "workers", "gauge", NULL, "Threads that serve connections");
    bytes_format(out, "pgweir_workers %d\n", page->workers);
    put_family(out, "clients", "gauge", NULL, "Client connections");
    bytes_format(out, "pgweir_clients{state=\"logged_in\"} %d\n", page->clients_logged_in);
    bytes_format(out, "pgweir_clients{state=\"logging_in\"} %d\n", page->clients_logging_in);
    put_refusals(out, page->login_verdicts);
    put_family(out, "logins_failed", "counter", NULL, "Logins with a wrong password or name");
    bytes_format(out, "pgweir_logins_failed_total %" PRIu64 "\n", page->logins_failed);
    put_family(out, "logins_delayed", "counter", NULL,
               "Those of them that were answered late (auth_failure_delay, auth_breaker_delay)");
    bytes_format(out, "pgweir_logins_delayed_total %" PRIu64 "\n", page->logins_delayed);
    put_family(out, "cancels_refused", "counter", NULL,
               "Cancel requests with nobody's key; dropped: unread, for too many had missed");
    bytes_format(out, "pgweir_cancels_refused_total{cause=\"missed\"} %" PRIu64 "\n",
                 page->cancels_missed);
    bytes_format(out, "pgweir_cancels_refused_total{cause=\"dropped\"} %" PRIu64 "\n",
                 page->cancels_dropped);
    put_family(out, "clients_limit", "gauge", NULL, "Most logged-in clients (max_client_conn)");
    bytes_format(out, "pgweir_clients_limit %d\n", page->client_limit);
    put_family(out, "draining", "gauge", NULL, "1: the daemon is shutting down");
    bytes_format(out, "pgweir_draining %d\n", page->is_shutting_down);
    put_family(out, "log_lines_dropped", "counter", NULL,
               "Log lines that were lost because nobody read them fast enough");
    bytes_format(out, "pgweir_log_lines_dropped_total %" PRIu64 "\n", page->log_dropped);
    put_family(out, "audit_lines_dropped", "counter", NULL, "Lines of audit_log that were lost");
    bytes_format(out, "pgweir_audit_lines_dropped_total %" PRIu64 "\n", page->audit_dropped);
}

/* ---- labels ---- */

static void bound_labels(struct report_pool *pool)
{
    if (!pool->database_is_configured)
        strcpy(pool->database, "other");
    if (!pool->user_is_configured)
        strcpy(pool->user, "other");
}

static int compare_labels(const void *a, const void *b)
{
    const struct report_pool *left = a, *right = b;
    int order = strcmp(left->database, right->database);
    return order != 0 ? order : strcmp(left->user, right->user);
}

static void add_up(struct report_pool *sum, const struct report_pool *part)
{
    sum->clients_active += part->clients_active;
    sum->clients_waiting += part->clients_waiting;
    sum->servers_active += part->servers_active;
    sum->servers_idle += part->servers_idle;
    sum->servers_tested += part->servers_tested;
    sum->servers_login += part->servers_login;
    sum->servers_being_canceled += part->servers_being_canceled;
    sum->size_limit += part->size_limit;
    if (part->max_wait > sum->max_wait)
        sum->max_wait = part->max_wait;
    if (part->failure[0] != '\0')
        memcpy(sum->failure, part->failure, sizeof(sum->failure));
    stats_add(&sum->stats, &part->stats);
}

/* Rows with the same labels become one. */
static void merge_labels(struct report *report)
{
    size_t kept = 0;
    for (size_t i = 0; i < report->count; i++)
        bound_labels(&report->pools[i]);
    if (report->count > 0)
        qsort(report->pools, report->count, sizeof(report->pools[0]), compare_labels);
    for (size_t i = 0; i < report->count; i++) {
        if (kept > 0 && compare_labels(&report->pools[kept - 1], &report->pools[i]) == 0)
            add_up(&report->pools[kept - 1], &report->pools[i]);
        else
            memmove(&report->pools[kept++], &report->pools[i], sizeof(report->pools[i]));
    }
    report->count = kept;
}

void metrics_render(struct page *page)
{
    merge_labels(page->report);
    put_process(&page->out, page);
    put_listeners(&page->out, page);
    put_pools(&page->out, page->report);
    put_counters(&page->out, page->report);
    put_spreads(&page->out, page->report);
    bytes_text(&page->out, "# EOF\n");
}
