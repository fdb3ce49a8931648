/* page: one answer in the making, from its request to the bytes that go out.
 *
 * Owned by the endpoint; a connection that closes meanwhile leaves it (`connection` is NULL then),
 * and it ends when its report or its helper is done.
 */
#pragma once
#include "base/bytes.h"
#include "http/endpoint.h"
#include "net/offload.h"
#include "worker/report.h"

#define PAGE_SIZE_MAX (16 * 1024 * 1024)

struct connection;
struct page;

/* How a page is made. `report`: what has to be asked first; `render` runs on a helper thread if
 * `on_helper`, and sees what page_gather() has copied. */
struct page_kind {
    const char *path;
    const char *content_type;
    bool needs_report;
    enum report_kind report;
    bool on_helper;
    void (*render)(struct page *page);
    bool is_public; /* says nothing that a token protects */
};

struct page {
    struct offload_job job;
    struct endpoint *endpoint;
    struct connection *connection;
    const struct page_kind *kind;
    struct report *report; /* NULL: none was needed */
    struct bytes out;      /* the body */
    int status;
    /* Of the moment at which the report was complete; for what is no row of it. */
    int clients_logged_in, clients_logging_in, workers, client_limit;
    uint64_t login_verdicts[MOAT_VERDICTS];
    struct report_listener *listeners; /* NULL: no memory */
    size_t listener_count;
    uint64_t cancels_missed, cancels_dropped, logins_failed, logins_delayed;
    bool is_shutting_down;
    int64_t uptime;                      /* microseconds */
    int64_t started;                     /* seconds since 1970 */
    uint64_t log_dropped, audit_dropped; /* lines */
    const struct config *config;         /* a reference */
};

void metrics_render(struct page *page);
void health_render(struct page *page);
void ready_render(struct page *page);
void status_json_render(struct page *page);
void status_page_render(struct page *page);

/* The Content-Security-Policy of the status page: the hashes of its style and script. Made once. */
void status_page_policy(char *policy, size_t size);
