#include "worker/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "wire/answer.h"
#include "worker_private.h"

/* What one worker says. Filled in on its thread. */
struct part {
    struct mail mail;
    struct report_of *of;
    struct worker *worker;
    struct report_connection *connections;
    size_t count, capacity;
    struct report_pool *pools; /* in the order of `of->pools` */
    int used_clients, free_servers, used_servers;
    bool failed;
};

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
    struct part parts[];
};

/* -- connections
 * ------------------------------------------------------------------------------------------------------------
 */

static struct report_connection *add_row(struct part *part)
{
    if (part->count == part->capacity) {
        size_t capacity = part->capacity ? part->capacity * 2 : 64;
        struct report_connection *rows =
            memory_resize_array(part->connections, capacity, sizeof(*rows));
        if (!rows) {
            part->failed = true;
            return NULL;
        }
        part->connections = rows;
        part->capacity = capacity;
    }
    struct report_connection *row = &part->connections[part->count++];
    memset(row, 0, sizeof(*row));
    strcpy(row->replication, "none");
    return row;
}

static int64_t realtime_of(usec_t when)
{
    return when > 0 ? (clock_realtime() - clock_monotonic() + when) / USEC_PER_SEC : 0;
}

static void put_addresses(struct report_connection *row, const struct stream *stream,
                          const struct worker *worker, int local_default)
{
    struct address peer, local;
    (void)worker;
    if (address_of_peer(&peer, stream->fd)) {
        address_host_text(&peer, row->address, sizeof(row->address));
        row->port = address_is_local(&peer) ? local_default : address_port(&peer);
    }
    if (address_of_socket(&local, stream->fd)) {
        address_host_text(&local, row->local_address, sizeof(row->local_address));
        row->local_port = address_is_local(&local) ? local_default : address_port(&local);
    }
    stream_tls_text(stream, row->tls, sizeof(row->tls));
}

static void put_client(struct part *part, const struct client *client)
{
    struct worker *worker = part->worker;
    usec_t now = loop_now(worker->loop);
    if (client->state < CLIENT_WELCOME || client->state == CLIENT_CLOSED)
        return;
    struct report_connection *row = add_row(part);
    if (!row)
        return;
    const struct parameter_names *names = worker->clients.shared->parameter_names;
    const char *name =
        wanted_parameters_get(&client->wanted, parameter_slot(names, "application_name"));
    snprintf(row->user, sizeof(row->user), "%s", client->user_name);
    snprintf(row->database, sizeof(row->database), "%s", client->database_name);
    snprintf(row->state, sizeof(row->state), "%s", client_state_name(client->state));
    snprintf(row->application_name, sizeof(row->application_name), "%s", name ? name : "");
    put_addresses(row, &client->stream, worker, worker->clients.config->settings.listen_port);
    row->connect_time = realtime_of(client->connect_time);
    row->request_time = realtime_of(client->request_time);
    bool has_query = client->is_in_request || client->state == CLIENT_CONSOLE;
    row->wait = has_query && client->query_start > 0 ? now - client->query_start : 0;
    row->pointer = (uint64_t)(uintptr_t)client;
    row->link = (uint64_t)(uintptr_t)client->server;
    int64_t pid = 0, uid;
    if (client->stream.is_local && address_peer_credentials(client->stream.fd, &pid, &uid))
        row->remote_pid = (int)pid;
    row->prepared_statements = client->statements.count;
    row->id = client->id;
}

static void put_server(struct part *part, const struct server *server)
{
    if (server->state == SERVER_CLOSED || server->state == SERVER_CLOSING)
        return;
    struct report_connection *row = add_row(part);
    if (!row)
        return;
    const struct pool *pool = server->member.pool;
    int slot = parameter_slot(server->set->parameter_names, "application_name");
    row->is_server = true;
    snprintf(row->user, sizeof(row->user), "%s", pool->user_name);
    snprintf(row->database, sizeof(row->database), "%s", pool->key);
    snprintf(row->state, sizeof(row->state), "%s", server_state_name(server->state));
    if (server->parameters.values[slot])
        snprintf(row->application_name, sizeof(row->application_name), "%s",
                 server->parameters.values[slot]);
    if (server->stream.fd >= 0)
        put_addresses(row, &server->stream, part->worker, server->database->port);
    row->connect_time = realtime_of(server->connect_time);
    row->request_time = realtime_of(server->request_time);
    row->close_needed = !pool_member_is_current(&server->member);
    row->pointer = (uint64_t)(uintptr_t)server;
    row->link = (uint64_t)(uintptr_t)server->owner;
    row->remote_pid = (int)server->process;
    row->prepared_statements = server->statements.count;
    row->id = server->id;
}

