/* Rows of clients, servers and sockets: of one worker, on its thread. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "config/options.h"
#include "report_private.h"
#include "worker_private.h"

static struct report_connection *add_row(struct report_part *part)
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

/* `said`: where it comes from; NULL: the socket knows. */
static void put_addresses(struct report_connection *row, const struct stream *stream,
                          const struct address *said, int local_default)
{
    struct address peer, local;
    if (said)
        peer = *said;
    if (said || address_of_peer(&peer, stream->fd)) {
        address_host_text(&peer, row->address, sizeof(row->address));
        row->port = address_is_local(&peer) ? local_default : address_port(&peer);
    }
    if (address_of_socket(&local, stream->fd)) {
        address_host_text(&local, row->local_address, sizeof(row->local_address));
        row->local_port = address_is_local(&local) ? local_default : address_port(&local);
    }
    stream_tls_text(stream, row->tls, sizeof(row->tls));
}

static void put_socket(struct report_connection *row, const struct stream *stream, uint32_t pass)
{
    row->fd = stream->fd;
    row->input_end = stream->in ? stream->in_end : 0;
    row->input_start = stream->in ? stream->in_start : 0;
    row->message_left = pass;
    row->output_start = stream->pending_first ? stream->pending_start : 0;
    row->output_bytes = stream->pending_bytes;
}

static void put_settings(struct report_connection *row, const struct parameter_names *names,
                         const struct wanted_parameters *wanted)
{
    static const char *const shown[REPORT_SETTINGS] = {
        "client_encoding", "standard_conforming_strings", "DateStyle", "TimeZone"};
    for (int i = 0; i < REPORT_SETTINGS; i++) {
        const char *value = wanted_parameters_get(wanted, parameter_slot(names, shown[i]));
        snprintf(row->settings[i], sizeof(row->settings[i]), "%s", value ? value : "");
    }
}

/* What of its session other servers can be brought to, and what keeps it on this one. */
static void put_session(struct report_connection *row, const struct client *client)
{
    const struct session_profile *profile = client->profile;
    row->session_state = client->is_session_mode && client->server
                             ? "session"
                             : session_state_name((int)client->effective.session_state);
    row->followed_settings = client->wanted.count + (profile ? profile->count : 0);
    row->followed_statements = profile ? profile->prepared_count : 0;
    session_describe(client->pins, row->pins, sizeof(row->pins));
    row->pinned_since = client->pins ? realtime_of(client->pinned_since) : 0;
    row->server_id = client->server ? client->server->id : 0;
    row->server_pid = client->server ? (int)client->server->process : 0;
}

static void put_client(struct report_part *part, const struct client *client, bool with_logins)
{
    struct worker *worker = part->worker;
    usec_t now = loop_now(worker->loop);
    bool is_logged_in = client->state >= CLIENT_WELCOME;
    if (client->state == CLIENT_CLOSED || (!is_logged_in && !with_logins))
        return;
    struct report_connection *row = add_row(part);
    if (!row)
        return;
    const struct parameter_names *names = worker->clients.shared->parameter_names;
    const char *name =
        wanted_parameters_get(&client->wanted, parameter_slot(names, "application_name"));
    snprintf(row->user, sizeof(row->user), "%s",
             client->user_name ? client->user_name : "(nouser)");
    snprintf(row->database, sizeof(row->database), "%s",
             client->database_name ? client->database_name : "(nodb)");
    snprintf(row->state, sizeof(row->state), "%s", client_state_name(client->state));
    snprintf(row->replication, sizeof(row->replication), "%s", replication_name(client));
    snprintf(row->application_name, sizeof(row->application_name), "%s", name ? name : "");
    put_addresses(row, &client_carrier(client)->stream, client_carrier(client)->real_address,
                  client->listener->port);
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
    row->link_fd = client->server ? client->server->stream.fd : 0;
    put_socket(row, &client->stream, client->pass);
    put_settings(row, names, &client->wanted);
    if (client->pool)
        put_session(row, client);
}

static void put_server(struct report_part *part, const struct server *server)
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
    if (server->is_dedicated)
        snprintf(row->replication, sizeof(row->replication), "%s",
                 server->is_physical ? "physical" : "logical");
    if (server->parameters.values[slot])
        snprintf(row->application_name, sizeof(row->application_name), "%s",
                 server->parameters.values[slot]);
    if (server->stream.fd >= 0)
        put_addresses(row, &server->stream, NULL, server->database->port);
    row->connect_time = realtime_of(server->connect_time);
    row->request_time = realtime_of(server->request_time);
    row->close_needed = !pool_member_is_current(&server->member);
    row->pointer = (uint64_t)(uintptr_t)server;
    row->link = server->is_listening ? 0 : (uint64_t)(uintptr_t)server->owner;
    row->remote_pid = (int)server->process;
    row->prepared_statements = server->statements.count;
    row->id = server->id;
    row->link_fd = server->peer ? server->peer->fd : 0;
    put_socket(row, &server->stream, server->pass);
}

static void put_listener(const struct address *address, int fd, void *argument)
{
    struct report_part *part = argument;
    struct report_connection *row = add_row(part);
    if (!row)
        return;
    row->is_listener = true;
    row->fd = fd;
    address_host_text(address, row->address, sizeof(row->address));
    row->port = address_is_local(address) ? part->worker->clients.config->settings.listen_port
                                          : address_port(address);
}

void report_connections(struct report_part *part, enum report_kind kind)
{
    const struct worker *worker = part->worker;
    const struct client *client;
    const struct server *server;
    if (kind == REPORT_SOCKETS && worker->index == 0)
        acceptor_each(part->workers->acceptor, put_listener, part);
    if (kind != REPORT_SERVERS)
        TAILQ_FOREACH (client, &worker->clients.clients, link)
            put_client(part, client, kind == REPORT_SOCKETS);
    if (kind != REPORT_CLIENTS)
        TAILQ_FOREACH (server, &worker->servers.servers, link)
            put_server(part, server);
}
