/* What pgweir says of itself: its threads, the errors that it and its servers gave, and why a
 * client waits. Filled in by each worker of its own, and merged. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "report_private.h"
#include "worker_private.h"

/* -- one worker's part
 * -----------------------------------------------------------------------------------------------------------
 */

static void fill_worker(struct report_part *part)
{
    const struct worker *worker = part->worker;
    const struct loop *loop = worker->loop;
    part->row = (struct report_worker){
        .clients = worker->clients.count,
        .buffers_lent = loop->buffers.lent_count,
        .buffers_free = loop->buffers.free_count,
        .turns = loop->turns,
        .idle_wakeups = loop->idle_wakeups,
        .servers_opened = worker->servers.opened,
        .servers_moved_in = worker->servers.moves,
        .lag = loop_now(loop) - part->asked_at,
        .statement_bytes = worker->clients.statements.bytes,
    };
    const struct server *server;
    TAILQ_FOREACH (server, &worker->servers.servers, link)
        part->row.servers++;
}

static void fill_errors(struct report_part *part)
{
    part->client_errors = memory_dup(&part->worker->clients.errors, sizeof(struct tally));
    part->server_errors = memory_dup(&part->worker->servers.errors, sizeof(struct tally));
    part->failed = !part->client_errors || !part->server_errors;
}

static int64_t since(const struct report_part *part, usec_t start)
{
    return start > 0 ? loop_now(part->worker->loop) - start : 0;
}

static void fill_subject(struct report_part *part, uint64_t id)
{
    struct report_subject *subject = &part->subject;
    const struct client *client;
    TAILQ_FOREACH (client, &part->worker->clients.clients, link)
        if (client->id == id && client->state >= CLIENT_WELCOME && client->state != CLIENT_CLOSED)
            break;
    if (!client)
        return;
    subject->is_found = true;
    subject->id = id;
    snprintf(subject->state, sizeof(subject->state), "%s", client_state_name(client->state));
    snprintf(subject->user, sizeof(subject->user), "%s", client->user_name);
    snprintf(subject->database, sizeof(subject->database), "%s", client->database_name);
    subject->query = client->is_in_request ? since(part, client->query_start) : 0;
    subject->server_id = client->server ? client->server->id : 0;
    subject->pool = client->pool ? pool_acquire_reference(client->pool) : NULL;
    if (!report_is_waiting(client))
        return;
    subject->wait_start = report_wait_start(client);
    subject->wait = since(part, subject->wait_start);
}

static struct report_holder *add_holder(struct report_part *part)
{
    if (part->holder_count == part->holder_capacity) {
        size_t capacity = part->holder_capacity ? part->holder_capacity * 2 : 16;
        struct report_holder *holders =
            memory_resize_array(part->holders, capacity, sizeof(*holders));
        if (!holders) {
            part->failed = true;
            return NULL;
        }
        part->holders = holders;
        part->holder_capacity = capacity;
    }
    struct report_holder *holder = &part->holders[part->holder_count++];
    memset(holder, 0, sizeof(*holder));
    return holder;
}

/* Who has the server; a client unless one is being cleared up. */
static const struct client *client_of(const struct report_part *part, const struct server *server)
{
    const struct client *client;
    if (!server->owner || server->state != SERVER_ACTIVE)
        return NULL;
    TAILQ_FOREACH (client, &part->worker->clients.clients, link)
        if (client->server == server)
            return client;
    return NULL;
}

static void put_holder(struct report_part *part, const struct server *server)
{
    struct report_holder *holder = add_holder(part);
    if (!holder)
        return;
    const struct client *client = client_of(part, server);
    holder->server_id = server->id;
    holder->remote_pid = (int)server->process;
    snprintf(holder->state, sizeof(holder->state), "%s", server_state_name(server->state));
    if (!client)
        return;
    const struct parameter_names *names = part->worker->clients.shared->parameter_names;
    const char *name =
        wanted_parameters_get(&client->wanted, parameter_slot(names, "application_name"));
    holder->client_id = client->id;
    snprintf(holder->user, sizeof(holder->user), "%s", client->user_name);
    snprintf(holder->application_name, sizeof(holder->application_name), "%s", name ? name : "");
    holder->is_in_transaction = client->is_in_transaction;
    holder->query = client->is_in_request ? since(part, client->query_start) : 0;
    holder->xact =
        client->is_in_transaction || client->is_in_request ? since(part, client->xact_start) : 0;
}

