/* SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS, FDS. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "show.h"

#define CONNECTION_COLUMNS                                                                         \
    COLUMN_TEXT("type"), COLUMN_TEXT("user"), COLUMN_TEXT("database"), COLUMN_TEXT("replication"), \
        COLUMN_TEXT("state"), COLUMN_TEXT("addr"), COLUMN_INT("port"), COLUMN_TEXT("local_addr"),  \
        COLUMN_INT("local_port"), COLUMN_TEXT("connect_time"), COLUMN_TEXT("request_time"),        \
        COLUMN_INT("wait"), COLUMN_INT("wait_us"), COLUMN_INT("close_needed"), COLUMN_TEXT("ptr"), \
        COLUMN_TEXT("link"), COLUMN_INT("remote_pid"), COLUMN_TEXT("tls"),                         \
        COLUMN_TEXT("application_name"), COLUMN_INT("prepared_statements"), COLUMN_INT("id")

static const struct column columns[] = {CONNECTION_COLUMNS};
static const struct column socket_columns[] = {
    CONNECTION_COLUMNS,       COLUMN_INT("recv_pos"),   COLUMN_INT("pkt_pos"),
    COLUMN_INT("pkt_remain"), COLUMN_INT("send_pos"),   COLUMN_INT("send_remain"),
    COLUMN_INT("pkt_avail"),  COLUMN_INT("send_avail"),
};

static void cell_pointer(struct bytes *out, uint64_t pointer)
{
    char text[24] = "";
    if (pointer != 0)
        snprintf(text, sizeof(text), "0x%" PRIx64, pointer);
    cell_text(out, text);
}

static void put_cells(struct bytes *out, const struct report_connection *connection,
                      const char *state)
{
    cell_text(out, connection->is_server ? "S" : "C");
    cell_text(out, connection->user);
    cell_text(out, connection->database);
    cell_text(out, connection->replication);
    cell_text(out, state);
    cell_text(out, connection->address);
    cell_int(out, connection->port);
    cell_text(out, connection->local_address);
    cell_int(out, connection->local_port);
    cell_time(out, connection->connect_time);
    cell_time(out, connection->request_time);
    cell_int(out, connection->wait / USEC_PER_SEC);
    cell_int(out, connection->wait % USEC_PER_SEC);
    cell_int(out, connection->close_needed);
    cell_pointer(out, connection->pointer);
    cell_pointer(out, connection->link);
    cell_int(out, connection->remote_pid);
    cell_text(out, connection->tls);
    cell_text(out, connection->application_name);
    cell_int(out, connection->prepared_statements);
    cell_unsigned(out, connection->id);
}

static void write_connections(struct console_session *session, const struct report *report,
                              struct bytes *out)
{
    (void)session;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; i < report->count; i++) {
        size_t row = data_row_begin(out, COLUMN_COUNT(columns));
        put_cells(out, &report->connections[i], report->connections[i].state);
        data_row_end(out, row);
    }
}

/* PgBouncer's names of states inside: cl_active is also a client that idles. */
static const char *socket_state(const struct report_connection *connection, char *text, size_t size)
{
    const char *state = connection->state;
    if (!connection->is_server && strcmp(state, "idle") == 0)
        state = "active";
    else if (connection->is_server && strcmp(state, "new") == 0)
        state = "login";
    snprintf(text, size, "%s%s", connection->is_server ? "sv_" : "cl_", state);
    return text;
}

static void write_socket(struct bytes *out, const struct report_connection *connection)
{
    char state[40];
    size_t row = data_row_begin(out, COLUMN_COUNT(socket_columns));
    put_cells(out, connection, socket_state(connection, state, sizeof(state)));
    cell_unsigned(out, connection->input_end);
    cell_unsigned(out, connection->input_start);
    cell_unsigned(out, connection->message_left);
    cell_unsigned(out, connection->output_start);
    cell_unsigned(out, connection->output_bytes);
    cell_unsigned(out, connection->input_end - connection->input_start);
    cell_unsigned(out, connection->output_bytes);
    data_row_end(out, row);
}

static bool has_bytes(const struct report_connection *connection)
{
    return connection->input_end > connection->input_start || connection->output_bytes > 0;
}

static void write_some_sockets(const struct report *report, struct bytes *out, bool active_only)
{
    build_row_description(out, socket_columns, COLUMN_COUNT(socket_columns));
    for (size_t i = 0; i < report->count; i++)
        if (!report->connections[i].is_listener &&
            (!active_only || has_bytes(&report->connections[i])))
            write_socket(out, &report->connections[i]);
}

static void write_sockets(struct console_session *session, const struct report *report,
                          struct bytes *out)
{
    (void)session;
    write_some_sockets(report, out, false);
}

static void write_active_sockets(struct console_session *session, const struct report *report,
                                 struct bytes *out)
{
    (void)session;
    write_some_sockets(report, out, true);
}

static const struct column descriptor_columns[] = {
    COLUMN_INT("fd"),
    COLUMN_TEXT("task"),
    COLUMN_TEXT("user"),
    COLUMN_TEXT("database"),
    COLUMN_TEXT("addr"),
    COLUMN_INT("port"),
    COLUMN_BIGINT("cancel"),
    COLUMN_INT("link"),
    COLUMN_TEXT("client_encoding"),
    COLUMN_TEXT("std_strings"),
    COLUMN_TEXT("datestyle"),
    COLUMN_TEXT("timezone"),
    COLUMN_TEXT("password"),
    COLUMN_BYTES("scram_client_key"),
    COLUMN_BYTES("scram_server_key"),
};

/* Secrets (password, cancel key, SCRAM keys) are not shown (THREATS §2.13). */
static void write_descriptor(struct bytes *out, const struct report_connection *connection)
{
    bool is_listener = connection->is_listener;
    size_t row = data_row_begin(out, COLUMN_COUNT(descriptor_columns));
    cell_int(out, connection->fd);
    cell_text(out, is_listener ? "pooler" : connection->is_server ? "server" : "client");
    cell_text(out, is_listener ? NULL : connection->user);
    cell_text(out, is_listener ? NULL : connection->database);
    cell_text(out, connection->address);
    cell_int(out, connection->port);
    cell_int(out, 0);
    cell_int(out, connection->link_fd);
    for (int i = 0; i < REPORT_SETTINGS; i++)
        cell_text(out, is_listener ? NULL : connection->settings[i]);
    cell_text(out, is_listener ? NULL : "****");
    cell_text(out, NULL);
    cell_text(out, NULL);
    data_row_end(out, row);
}

static void write_descriptors(struct console_session *session, const struct report *report,
                              struct bytes *out)
{
    (void)session;
    build_row_description(out, descriptor_columns, COLUMN_COUNT(descriptor_columns));
    for (size_t i = 0; i < report->count; i++)
        if (report->connections[i].fd >= 0 && report->connections[i].tls[0] == 0)
            write_descriptor(out, &report->connections[i]);
}

const struct show show_connections[] = {
    {.word = "CLIENTS", .needs_report = true, .kind = REPORT_CLIENTS, .write = write_connections},
    {.word = "SERVERS", .needs_report = true, .kind = REPORT_SERVERS, .write = write_connections},
    {.word = "SOCKETS", .needs_report = true, .kind = REPORT_SOCKETS, .write = write_sockets},
    {.word = "ACTIVE_SOCKETS",
     .needs_report = true,
     .kind = REPORT_SOCKETS,
     .write = write_active_sockets},
    {.word = "FDS",
     .needs_admin = true,
     .needs_report = true,
     .kind = REPORT_SOCKETS,
     .write = write_descriptors},
    {.word = NULL},
};
