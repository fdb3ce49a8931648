/* SHOW STATS, STATS_TOTALS, STATS_AVERAGES, TOTALS. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "show.h"
#include "worker/stats.h"

/* The twelve counters in COMPAT's order; names as they end in SHOW STATS (total_..., avg_...), in
 * STATS_TOTALS and in TOTALS. */
static const struct counter {
    const char *total, *average, *plain, *totals;
    size_t offset;
} counters[] = {
#define COUNTER(total, average, plain, totals, field)                                              \
    {                                                                                              \
        total, average, plain, totals, offsetof(struct pool_stats, field)                          \
    }
    COUNTER("server_assignment_count", "server_assignment_count", "server_assignment_count",
            "server_assignment_count", server_assignments),
    COUNTER("xact_count", "xact_count", "xact_count", "xact_count", xacts),
    COUNTER("query_count", "query_count", "query_count", "query_count", queries),
    COUNTER("received", "recv", "bytes_received", "client_bytes", received),
    COUNTER("sent", "sent", "bytes_sent", "server_bytes", sent),
    COUNTER("xact_time", "xact_time", "xact_time", "xact_time", xact_time),
    COUNTER("query_time", "query_time", "query_time", "query_time", query_time),
    COUNTER("wait_time", "wait_time", "wait_time", "wait_time", wait_time),
    COUNTER("client_parse_count", "client_parse_count", "client_parse_count",
            "ps_client_parse_count", client_parses),
    COUNTER("server_parse_count", "server_parse_count", "server_parse_count",
            "ps_server_parse_count", server_parses),
    COUNTER("bind_count", "bind_count", "bind_count", "ps_bind_count", binds),
    COUNTER("client_login_count", "client_login_count", "client_login_count", "client_login_count",
            client_logins),
#undef COUNTER
};
#define COUNTERS      COLUMN_COUNT(counters)
#define NAME_MAX_SIZE 48

static uint64_t value_of(const struct pool_stats *stats, size_t counter)
{
    uint64_t value;
    memcpy(&value, (const char *)stats + counters[counter].offset, sizeof(value));
    return value;
}

/* Names of the columns, the first being "database". */
struct layout {
    char names[2 * COUNTERS + 1][NAME_MAX_SIZE];
    struct column columns[2 * COUNTERS + 1];
    size_t count;
};

static void add_column(struct layout *layout, const char *prefix, const char *name)
{
    char *text = layout->names[layout->count];
    snprintf(text, NAME_MAX_SIZE, "%s%s", prefix, name);
    layout->columns[layout->count] = (struct column){text, 1700, -1};
    layout->count++;
}

static void begin_layout(struct layout *layout)
{
    layout->count = 0;
    add_column(layout, "", "database");
    layout->columns[0] = (struct column){layout->names[0], 25, -1};
}

static size_t make_rows(struct console_session *session, const struct report *report,
                        struct report_stats_row **rows)
{
    *rows = memory_zalloc_array(report->count + 1, sizeof(**rows));
    return *rows ? stats_rows(session->workers, report, *rows) : 0;
}

static void cells(struct bytes *out, const struct pool_stats *stats)
{
    for (size_t i = 0; i < COUNTERS; i++)
        cell_unsigned(out, value_of(stats, i));
}

static void write_table(struct console_session *session, const struct report *report,
                        struct bytes *out, const struct layout *layout, bool totals, bool averages)
{
    struct report_stats_row *rows;
    size_t count = make_rows(session, report, &rows);
    build_row_description(out, layout->columns, layout->count);
    for (size_t i = 0; i < count; i++) {
        size_t row = data_row_begin(out, layout->count);
        cell_text(out, rows[i].database);
        if (totals)
            cells(out, &rows[i].total);
        if (averages)
            cells(out, &rows[i].average);
        data_row_end(out, row);
    }
    memory_free(rows);
}

static void write_stats(struct console_session *session, const struct report *report,
                        struct bytes *out)
{
    struct layout layout;
    begin_layout(&layout);
    for (size_t i = 0; i < COUNTERS; i++)
        add_column(&layout, "total_", counters[i].total);
    for (size_t i = 0; i < COUNTERS; i++)
        add_column(&layout, "avg_", counters[i].average);
    write_table(session, report, out, &layout, true, true);
}

static void write_totals(struct console_session *session, const struct report *report,
                         struct bytes *out)
{
    struct layout layout;
    begin_layout(&layout);
    for (size_t i = 0; i < COUNTERS; i++)
        add_column(&layout, "", counters[i].plain);
    write_table(session, report, out, &layout, true, false);
}

static void write_averages(struct console_session *session, const struct report *report,
                           struct bytes *out)
{
    struct layout layout;
    begin_layout(&layout);
    for (size_t i = 0; i < COUNTERS; i++)
        add_column(&layout, i < COUNTERS - 4 ? "" : "avg_", counters[i].plain);
    write_table(session, report, out, &layout, false, true);
}

static void sum_row(struct bytes *out, const char *prefix, const char *name, uint64_t value)
{
    char text[NAME_MAX_SIZE];
    snprintf(text, sizeof(text), "%s%s", prefix, name);
    size_t row = data_row_begin(out, 2);
    cell_text(out, text);
    cell_unsigned(out, value);
    data_row_end(out, row);
}

static void write_sums(struct console_session *session, const struct report *report,
                       struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("name"), COLUMN_NUMERIC("value")};
    struct report_stats_row *rows;
    struct pool_stats total = {0}, average = {0};
    size_t count = make_rows(session, report, &rows);
    for (size_t i = 0; i < count; i++) {
        stats_add(&total, &rows[i].total);
        stats_add(&average, &rows[i].average);
    }
    memory_free(rows);
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; i < COUNTERS; i++)
        sum_row(out, "total_", counters[i].totals, value_of(&total, i));
    for (size_t i = 0; i < COUNTERS; i++)
        sum_row(out, "avg_", counters[i].totals, value_of(&average, i));
}

const struct show show_stats[] = {
    {.word = "STATS", .needs_report = true, .kind = REPORT_STATS, .write = write_stats},
    {.word = "STATS_TOTALS", .needs_report = true, .kind = REPORT_STATS, .write = write_totals},
    {.word = "STATS_AVERAGES", .needs_report = true, .kind = REPORT_STATS, .write = write_averages},
    {.word = "TOTALS", .needs_report = true, .kind = REPORT_STATS, .write = write_sums},
    {.word = NULL},
};
