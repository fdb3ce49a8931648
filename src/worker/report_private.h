/* What report and report_connections share: one worker's part of a report. */
#pragma once
#include "worker/report.h"

struct report_of;

/* What one worker says. Filled in on its thread. */
struct report_part {
    struct mail mail;
    struct report_of *of;
    struct workers *workers;
    struct worker *worker;
    struct report_connection *connections;
    size_t count, capacity;
    struct report_listener *listeners; /* worker 0 */
    size_t listener_count;
    struct report_pool *pools; /* in the order of `of->pools` */
    int used_clients, free_servers, used_servers, server_statements;
    int buffers_lent, buffers_free;
    usec_t asked_at; /* on the monotonic clock */
    struct report_worker row;
    struct tally *client_errors, *server_errors;
    struct report_subject subject;
    struct report_holder *holders;
    size_t holder_count, holder_capacity;
    int waiting_before;
    bool failed;
};

/* For a server, or for its pool's first one. */
static inline bool report_is_waiting(const struct client *client)
{
    return client->state == CLIENT_WAITING || client->state == CLIENT_WELCOME;
}
static inline usec_t report_wait_start(const struct client *client)
{
    return client->state == CLIENT_WELCOME ? client->connect_time : client->wait_start;
}

/* Adds the rows of this worker's clients, servers, or both (and of the listening sockets, which are
 * worker 0's). */
void report_connections(struct report_part *part, enum report_kind kind);

/* report_inside: what SHOW WORKERS, ERRORS and WHY are made of. */
void report_inside(struct report_part *part, const struct report *report);
void report_inside_merge(struct report *report, const struct report_part *parts, int count);
void report_inside_finish(struct report_part *part);
