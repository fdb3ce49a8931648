#include "worker/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "report_private.h"
#include "worker_private.h"

/* Where a pool stands in the report; ordered by address, so that a row is found fast. */
struct pool_place {
    const struct pool *pool;
    size_t row;
};

struct report_of {
    struct report report; /* first: what report_start returned */
    struct mail mail;
    struct pool **pools; /* a reference each */
    struct pool_place *places;
    size_t pool_count;
    _Atomic int left;
    struct report_part parts[];
};

/* -- pools
 * ------------------------------------------------------------------------------------------------------------------
 */

static int compare_places(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)((const struct pool_place *)a)->pool;
    uintptr_t right = (uintptr_t)((const struct pool_place *)b)->pool;
    return (left > right) - (left < right);
}

/* A connection that listens for the clients of a pool is seen among the servers, and is no row of
 * its own: there is one of that database and user. */
static void drop_listen_pools(struct report_of *of)
{
    size_t kept = 0;
    for (size_t i = 0; i < of->pool_count; i++)
        if (of->pools[i]->purpose != POOL_OF_LISTENERS)
            of->pools[kept++] = of->pools[i];
        else
            pool_release_reference(of->pools[i]);
    of->pool_count = kept;
}

/* False: no memory. */
static bool take_pools(struct report_of *of, struct registry *registry)
{
    of->pools = registry_list(registry, &of->pool_count);
    if (!of->pools)
        return registry_count(registry) == 0;
    of->places = memory_zalloc_array(of->pool_count + 1, sizeof(*of->places));
    if (!of->places)
        return false;
    drop_listen_pools(of);
    for (size_t i = 0; i < of->pool_count; i++)
        of->places[i] = (struct pool_place){of->pools[i], i};
    qsort(of->places, of->pool_count, sizeof(*of->places), compare_places);
    return true;
}

static struct report_pool *row_of(struct report_part *part, const struct pool *pool)
{
    const struct report_of *of = part->of;
    const struct pool_place wanted = {.pool = pool};
    const struct pool_place *place =
        of->pool_count > 0
            ? bsearch(&wanted, of->places, of->pool_count, sizeof(wanted), compare_places)
            : NULL;
    return place ? &part->pools[place->row] : NULL;
}

static void count_client(struct report_part *part, const struct client *client)
{
    struct report_pool *row = client->pool ? row_of(part, client->pool) : NULL;
    if (!row || client->state < CLIENT_WELCOME || client->state >= CLIENT_CONSOLE)
        return;
    if (!report_is_waiting(client)) {
        row->clients_active++;
        return;
    }
    usec_t wait = loop_now(part->worker->loop) - report_wait_start(client);
    row->clients_waiting++;
    if (wait > row->max_wait)
        row->max_wait = wait;
}

static void count_server(struct report_part *part, const struct server *server)
{
    struct report_pool *row = row_of(part, server->member.pool);
    if (!row)
        return;
    switch (server->state) {
    case SERVER_CONNECTING:
    case SERVER_LOGIN:
        row->servers_login++;
        break;
    case SERVER_IDLE:
        *(server_is_stale(server) ? &row->servers_used : &row->servers_idle) += 1;
        break;
    case SERVER_ACTIVE:
        row->servers_active++;
        break;
    case SERVER_TESTED:
    case SERVER_RECOVERING:
        row->servers_tested++;
        break;
    case SERVER_CANCELING:
        row->servers_being_canceled++;
        break;
    case SERVER_MOVING:
    case SERVER_CLOSING:
    case SERVER_CLOSED:
        break;
    }
}

static void fill_pools(struct report_part *part)
{
    struct report_of *of = part->of;
    struct client *client;
    struct server *server;
    part->pools = memory_zalloc_array(of->pool_count + 1, sizeof(*part->pools));
    if (!part->pools) {
        part->failed = true;
        return;
    }
    for (size_t i = 0; i < of->pool_count; i++)
        part->pools[i].stats = *pool_stats(of->pools[i], part->worker->index);
    TAILQ_FOREACH (client, &part->worker->clients.clients, link)
        count_client(part, client);
    TAILQ_FOREACH (server, &part->worker->servers.servers, link)
        count_server(part, server);
}

