/* SHOW LISTENERS, ROUTES. */
#include <stdio.h>

#include "config/options.h"
#include "show.h"

static const struct column columns[] = {
    COLUMN_TEXT("name"),        COLUMN_TEXT("addr"),
    COLUMN_INT("port"),         COLUMN_TEXT("protocols"),
    COLUMN_TEXT("pool_mode"),   COLUMN_TEXT("tls"),
    COLUMN_TEXT("auth"),        COLUMN_TEXT("proxy_protocol"),
    COLUMN_TEXT("databases"),   COLUMN_TEXT("admin"),
    COLUMN_INT("open"),         COLUMN_BIGINT("accepted"),
    COLUMN_BIGINT("strangers"),
};

static void cell_protocols(struct bytes *out, int protocols)
{
    char text[64];
    int used = snprintf(
        text, sizeof(text), "%s%s%s", protocols & SPEAKS_POSTGRES ? "postgres," : "",
        protocols & SPEAKS_HTTP ? "http," : "", protocols & SPEAKS_WEBSOCKET ? "websocket," : "");
    if (used > 0)
        text[used - 1] = '\0';
    cell_text(out, text);
}

/* What is not set, or not open, is NULL. */
static void write_row(struct bytes *out, const struct report_listener *listener)
{
    bool has_mode = listener->pool_mode != CONFIG_UNSET;
    size_t row = data_row_begin(out, COLUMN_COUNT(columns));
    cell_text(out, listener->name);
    cell_text(out, listener->addresses[0] ? listener->addresses : NULL);
    cell_int(out, listener->port);
    cell_protocols(out, listener->protocols);
    cell_text(out, has_mode ? pool_mode_name((enum pool_mode)listener->pool_mode) : NULL);
    cell_text(out, tls_mode_name(listener->tls));
    cell_text(out, auth_type_name(listener->auth));
    cell_text(out, listener->is_proxied ? "yes" : "no");
    cell_text(out, listener->databases[0] ? listener->databases : NULL);
    cell_text(out, listener->has_console ? "yes" : "no");
    cell_int(out, listener->open);
    cell_unsigned(out, listener->accepted);
    cell_unsigned(out, listener->strangers);
    data_row_end(out, row);
}

static void write_listeners(struct console_session *session, const struct report *report,
                            struct bytes *out)
{
    (void)session;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; report->listeners && i < report->count; i++)
        write_row(out, &report->listeners[i]);
}

static const struct column route_columns[] = {
    COLUMN_TEXT("host"),        COLUMN_TEXT("if_listener"), COLUMN_TEXT("if_user"),
    COLUMN_TEXT("if_database"), COLUMN_TEXT("database"),    COLUMN_TEXT("pool_mode"),
    COLUMN_TEXT("user"),        COLUMN_BIGINT("taken"),
};

static void write_routes(struct console_session *session, const struct report *report,
                         struct bytes *out)
{
    const struct config *config = session->client->set->config;
    (void)report;
    build_row_description(out, route_columns, COLUMN_COUNT(route_columns));
    for (int i = 0; i < config->route_count; i++) {
        const struct route *route = config->routes[i];
        bool has_mode = route->pool_mode != CONFIG_UNSET;
        size_t row = data_row_begin(out, COLUMN_COUNT(route_columns));
        cell_text(out, route->host);
        cell_text(out, route->if_listener);
        cell_text(out, route->if_user);
        cell_text(out, route->if_database);
        cell_text(out, route->database);
        cell_text(out, has_mode ? pool_mode_name((enum pool_mode)route->pool_mode) : NULL);
        cell_text(out, route->user);
        cell_unsigned(out, atomic_load(&route->taken));
        data_row_end(out, row);
    }
}

const struct show show_listeners[] = {
    {.word = "ROUTES", .write = write_routes},
    {.word = "LISTENERS", .needs_report = true, .kind = REPORT_LISTENERS, .write = write_listeners},
    {.word = NULL},
};
