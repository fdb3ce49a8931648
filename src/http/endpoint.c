#include "http/endpoint.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/audit.h"
#include "base/memory.h"
#include "connection.h"
#include "net/listener.h"
#include "worker/acceptor.h"

#define LISTENERS_MAX 8

static const struct page_kind kinds[] = {
    {.path = "/metrics",
     .content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8",
     .needs_report = true,
     .report = REPORT_POOLS,
     .on_helper = true,
     .render = metrics_render},
    {.path = "/healthz",
     .content_type = "text/plain; charset=utf-8",
     .needs_report = true,
     .report = REPORT_LISTS,
     .render = health_render,
     .is_public = true},
    {.path = "/readyz",
     .content_type = "text/plain; charset=utf-8",
     .needs_report = true,
     .report = REPORT_POOLS,
     .on_helper = true,
     .render = ready_render,
     .is_public = true},
    {.path = "/status.json",
     .content_type = "application/json",
     .needs_report = true,
     .report = REPORT_POOLS,
     .on_helper = true,
     .render = status_json_render},
    {.path = "/", .content_type = "text/html; charset=utf-8", .render = status_page_render},
};

const struct page_kind *endpoint_page(struct span path)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (span_is(path, kinds[i].path))
            return &kinds[i];
    return NULL;
}

void endpoint_leave(struct endpoint *endpoint)
{
    if (--endpoint->users == 0)
        memory_free(endpoint);
}

/* ---- pages ---- */

static void end_page(struct page *page)
{
    struct endpoint *endpoint = page->endpoint;
    if (page->connection)
        connection_answer(page->connection, page);
    if (page->report)
        report_destroy(page->report);
    config_release(page->config);
    memory_free(page->listeners);
    bytes_finish(&page->out);
    memory_free(page);
    endpoint_leave(endpoint);
}

static struct page *page_of_job(struct offload_job *job)
{
    return (struct page *)((char *)job - offsetof(struct page, job));
}

static void run_job(struct offload_job *job)
{
    struct page *page = page_of_job(job);
    page->kind->render(page);
}

static void job_done(struct offload_job *job, struct loop *loop)
{
    (void)loop;
    end_page(page_of_job(job));
}

/* What the helper must not look up itself. */
static void gather(struct page *page)
{
    struct workers *workers = page->endpoint->workers;
    struct client_counts *counts = workers->shared.counts;
    page->clients_logged_in = client_counts_logged_in_now(counts);
    page->clients_logging_in = client_counts_logging_in_now(counts);
    moat_counts(workers->shared.moat, page->login_verdicts);
    breaker_counts(workers->shared.breaker, &page->logins_failed, &page->logins_delayed);
    moat_cancel_counts(workers->shared.moat, &page->cancels_missed, &page->cancels_dropped);
    page->listeners = acceptor_report(workers->acceptor, &page->listener_count);
    page->client_limit = workers->config->settings.max_client_conn;
    page->workers = workers->count;
    page->is_shutting_down = atomic_load(&workers->shared.shutdown) != SHUTDOWN_NO;
    page->uptime = clock_monotonic() - workers->start_time;
    page->started = (clock_realtime() - page->uptime) / USEC_PER_SEC;
    page->log_dropped = log_dropped();
    page->audit_dropped = audit_dropped();
    page->config = config_acquire(workers->config);
}

static void fail(struct page *page, int status, const char *why)
{
    page->status = status;
    bytes_clear(&page->out);
    bytes_format(&page->out, "%s\n", why);
    end_page(page);
}

static void make_page(struct page *page)
{
    struct workers *workers = page->endpoint->workers;
    gather(page);
    page->job.run = run_job;
    page->job.done = job_done;
    if (!page->kind->on_helper) {
        page->kind->render(page);
        end_page(page);
    } else if (!offload_submit(workers->offload, OFFLOAD_PAGES, &page->job,
                               workers->array[0].loop)) {
        fail(page, 503, "too many pages are being made");
    }
}