static void count_things(struct report_part *part)
{
    const struct worker *worker = part->worker;
    const struct server *server;
    part->used_clients = worker->clients.count;
    part->buffers_lent = worker->loop->buffers.lent_count;
    part->buffers_free = worker->loop->buffers.free_count;
    TAILQ_FOREACH (server, &worker->servers.servers, link) {
        *(server->state == SERVER_IDLE ? &part->free_servers : &part->used_servers) += 1;
        part->server_statements += server->statements.count;
    }
}

static void fill(struct report_part *part)
{
    switch (part->of->report.kind) {
    case REPORT_CLIENTS:
    case REPORT_SERVERS:
    case REPORT_SOCKETS:
        report_connections(part, part->of->report.kind);
        break;
    case REPORT_POOLS:
    case REPORT_STATS:
        fill_pools(part);
        break;
    case REPORT_WORKERS:
    case REPORT_ERRORS:
    case REPORT_CLIENT:
    case REPORT_HOLDERS:
        report_inside(part, &part->of->report);
        break;
    case REPORT_LISTENERS:
        if (part->worker->index == 0)
            part->listeners = acceptor_report(part->workers->acceptor, &part->listener_count);
        break;
    case REPORT_LISTS:
    case REPORT_DATABASES:
        count_things(part);
        break;
    }
}

/* -- the merge
 * --------------------------------------------------------------------------------------------------------------
 */

static void merge_connections(struct report_of *of, int workers)
{
    struct report *report = &of->report;
    size_t count = 0;
    for (int i = 0; i < workers; i++)
        count += of->parts[i].count;
    report->connections = memory_zalloc_array(count + 1, sizeof(*report->connections));
    if (!report->connections) {
        report->failed = true;
        return;
    }
    for (int i = 0; i < workers; i++) {
        struct report_part *part = &of->parts[i];
        if (part->count > 0)
            memcpy(report->connections + report->count, part->connections,
                   part->count * sizeof(*part->connections));
        report->count += part->count;
    }
}

static void add_pool(struct report_pool *sum, const struct report_pool *part)
{
    sum->clients_active += part->clients_active;
    sum->clients_waiting += part->clients_waiting;
    sum->servers_active += part->servers_active;
    sum->servers_being_canceled += part->servers_being_canceled;
    sum->servers_idle += part->servers_idle;
    sum->servers_used += part->servers_used;
    sum->servers_tested += part->servers_tested;
    sum->servers_login += part->servers_login;
    if (part->max_wait > sum->max_wait)
        sum->max_wait = part->max_wait;
    stats_add(&sum->stats, &part->stats);
}

static void put_pool_facts(struct report_pool *row, struct pool *pool)
{
    struct user_entry *user = pool_user_acquire(pool);
    struct effective effective;
    struct error error;
    row->user_is_configured = user != NULL;
    user_release(user);
    pool_effective(pool, &effective);
    row->size_limit = effective.pool_size;
    if (pool_is_failing(pool, &error))
        snprintf(row->failure, sizeof(row->failure), "%s", error.message);
}

static void merge_pools(struct report_of *of, int workers)
{
    struct report *report = &of->report;
    report->pools = memory_zalloc_array(of->pool_count + 1, sizeof(*report->pools));
    if (!report->pools) {
        report->failed = true;
        return;
    }
    report->count = of->pool_count;
    for (size_t i = 0; i < of->pool_count; i++) {
        struct report_pool *row = &report->pools[i];
        struct pool *pool = of->pools[i];
        struct database_entry *database = pool_database_acquire(pool);
        snprintf(row->database, sizeof(row->database), "%s", pool->key);
        snprintf(row->user, sizeof(row->user), "%s", pool->user_name);
        row->mode = (enum pool_mode)atomic_load(&pool->pool_mode);
        if (database->host_count > 1)
            row->load_balance_hosts =
                database->load_balance_hosts == LOAD_BALANCE_DISABLE ? "disable" : "round-robin";
        row->database_is_configured = !database->is_auto;
        database_release(database);
        put_pool_facts(row, pool);
        for (int w = 0; w < workers; w++)
            add_pool(row, &of->parts[w].pools[i]);
    }
}

