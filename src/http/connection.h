/* connection: one HTTP connection to the endpoint, and its request. Worker 0's thread. */
#pragma once
#include <sys/queue.h>

#include "http/head.h"
#include "net/stream.h"
#include "page.h"

#define POLICY_SIZE_MAX 512

TAILQ_HEAD(connections, connection);

struct endpoint {
    struct workers *workers;
    struct listener *listeners[8];
    int listener_count;
    struct connections connections;
    int connection_count;
    struct deadline_list deadlines;
    char policy[POLICY_SIZE_MAX];
    int users; /* itself, its connections, its pages: the last one frees */
    bool is_closed;
};

struct connection {
    struct endpoint *endpoint;
    struct stream stream;
    TAILQ_ENTRY(connection) link;
    struct deadline deadline;
    struct loop_task free_task;
    struct page *page; /* being made; NULL: none */
    bool keep_alive, is_head_only, is_closed;
};

/* Takes `fd` over. False: no memory (fd is the caller's still). */
bool connection_open(struct endpoint *endpoint, int fd);
void connection_close(struct connection *connection);
/* The page is ready: writes it. */
void connection_answer(struct connection *connection, const struct page *page);
void connection_expired(struct deadline *deadline, struct deadline_list *list);

/* endpoint: the page of this path, or NULL. */
const struct page_kind *endpoint_page(struct span path);
/* Starts making it; connection_answer follows, perhaps at once. False: no memory. */
bool endpoint_start_page(struct connection *connection, const struct page_kind *kind);
/* One user less. */
void endpoint_leave(struct endpoint *endpoint);