static void fill_holders(struct report_part *part, const struct report_subject *subject)
{
    const struct client *client;
    const struct server *server;
    TAILQ_FOREACH (server, &part->worker->servers.servers, link)
        if (server->member.pool == subject->pool && server->state != SERVER_CLOSED)
            put_holder(part, server);
    TAILQ_FOREACH (client, &part->worker->clients.clients, link)
        if (client->pool == subject->pool && report_is_waiting(client) &&
            report_wait_start(client) < subject->wait_start)
            part->waiting_before++;
}

void report_inside(struct report_part *part, const struct report *report)
{
    switch (report->kind) {
    case REPORT_WORKERS:
        fill_worker(part);
        break;
    case REPORT_ERRORS:
        fill_errors(part);
        break;
    case REPORT_CLIENT:
        fill_subject(part, report->subject.id);
        break;
    case REPORT_HOLDERS:
        fill_holders(part, &report->subject);
        break;
    default:
        break;
    }
}

/* -- the merge
 * ------------------------------------------------------------------------------------------------------------------
 */

static void merge_workers(struct report *report, const struct report_part *parts, int count)
{
    report->workers_rows = memory_zalloc_array((size_t)count, sizeof(*report->workers_rows));
    report->failed = !report->workers_rows;
    report->count = (size_t)count;
    for (int i = 0; report->workers_rows && i < count; i++)
        report->workers_rows[i] = parts[i].row;
}

static void merge_errors(struct report *report, const struct report_part *parts, int count)
{
    report->client_errors = memory_zalloc(sizeof(struct tally));
    report->server_errors = memory_zalloc(sizeof(struct tally));
    report->failed = !report->client_errors || !report->server_errors;
    for (int i = 0; !report->failed && i < count; i++) {
        tally_merge(report->client_errors, parts[i].client_errors);
        tally_merge(report->server_errors, parts[i].server_errors);
    }
}

static void merge_subject(struct report *report, const struct report_part *parts, int count)
{
    for (int i = 0; i < count; i++) {
        if (!parts[i].subject.is_found)
            continue;
        report->subject = parts[i].subject;
        if (report->subject.pool)
            pool_acquire_reference(report->subject.pool);
        return;
    }
}

static void merge_holders(struct report *report, const struct report_part *parts, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].holder_count;
    report->holders = memory_zalloc_array(total + 1, sizeof(*report->holders));
    report->failed = !report->holders;
    for (int i = 0; report->holders && i < count; i++) {
        if (parts[i].holder_count > 0)
            memcpy(report->holders + report->count, parts[i].holders,
                   parts[i].holder_count * sizeof(*report->holders));
        report->count += parts[i].holder_count;
        report->waiting_before += parts[i].waiting_before;
    }
}

void report_inside_merge(struct report *report, const struct report_part *parts, int count)
{
    switch (report->kind) {
    case REPORT_WORKERS:
        merge_workers(report, parts, count);
        break;
    case REPORT_ERRORS:
        merge_errors(report, parts, count);
        break;
    case REPORT_CLIENT:
        merge_subject(report, parts, count);
        break;
    case REPORT_HOLDERS:
        merge_holders(report, parts, count);
        break;
    default:
        break;
    }
}

void report_inside_finish(struct report_part *part)
{
    if (part->subject.pool)
        pool_release_reference(part->subject.pool);
    memory_free(part->client_errors);
    memory_free(part->server_errors);
    memory_free(part->holders);
}