/* They are all worker 0's. */
static void take_listeners(struct report_of *of)
{
    of->report.listeners = of->parts[0].listeners;
    of->report.count = of->parts[0].listener_count;
    of->report.failed = of->report.listeners == NULL;
}

static void merge(struct report_of *of)
{
    struct report *report = &of->report;
    int workers = report->workers->count;
    for (int i = 0; i < workers; i++) {
        report->failed = report->failed || of->parts[i].failed;
        report->used_clients += of->parts[i].used_clients;
        report->free_servers += of->parts[i].free_servers;
        report->used_servers += of->parts[i].used_servers;
        report->server_statements += of->parts[i].server_statements;
        report->buffers_lent += of->parts[i].buffers_lent;
        report->buffers_free += of->parts[i].buffers_free;
    }
    if (!report->failed)
        report_inside_merge(report, of->parts, workers);
    report->login_clients = client_counts_logging_in_now(report->workers->shared.counts);
    if (report->failed)
        return;
    if (report->kind == REPORT_CLIENTS || report->kind == REPORT_SERVERS ||
        report->kind == REPORT_SOCKETS)
        merge_connections(of, workers);
    else if (report->kind == REPORT_LISTENERS)
        take_listeners(of);
    else if (report->kind == REPORT_POOLS || report->kind == REPORT_STATS)
        merge_pools(of, workers);
}

static void complete(struct mail *mail, struct loop *loop)
{
    struct report_of *of = (struct report_of *)((char *)mail - offsetof(struct report_of, mail));
    (void)loop;
    merge(of);
    of->report.done(&of->report, of->report.argument);
}

static void answer(struct mail *mail, struct loop *loop)
{
    struct report_part *part =
        (struct report_part *)((char *)mail - offsetof(struct report_part, mail));
    struct report_of *of = part->of;
    (void)loop;
    if (!of->report.failed)
        fill(part);
    if (atomic_fetch_sub(&of->left, 1) == 1) {
        of->mail.deliver = complete;
        loop_post(of->report.loop, &of->mail);
    }
}

struct report *report_start(struct workers *workers, struct loop *loop, enum report_kind kind,
                            void (*done)(struct report *, void *), void *argument)
{
    return report_ask(workers, loop, kind, NULL, done, argument);
}

struct report *report_ask(struct workers *workers, struct loop *loop, enum report_kind kind,
                          const struct report_question *question,
                          void (*done)(struct report *, void *), void *argument)
{
    size_t count = (size_t)workers->count;
    struct report_of *of = memory_zalloc(sizeof(*of) + count * sizeof(of->parts[0]));
    if (!of)
        return NULL;
    of->report = (struct report){
        .kind = kind, .workers = workers, .loop = loop, .done = done, .argument = argument};
    if (kind == REPORT_POOLS || kind == REPORT_STATS)
        of->report.failed = !take_pools(of, workers->shared.registry);
    if (question)
        of->report.subject = question->subject ? *question->subject
                                               : (struct report_subject){.id = question->client_id};
    if (of->report.subject.pool)
        pool_acquire_reference(of->report.subject.pool);
    atomic_store(&of->left, workers->count);
    for (int i = 0; i < workers->count; i++) {
        struct report_part *part = &of->parts[i];
        *part = (struct report_part){.of = of,
                                     .workers = workers,
                                     .worker = &workers->array[i],
                                     .asked_at = clock_monotonic(),
                                     .mail.deliver = answer};
        loop_post(workers->array[i].loop, &part->mail);
    }
    return &of->report;
}

void report_destroy(struct report *report)
{
    struct report_of *of = (struct report_of *)report;
    for (int i = 0; i < report->workers->count; i++) {
        memory_free(of->parts[i].connections);
        memory_free(of->parts[i].pools);
        memory_free(of->parts[i].listeners);
        report_inside_finish(&of->parts[i]);
    }
    if (report->subject.pool)
        pool_release_reference(report->subject.pool);
    memory_free(report->workers_rows);
    memory_free(report->client_errors);
    memory_free(report->server_errors);
    memory_free(report->holders);
    for (size_t i = 0; i < of->pool_count; i++)
        pool_release_reference(of->pools[i]);
    memory_free(of->pools);
    memory_free(of->places);
    memory_free(report->connections);
    memory_free(report->pools);
    memory_free(of);
}
