/* SHOW CLIENTS, SERVERS. */
#include <inttypes.h>
#include <stdio.h>

#include "show.h"

static const struct column columns[] = {
    COLUMN_TEXT("type"),
    COLUMN_TEXT("user"),
    COLUMN_TEXT("database"),
    COLUMN_TEXT("replication"),
    COLUMN_TEXT("state"),
    COLUMN_TEXT("addr"),
    COLUMN_INT("port"),
    COLUMN_TEXT("local_addr"),
    COLUMN_INT("local_port"),
    COLUMN_TEXT("connect_time"),
    COLUMN_TEXT("request_time"),
    COLUMN_INT("wait"),
    COLUMN_INT("wait_us"),
    COLUMN_INT("close_needed"),
    COLUMN_TEXT("ptr"),
    COLUMN_TEXT("link"),
    COLUMN_INT("remote_pid"),
    COLUMN_TEXT("tls"),
    COLUMN_TEXT("application_name"),
    COLUMN_INT("prepared_statements"),
    COLUMN_INT("id"),
};

static void cell_pointer(struct bytes *out, uint64_t pointer)
{
    char text[24] = "";
    if (pointer != 0)
        snprintf(text, sizeof(text), "0x%" PRIx64, pointer);
    cell_text(out, text);
}

static void write_row(struct bytes *out, const struct report_connection *connection)
{
    size_t row = data_row_begin(out, COLUMN_COUNT(columns));
    cell_text(out, connection->is_server ? "S" : "C");
    cell_text(out, connection->user);
    cell_text(out, connection->database);
    cell_text(out, connection->replication);
    cell_text(out, connection->state);
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
    data_row_end(out, row);
}

static void write_connections(struct console_session *session, const struct report *report,
                              struct bytes *out)
{
    (void)session;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; i < report->count; i++)
        write_row(out, &report->connections[i]);
}

const struct show show_connections[] = {
    {.word = "CLIENTS", .needs_report = true, .kind = REPORT_CLIENTS, .write = write_connections},
    {.word = "SERVERS", .needs_report = true, .kind = REPORT_SERVERS, .write = write_connections},
    {.word = NULL},
};
