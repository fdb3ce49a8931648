/* /healthz and /readyz: one status code for a balancer, and for people why. */
#include "page.h"

/* It is rendered when every worker has answered: the loops turn. */
void health_render(struct page *page)
{
    bytes_text(&page->out, "ok\n");
}

/* A pool that nobody has used yet says nothing about its database, and makes nobody wait. */
void ready_render(struct page *page)
{
    const struct report *report = page->report;
    if (page->is_shutting_down) {
        page->status = 503;
        bytes_text(&page->out, "draining: the daemon is shutting down\n");
    }
    for (size_t i = 0; i < report->count; i++) {
        const struct report_pool *pool = &report->pools[i];
        if (pool->failure[0] == '\0')
            continue;
        page->status = 503;
        bytes_format(&page->out, "%s (user %s): no server: %s\n", pool->database, pool->user,
                     pool->failure);
    }
    if (page->status == 200)
        bytes_text(&page->out, "ok\n");
}
