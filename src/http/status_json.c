/* /status.json: what the status page shows, and nothing that is not asked for there. */
#include <inttypes.h>
#include <string.h>

#include "config/options.h"
#include "page.h"

/* As a JSON string (RFC 8259 §7), fit for any place in a page, too. Bytes that are not ASCII go
 * through if they may be UTF-8, which names of databases need not be: then as '?'. */
static void put_text(struct bytes *out, const char *text)
{
    bytes_u8(out, '"');
    for (; *text; text++) {
        uint8_t byte = (uint8_t)*text;
        if (byte == '"' || byte == '\\')
            bytes_format(out, "\\%c", byte);
        else if (byte < ' ' || byte == '<' || byte == '>' || byte == '&' || byte == 0x7f)
            bytes_format(out, "\\u%04x", byte);
        else
            bytes_u8(out, byte < 0x80 ? byte : '?');
    }
    bytes_u8(out, '"');
}

static void put_pair(struct bytes *out, const char *name, const char *text)
{
    bytes_format(out, "\"%s\":", name);
    put_text(out, text);
    bytes_u8(out, ',');
}

static const char *mode_name(enum pool_mode mode)
{
    switch (mode) {
    case POOL_MODE_SESSION:
        return "session";
    case POOL_MODE_TRANSACTION:
        return "transaction";
    case POOL_MODE_STATEMENT:
        return "statement";
    }
    return "";
}

/* Buckets as they stand in base/histogram. */
static void put_histogram(struct bytes *out, const char *name, const struct histogram *histogram)
{
    bytes_format(out, "\"%s\":[", name);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        bytes_format(out, i > 0 ? ",%" PRIu64 : "%" PRIu64, histogram->counts[i]);
    bytes_u8(out, ']');
}

static void put_pool(struct bytes *out, const struct report_pool *pool)
{
    const struct pool_stats *stats = &pool->stats;
    int other = pool->servers_tested + pool->servers_login + pool->servers_being_canceled;
    bytes_u8(out, '{');
    put_pair(out, "database", pool->database);
    put_pair(out, "user", pool->user);
    put_pair(out, "mode", mode_name(pool->mode));
    put_pair(out, "failure", pool->failure);
    bytes_format(out, "\"limit\":%d,\"active\":%d,\"idle\":%d,\"other\":%d,", pool->size_limit,
                 pool->servers_active, pool->servers_idle, other);
    bytes_format(out, "\"clients\":%d,\"waiting\":%d,\"max_wait_us\":%" PRId64 ",",
                 pool->clients_active + pool->clients_waiting, pool->clients_waiting,
                 pool->max_wait);
    bytes_format(out, "\"xacts\":%" PRIu64 ",\"queries\":%" PRIu64 ",\"query_us\":%" PRIu64 ",",
                 stats->xacts, stats->queries, stats->query_time);
    bytes_format(out, "\"wait_us\":%" PRIu64 ",\"assignments\":%" PRIu64 ",", stats->wait_time,
                 stats->server_assignments);
    put_histogram(out, "waits", &stats->waits);
    bytes_u8(out, ',');
    put_histogram(out, "took", &stats->queries_took);
    bytes_u8(out, '}');
}

static void put_option(struct bytes *out, const struct settings *settings,
                       const struct config_option *option)
{
    char value[512];
    bytes_u8(out, '{');
    put_pair(out, "name", option->name);
    put_pair(out, "value",
             settings_text(settings, option, value, sizeof(value)) ? value : "(not set)");
    put_pair(out, "default", option->default_text ? option->default_text : "(not set)");
    bytes_format(out, "\"is_default\":%s}",
                 settings_is_default(settings, option) ? "true" : "false");
}

void status_json_render(struct page *page)
{
    struct bytes *out = &page->out;
    bytes_text(out, "{\"version\":\"" PGWEIR_VERSION "\",");
    bytes_format(out, "\"uptime_us\":%" PRId64 ",\"workers\":%d,\"draining\":%s,", page->uptime,
                 page->workers, page->is_shutting_down ? "true" : "false");
    bytes_format(out, "\"clients\":%d,\"client_limit\":%d,\"pools\":[", page->clients_logged_in,
                 page->client_limit);
    for (size_t i = 0; i < page->report->count; i++) {
        bytes_text(out, i > 0 ? "," : "");
        put_pool(out, &page->report->pools[i]);
    }
    bytes_text(out, "],\"options\":[");
    for (int i = 0; i < config_option_count; i++) {
        bytes_text(out, i > 0 ? "," : "");
        put_option(out, &page->config->settings, &config_options[i]);
    }
    bytes_text(out, "]}\n");
}
