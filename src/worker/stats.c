#include "worker/stats.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "worker_private.h"

/* Counters of all databases at one moment. */
struct tick {
    usec_t at;
    struct report_stats_row *rows;
    size_t count;
};

struct stats {
    pthread_mutex_t mutex;    /* guards what follows */
    struct tick before, last; /* the tick before last, and the last */
    struct pool_stats logged; /* all databases together, at the last tick */
    usec_t next_at;
    bool is_asking;
};

struct stats *stats_create(struct workers *workers)
{
    struct stats *stats = memory_zalloc(sizeof(*stats));
    if (!stats)
        return NULL;
    pthread_mutex_init(&stats->mutex, NULL);
    /* The clock before the first tick starts one second before the process does. */
    stats->before.at = stats->last.at = workers->start_time - USEC_PER_SEC;
    return stats;
}

void stats_destroy(struct stats *stats)
{
    if (!stats)
        return;
    memory_free(stats->before.rows);
    memory_free(stats->last.rows);
    pthread_mutex_destroy(&stats->mutex);
    memory_free(stats);
}

/* All counters are 64-bit, one behind the other. */
#define COUNTERS (sizeof(struct pool_stats) / sizeof(uint64_t))

void stats_add(struct pool_stats *sum, const struct pool_stats *part)
{
    uint64_t to[COUNTERS], from[COUNTERS];
    memcpy(to, sum, sizeof(to));
    memcpy(from, part, sizeof(from));
    for (size_t i = 0; i < COUNTERS; i++)
        to[i] += from[i];
    memcpy(sum, to, sizeof(to));
}

/* The report's pools are ordered by database. */
static size_t sum_databases(const struct report *report, struct report_stats_row *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < report->count; i++) {
        const struct report_pool *pool = &report->pools[i];
        if (count == 0 || strcmp(rows[count - 1].database, pool->database) != 0) {
            memset(&rows[count], 0, sizeof(rows[count]));
            snprintf(rows[count].database, sizeof(rows[count].database), "%s", pool->database);
            count++;
        }
        stats_add(&rows[count - 1].total, &pool->stats);
    }
    return count;
}

static const struct pool_stats *find_row(const struct tick *tick, const char *database)
{
    for (size_t i = 0; i < tick->count; i++)
        if (strcmp(tick->rows[i].database, database) == 0)
            return &tick->rows[i].total;
    return NULL;
}

static uint64_t per(uint64_t amount, uint64_t by)
{
    return by > 0 ? amount / by : 0;
}

static uint64_t grown(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static void average(struct report_stats_row *row, const struct pool_stats *before, usec_t span)
{
    static const struct pool_stats nothing;
    const struct pool_stats *now = &row->total;
    uint64_t seconds_us = span > 0 ? (uint64_t)span : 1;
    if (!before)
        before = &nothing;
#define RATE(field)                                                                                \
    row->average.field = grown(now->field, before->field) * USEC_PER_SEC / seconds_us
    RATE(server_assignments);
    RATE(xacts);
    RATE(queries);
    RATE(received);
    RATE(sent);
    RATE(client_parses);
    RATE(server_parses);
    RATE(binds);
    RATE(client_logins);
#undef RATE
    row->average.xact_time =
        per(grown(now->xact_time, before->xact_time), grown(now->xacts, before->xacts));
    row->average.query_time =
        per(grown(now->query_time, before->query_time), grown(now->queries, before->queries));
    row->average.wait_time = per(grown(now->wait_time, before->wait_time),
                                 grown(now->server_assignments, before->server_assignments));
}

size_t stats_rows(struct workers *workers, const struct report *report,
                  struct report_stats_row *rows)
{
    struct stats *stats = workers->stats;
    size_t count = sum_databases(report, rows);
    usec_t now = clock_monotonic();
    pthread_mutex_lock(&stats->mutex);
    for (size_t i = 0; i < count; i++)
        average(&rows[i], find_row(&stats->before, rows[i].database), now - stats->before.at);
    pthread_mutex_unlock(&stats->mutex);
    return count;
}

/* COMPAT 8.6: one line each stats_period, and the same for the service manager. */
static void tell(struct workers *workers, const struct pool_stats *now,
                 const struct pool_stats *before, usec_t span)
{
    struct report_stats_row row = {.total = *now};
    char text[512];
    average(&row, before, span);
    const struct pool_stats *rate = &row.average;
    for (int pass = 0; pass < 2; pass++) {
        const char *unit = pass == 0 ? "us" : "\xce\xbcs";
        snprintf(text, sizeof(text),
                 "stats: %" PRIu64 " xacts/s, %" PRIu64 " queries/s, %" PRIu64
                 " client parses/s, %" PRIu64 " server parses/s, %" PRIu64 " binds/s, %" PRIu64
                 " client logins/s, in %" PRIu64 " B/s, out %" PRIu64 " B/s, xact %" PRIu64
                 " %s, query %" PRIu64 " %s, wait %" PRIu64 " %s",
                 rate->xacts, rate->queries, rate->client_parses, rate->server_parses, rate->binds,
                 rate->client_logins, rate->received, rate->sent, rate->xact_time, unit,
                 rate->query_time, unit, rate->wait_time, unit);
        if (pass == 1)
            service_manager_status(text);
        else if (workers->config->settings.log_stats)
            log_info(NULL, "%s", text);
    }
}

static void note_sum(struct workers *workers, const struct report_stats_row *rows, size_t count,
                     usec_t now)
{
    struct stats *stats = workers->stats;
    struct pool_stats sum = {0};
    for (size_t i = 0; i < count; i++)
        stats_add(&sum, &rows[i].total);
    tell(workers, &sum, &stats->logged, now - stats->last.at);
    stats->logged = sum;
}

static void take_tick(struct report *report, void *argument)
{
    struct workers *workers = argument;
    struct stats *stats = workers->stats;
    struct report_stats_row *rows = memory_zalloc_array(report->count + 1, sizeof(*rows));
    size_t count = rows && !report->failed ? sum_databases(report, rows) : 0;
    if (rows)
        note_sum(workers, rows, count, loop_now(workers->array[0].loop));
    pthread_mutex_lock(&stats->mutex);
    memory_free(stats->before.rows);
    stats->before = stats->last;
    stats->last =
        (struct tick){.at = loop_now(workers->array[0].loop), .rows = rows, .count = count};
    stats->is_asking = false;
    pthread_mutex_unlock(&stats->mutex);
    report_destroy(report);
}

void stats_look(struct workers *workers)
{
    struct stats *stats = workers->stats;
    usec_t now = loop_now(workers->array[0].loop);
    usec_t period = workers->config->settings.stats_period * USEC_PER_SEC;
    if (stats->next_at == 0)
        stats->next_at = now + period;
    if (stats->is_asking || now < stats->next_at)
        return;
    stats->next_at = now + period;
    stats->is_asking = true;
    if (!report_start(workers, workers->array[0].loop, REPORT_STATS, take_tick, workers))
        stats->is_asking = false;
}