/* -- pools
 * ------------------------------------------------------------------------------------------------------------------
 */

static int compare_places(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)((const struct pool_place *)a)->pool;
    uintptr_t right = (uintptr_t)((const struct pool_place *)b)->pool;
    return (left > right) - (left < right);
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
    for (size_t i = 0; i < of->pool_count; i++)
        of->places[i] = (struct pool_place){of->pools[i], i};
    qsort(of->places, of->pool_count, sizeof(*of->places), compare_places);
    return true;
}

static struct report_pool *row_of(struct part *part, const struct pool *pool)
{
    const struct report_of *of = part->of;
    const struct pool_place wanted = {.pool = pool};
    const struct pool_place *place =
        of->pool_count > 0
            ? bsearch(&wanted, of->places, of->pool_count, sizeof(wanted), compare_places)
            : NULL;
    return place ? &part->pools[place->row] : NULL;
}

static void count_client(struct part *part, const struct client *client)
{
    struct report_pool *row = client->pool ? row_of(part, client->pool) : NULL;
    if (!row || client->state < CLIENT_WELCOME || client->state >= CLIENT_CONSOLE)
        return;
    if (client->state != CLIENT_WAITING && client->state != CLIENT_WELCOME) {
        row->clients_active++;
        return;
    }
    usec_t since = client->state == CLIENT_WAITING ? client->wait_start : client->connect_time;
    usec_t wait = loop_now(part->worker->loop) - since;
    row->clients_waiting++;
    if (wait > row->max_wait)
        row->max_wait = wait;
}

static void count_server(struct part *part, const struct server *server)
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
        row->servers_idle++;
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

static void fill_pools(struct part *part)
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

static void fill(struct part *part)
{
    struct client *client;
    struct server *server;
    switch (part->of->report.kind) {
    case REPORT_CLIENTS:
        TAILQ_FOREACH (client, &part->worker->clients.clients, link)
            put_client(part, client);
        break;
    case REPORT_SERVERS:
        TAILQ_FOREACH (server, &part->worker->servers.servers, link)
            put_server(part, server);
        break;
    case REPORT_POOLS:
    case REPORT_STATS:
        fill_pools(part);
        break;
    case REPORT_LISTS:
    case REPORT_DATABASES:
        part->used_clients = part->worker->clients.count;
        TAILQ_FOREACH (server, &part->worker->servers.servers, link)
            *(server->state == SERVER_IDLE ? &part->free_servers : &part->used_servers) += 1;
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
        struct part *part = &of->parts[i];
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

static void merge(struct report_of *of)
{
    struct report *report = &of->report;
    int workers = report->workers->count;
    for (int i = 0; i < workers; i++) {
        report->failed = report->failed || of->parts[i].failed;
        report->used_clients += of->parts[i].used_clients;
        report->free_servers += of->parts[i].free_servers;
        report->used_servers += of->parts[i].used_servers;
    }
    report->login_clients = client_counts_logging_in_now(report->workers->shared.counts);
    if (report->failed)
        return;
    if (report->kind == REPORT_CLIENTS || report->kind == REPORT_SERVERS)
        merge_connections(of, workers);
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
    struct part *part = (struct part *)((char *)mail - offsetof(struct part, mail));
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
    size_t count = (size_t)workers->count;
    struct report_of *of = memory_zalloc(sizeof(*of) + count * sizeof(of->parts[0]));
    if (!of)
        return NULL;
    of->report = (struct report){
        .kind = kind, .workers = workers, .loop = loop, .done = done, .argument = argument};
    if (kind == REPORT_POOLS || kind == REPORT_STATS)
        of->report.failed = !take_pools(of, workers->shared.registry);
    atomic_store(&of->left, workers->count);
    for (int i = 0; i < workers->count; i++) {
        struct part *part = &of->parts[i];
        *part = (struct part){.of = of, .worker = &workers->array[i], .mail.deliver = answer};
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
    }
    for (size_t i = 0; i < of->pool_count; i++)
        pool_release_reference(of->pools[i]);
    memory_free(of->pools);
    memory_free(of->places);
    memory_free(report->connections);
    memory_free(report->pools);
    memory_free(of);
}
