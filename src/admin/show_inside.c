/* SHOW MEM, DNS_HOSTS, DNS_ZONES, PEERS, PEER_POOLS. */
#include <stdio.h>
#include <string.h>

#include "config/peers.h"
#include "show.h"

/* -- memory
 * -----------------------------------------------------------------------------------------------------------------
 */

/* PgBouncer's object caches, as far as there is something like them here; buffers are the only ones
 * that are kept when they are free. */
static void memory_row(struct bytes *out, const char *name, size_t size, int used, int free)
{
    size_t row = data_row_begin(out, 5);
    cell_text(out, name);
    cell_unsigned(out, size);
    cell_int(out, used);
    cell_int(out, free);
    cell_unsigned(out, size * (size_t)(used + free));
    data_row_end(out, row);
}

static void write_memory(struct console_session *session, const struct report *report,
                         struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("name"), COLUMN_INT("size"),
                                            COLUMN_INT("used"), COLUMN_INT("free"),
                                            COLUMN_INT("memtotal")};
    int databases = 0, users = 0, servers = report->free_servers + report->used_servers;
    config_counts(session->client->set->config, &databases, &users);
    build_row_description(out, columns, COLUMN_COUNT(columns));
    memory_row(out, "user_cache", sizeof(struct user_entry), users, 0);
    memory_row(out, "credentials_cache", sizeof(struct auth_secret), users, 0);
    memory_row(out, "db_cache", sizeof(struct database_entry), databases, 0);
    memory_row(out, "peer_cache", sizeof(struct database_entry), 0, 0);
    memory_row(out, "peer_pool_cache", sizeof(struct pool), 0, 0);
    memory_row(out, "pool_cache",
               sizeof(struct pool) + sizeof(struct pool_shard) * (size_t)session->workers->count,
               registry_count(session->workers->shared.registry), 0);
    memory_row(out, "outstanding_request_cache", sizeof(struct ledger_entry), 0, 0);
    memory_row(out, "server_cache", sizeof(struct server), servers, 0);
    memory_row(out, "client_cache", sizeof(struct client), report->used_clients, 0);
    memory_row(out, "iobuf_cache", BUFFER_SIZE, report->buffers_lent, report->buffers_free);
    memory_row(out, "var_list_cache", sizeof(struct server_parameters), servers, 0);
    memory_row(out, "server_prepared_statement_cache", sizeof(struct server_statement),
               report->server_statements, 0);
}

/* -- names
 * ------------------------------------------------------------------------------------------------------------------
 */

static void write_host(void *argument, const char *host, usec_t ttl,
                       const struct address *addresses, int count)
{
    struct bytes *out = argument;
    char list[RESOLVER_ADDRESSES_MAX * (ADDRESS_TEXT_MAX + 1)] = "", text[ADDRESS_TEXT_MAX];
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        address_text(&addresses[i], text, sizeof(text));
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? "," : "", text);
    }
    size_t row = data_row_begin(out, 3);
    cell_text(out, host);
    cell_int(out, ttl > 0 ? ttl / USEC_PER_SEC : 0);
    cell_text(out, list);
    data_row_end(out, row);
}

static void write_hosts(struct console_session *session, const struct report *report,
                        struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("hostname"), COLUMN_BIGINT("ttl"),
                                            COLUMN_TEXT("addrs")};
    (void)report;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    resolver_visit(session->workers->resolver, clock_monotonic(), write_host, out);
}

static void write_zone(void *argument, const char *zone, uint32_t serial, int count)
{
    struct bytes *out = argument;
    size_t row = data_row_begin(out, 3);
    cell_text(out, zone);
    cell_int(out, serial);
    cell_int(out, count);
    data_row_end(out, row);
}

static void write_zones(struct console_session *session, const struct report *report,
                        struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("zonename"), COLUMN_BIGINT("serial"),
                                            COLUMN_INT("count")};
    (void)report;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    resolver_visit_zones(session->workers->resolver, write_zone, out);
}

/* -- peers
 * ---------------------------------------------------------------------------
 */

static void write_peer(struct peer_entry *peer, void *argument)
{
    struct table_writer *writer = argument;
    const struct config *config = writer->session->client->set->config;
    char hosts[1024] = "";
    size_t used = 0;
    for (int i = 0; i < CONFIG_HOSTS_MAX && peer->hosts[i] && used < sizeof(hosts); i++)
        used += (size_t)snprintf(hosts + used, sizeof(hosts) - used, "%s%s", i ? "," : "",
                                 peer->hosts[i]);
    size_t row = data_row_begin(writer->out, writer->columns);
    cell_int(writer->out, peer->id);
    cell_text(writer->out, hosts);
    cell_int(writer->out, peer->port);
    cell_int(writer->out, config_peer_pool_size(config, peer));
    data_row_end(writer->out, row);
}

static void write_peers(struct console_session *session, const struct report *report,
                        struct bytes *out)
{
    static const struct column columns[] = {COLUMN_INT("peer_id"), COLUMN_TEXT("host"),
                                            COLUMN_INT("port"), COLUMN_INT("pool_size")};
    (void)report;
    struct table_writer writer = {session, out, COLUMN_COUNT(columns)};
    build_row_description(out, columns, COLUMN_COUNT(columns));
    config_each_peer(session->client->set->config, write_peer, &writer);
}

static void write_peer_pool(struct peer_entry *peer, void *argument)
{
    struct table_writer *writer = argument;
    int waiting = atomic_load_explicit(&peer->waiting, memory_order_relaxed);
    int opening = atomic_load_explicit(&peer->opening, memory_order_relaxed);
    int sent = atomic_load_explicit(&peer->sent, memory_order_relaxed);
    if (peer->id == writer->session->client->set->config->settings.peer_id)
        return; /* its own */
    size_t row = data_row_begin(writer->out, writer->columns);
    cell_int(writer->out, peer->id);
    cell_int(writer->out, sent);
    cell_int(writer->out, waiting + opening);
    cell_int(writer->out, sent);
    cell_int(writer->out, opening);
    data_row_end(writer->out, row);
}

static void write_peer_pools(struct console_session *session, const struct report *report,
                             struct bytes *out)
{
    static const struct column columns[] = {COLUMN_INT("peer_id"),
                                            COLUMN_INT("cl_active_cancel_req"),
                                            COLUMN_INT("cl_waiting_cancel_req"),
                                            COLUMN_INT("sv_active_cancel"), COLUMN_INT("sv_login")};
    (void)report;
    struct table_writer writer = {session, out, COLUMN_COUNT(columns)};
    build_row_description(out, columns, COLUMN_COUNT(columns));
    config_each_peer(session->client->set->config, write_peer_pool, &writer);
}

const struct show show_inside[] = {
    {.word = "MEM", .needs_report = true, .kind = REPORT_LISTS, .write = write_memory},
    {.word = "DNS_HOSTS", .write = write_hosts},
    {.word = "DNS_ZONES", .write = write_zones},
    {.word = "PEERS", .write = write_peers},
    {.word = "PEER_POOLS", .write = write_peer_pools},
    {.word = NULL},
};