static void report_done(struct report *report, void *argument)
{
    struct page *page = argument;
    page->report = report;
    if (report->failed || page->endpoint->is_closed)
        fail(page, 503, "out of memory");
    else
        make_page(page);
}

bool endpoint_start_page(struct connection *connection, const struct page_kind *kind)
{
    struct endpoint *endpoint = connection->endpoint;
    struct workers *workers = endpoint->workers;
    struct page *page = memory_zalloc(sizeof(*page));
    if (!page)
        return false;
    page->endpoint = endpoint;
    page->connection = connection;
    page->kind = kind;
    page->status = 200;
    bytes_init(&page->out, PAGE_SIZE_MAX);
    endpoint->users++;
    connection->page = page;
    if (!kind->needs_report)
        make_page(page);
    else if (!report_start(workers, workers->array[0].loop, kind->report, report_done, page))
        fail(page, 503, "out of memory");
    return true;
}

/* ---- listening ---- */

static void accepted(void *argument, int fd, const struct address *peer, struct listener *listener)
{
    struct endpoint *endpoint = argument;
    (void)peer;
    (void)listener;
    if (endpoint->connection_count >= ENDPOINT_CONNECTIONS_MAX ||
        !connection_open(endpoint, fd)) /* which takes it over */
        close(fd);
}

static bool listen_on(struct endpoint *endpoint, const char *word, struct error *error)
{
    struct workers *workers = endpoint->workers;
    const struct listener_settings how = {.backlog = 64, .unix_mode = -1};
    struct address addresses[4];
    char text[ADDRESS_TEXT_MAX];
    int count = listener_addresses(word, workers->config->settings.http_port, addresses, 4, error);
    if (count <= 0)
        return false;
    for (int i = 0; i < count; i++) {
        if (endpoint->listener_count == LISTENERS_MAX)
            return error_set(error, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                             "more than %d addresses in http_listen_addr", LISTENERS_MAX);
        struct listener *listener =
            listener_open(workers->array[0].loop, &addresses[i], &how, accepted, endpoint, error);
        address_text(&addresses[i], text, sizeof(text));
        if (!listener) {
            return error_prefix(error, "http: cannot listen on %s", text);
        }
        endpoint->listeners[endpoint->listener_count++] = listener;
        log_info(NULL, "listening on %s for HTTP", text);
    }
    return true;
}

static bool listen_on_all(struct endpoint *endpoint, struct error *error)
{
    char word[256];
    for (const char *at = endpoint->workers->config->settings.http_listen_addr; *at;) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ", \t");
        if (size > 0 && size < sizeof(word)) {
            snprintf(word, sizeof(word), "%.*s", (int)size, at);
            if (!listen_on(endpoint, word, error))
                return false;
        }
        at += size;
    }
    if (endpoint->listener_count == 0)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "http_port is set, and http_listen_addr names no address");
    return true;
}

bool endpoint_open(struct workers *workers, struct endpoint **opened, struct error *error)
{
    *opened = NULL;
    if (workers->config->settings.http_port == 0)
        return true;
    struct endpoint *endpoint = memory_zalloc(sizeof(*endpoint));
    if (!endpoint)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    endpoint->workers = workers;
    endpoint->users = 1;
    TAILQ_INIT(&endpoint->connections);
    deadline_list_init(&endpoint->deadlines, workers->array[0].loop, connection_expired, endpoint);
    status_page_policy(endpoint->policy, sizeof(endpoint->policy));
    if (!listen_on_all(endpoint, error)) {
        endpoint_close(endpoint);
        return false;
    }
    *opened = endpoint;
    return true;
}

void endpoint_close(struct endpoint *endpoint)
{
    struct connection *connection;
    if (!endpoint)
        return;
    endpoint->is_closed = true;
    for (int i = 0; i < endpoint->listener_count; i++)
        listener_close(endpoint->listeners[i]);
    while ((connection = TAILQ_FIRST(&endpoint->connections)))
        connection_close(connection);
    deadline_list_finish(&endpoint->deadlines);
    endpoint_leave(endpoint);
}
