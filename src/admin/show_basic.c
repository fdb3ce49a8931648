/* SHOW VERSION, STATE, CONFIG, DATABASES, USERS, LISTS, HELP, and the settings that drivers ask
 * for. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "config/describe.h"
#include "config/peers.h"
#include "show.h"

void cell_text(struct bytes *out, const char *text)
{
    data_row_text(out, text);
}

void cell_int(struct bytes *out, int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, value);
    data_row_text(out, text);
}

void cell_unsigned(struct bytes *out, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    data_row_text(out, text);
}

void cell_time(struct bytes *out, int64_t seconds)
{
    char text[64];
    struct tm parts;
    time_t when = (time_t)seconds;
    if (seconds == 0 || !localtime_r(&when, &parts) ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &parts) == 0)
        data_row_text(out, NULL);
    else
        data_row_text(out, text);
}

static void one_cell(struct bytes *out, const char *name, const char *value)
{
    const struct column column = COLUMN_TEXT(name);
    build_row_description(out, &column, 1);
    size_t row = data_row_begin(out, 1);
    cell_text(out, value);
    data_row_end(out, row);
}

static void write_version(struct console_session *session, const struct report *report,
                          struct bytes *out)
{
    (void)report;
    one_cell(out, "version", session->workers->version);
}

static void write_state(struct console_session *session, const struct report *report,
                        struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("key"), COLUMN_TEXT("value")};
    bool is_paused = registry_is_paused(session->workers->shared.registry, NULL);
    bool is_suspended = atomic_load(&session->workers->shared.is_suspended);
    const char *const rows[][2] = {{"active", is_paused || is_suspended ? "no" : "yes"},
                                   {"paused", is_paused ? "yes" : "no"},
                                   {"suspended", is_suspended ? "yes" : "no"}};
    (void)report;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; i < COLUMN_COUNT(rows); i++) {
        size_t row = data_row_begin(out, COLUMN_COUNT(columns));
        cell_text(out, rows[i][0]);
        cell_text(out, rows[i][1]);
        data_row_end(out, row);
    }
}

static void write_config(struct console_session *session, const struct report *report,
                         struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("key"), COLUMN_TEXT("value"),
                                            COLUMN_TEXT("default"), COLUMN_TEXT("changeable")};
    (void)report;
    struct option_row option;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (int i = 0; describe_option(session->client->set->config, i, &option); i++) {
        size_t row = data_row_begin(out, COLUMN_COUNT(columns));
        cell_text(out, option.key);
        cell_text(out, option.value_is_null ? NULL : option.value);
        cell_text(out, option.default_is_null ? NULL : option.default_value);
        cell_text(out, option.changeable ? "yes" : "no");
        data_row_end(out, row);
    }
}

static const char *mode_name(int mode)
{
    static const char *const names[] = {"session", "transaction", "statement"};
    return mode < 0 ? NULL : names[mode];
}

static void host_list(const struct database_entry *database, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < database->host_count && used < size; i++)
        if (database->hosts[i])
            used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "," : "",
                                     database->hosts[i]);
}

static void write_console_database(struct bytes *out, const struct client *client, size_t columns)
{
    size_t row = data_row_begin(out, columns);
    cell_text(out, "pgbouncer");
    cell_text(out, NULL);
    cell_int(out, client->set->config->settings.listen_port);
    cell_text(out, "pgbouncer");
    cell_text(out, "pgbouncer");
    cell_int(out, 2);
    for (int i = 0; i < 3; i++)
        cell_int(out, 0);
    cell_text(out, "statement");
    cell_text(out, NULL);
    for (int i = 0; i < 3; i++)
        cell_int(out, 0);
    cell_int(out, client_count_of_database(client->set->shared->counts, "pgbouncer"));
    cell_int(out, 0);
    cell_int(out, 0);
    data_row_end(out, row);
}

static void write_database(struct database_entry *database, void *argument)
{
    struct table_writer *writer = argument;
    struct client_set *set = writer->session->client->set;
    struct bytes *out = writer->out;
    struct effective effective;
    char hosts[512];
    if (database->is_console) {
        write_console_database(out, writer->session->client, writer->columns);
        return;
    }
    config_effective(set->config, &(struct config_subject){.database = database}, &effective);
    host_list(database, hosts, sizeof(hosts));
    size_t row = data_row_begin(out, writer->columns);
    cell_text(out, database->name);
    cell_text(out, hosts[0] ? hosts : NULL);
    cell_int(out, database->port);
    cell_text(out, database->dbname);
    cell_text(out, database->user);
    cell_int(out, effective.pool_size);
    cell_int(out, effective.min_pool_size);
    cell_int(out, effective.reserve_pool_size);
    cell_int(out, effective.server_lifetime / USEC_PER_SEC);
    cell_text(out, mode_name(database->pool_mode));
    cell_text(out, !strchr(hosts, ',')                                        ? NULL
                   : database->load_balance_hosts == LOAD_BALANCE_ROUND_ROBIN ? "round-robin"
                                                                              : "disable");
    cell_int(out, effective.max_db_connections);
    cell_int(out, limits_database_count(registry_limits(set->shared->registry), database->name));
    cell_int(out, effective.max_db_client_connections);
    cell_int(out, client_count_of_database(set->shared->counts, database->name));
    cell_int(out, registry_is_paused(set->shared->registry, database->name));
    cell_int(out, registry_is_disabled(set->shared->registry, database->name));
    data_row_end(out, row);
}

static void write_databases(struct console_session *session, const struct report *report,
                            struct bytes *out)
{
    static const struct column columns[] = {
        COLUMN_TEXT("name"),
        COLUMN_TEXT("host"),
        COLUMN_INT("port"),
        COLUMN_TEXT("database"),
        COLUMN_TEXT("force_user"),
        COLUMN_INT("pool_size"),
        COLUMN_INT("min_pool_size"),
        COLUMN_INT("reserve_pool_size"),
        COLUMN_INT("server_lifetime"),
        COLUMN_TEXT("pool_mode"),
        COLUMN_TEXT("load_balance_hosts"),
        COLUMN_INT("max_connections"),
        COLUMN_INT("current_connections"),
        COLUMN_INT("max_client_connections"),
        COLUMN_INT("current_client_connections"),
        COLUMN_INT("paused"),
        COLUMN_INT("disabled"),
    };
    (void)report;
    struct table_writer writer = {session, out, COLUMN_COUNT(columns)};
    build_row_description(out, columns, COLUMN_COUNT(columns));
    config_each_database(session->client->set->config, write_database, &writer);
}

/* Right-aligned in 9 columns, or empty (COMPAT 5.3). */
static void cell_size(struct bytes *out, int size)
{
    char text[16] = "";
    if (size != CONFIG_UNSET)
        snprintf(text, sizeof(text), "%9d", size);
    data_row_text(out, text);
}

static void write_user(struct user_entry *user, void *argument)
{
    struct table_writer *writer = argument;
    struct client_set *set = writer->session->client->set;
    struct bytes *out = writer->out;
    struct effective effective;
    const struct config_subject subject = {.pool_user = user, .login_user = user};
    config_effective(set->config, &subject, &effective);
    size_t row = data_row_begin(out, writer->columns);
    cell_text(out, user->name);
    cell_size(out, user->pool_size);
    cell_size(out, user->reserve_pool_size);
    cell_text(out, mode_name(user->pool_mode));
    cell_int(out, effective.max_user_connections);
    cell_int(out, limits_user_count(registry_limits(set->shared->registry), user->name));
    cell_int(out, effective.max_user_client_connections);
    cell_int(out, client_count_of_user(set->shared->counts, user->name));
    data_row_end(out, row);
}

static void write_users(struct console_session *session, const struct report *report,
                        struct bytes *out)
{
    static const struct column columns[] = {
        COLUMN_TEXT("name"),
        COLUMN_TEXT("pool_size"),
        COLUMN_TEXT("reserve_pool_size"),
        COLUMN_TEXT("pool_mode"),
        COLUMN_INT("max_user_connections"),
        COLUMN_INT("current_connections"),
        COLUMN_INT("max_user_client_connections"),
        COLUMN_INT("current_client_connections"),
    };
    (void)report;
    struct table_writer writer = {session, out, COLUMN_COUNT(columns)};
    build_row_description(out, columns, COLUMN_COUNT(columns));
    config_each_user(session->client->set->config, write_user, &writer);
}

static void write_lists(struct console_session *session, const struct report *report,
                        struct bytes *out)
{
    static const struct column columns[] = {COLUMN_TEXT("list"), COLUMN_INT("items")};
    int databases = 0, users = 0;
    const struct config *config = session->client->set->config;
    config_counts(config, &databases, &users);
    int peers = config_peer_count(config), own_peer_id = config->settings.peer_id;
    const struct {
        const char *name;
        int items;
    } rows[] = {
        {"databases", databases},
        {"users", users},
        {"peers", peers},
        {"pools", registry_count(session->workers->shared.registry) + 1} /* and the console's */,
        {"peer_pools", own_peer_id > 0 ? peers : 0},
        {"free_clients", report->free_clients},
        {"used_clients", report->used_clients},
        {"login_clients", report->login_clients},
        {"free_servers", report->free_servers},
        {"used_servers", report->used_servers},
        {"dns_names", resolver_count(session->workers->resolver)},
        {"dns_zones", resolver_zone_count(session->workers->resolver)},
        {"dns_queries", 0},
        {"dns_pending", 0},
    };
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; i < COLUMN_COUNT(rows); i++) {
        size_t row = data_row_begin(out, COLUMN_COUNT(columns));
        cell_text(out, rows[i].name);
        cell_int(out, rows[i].items);
        data_row_end(out, row);
    }
}

static void write_help(struct console_session *session, const struct report *report,
                       struct bytes *out)
{
    (void)session;
    (void)report;
    build_notice(out, SQLSTATE_SUCCESS, "Console usage",
                 "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION"
                 "\n\tSHOW PEERS|PEER_POOLS"
                 "\n\tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE"
                 "\n\tSHOW DNS_HOSTS|DNS_ZONES"
                 "\n\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS"
                 "\n\tSHOW SESSIONS"
                 "\n\tSHOW WHY <client_id>"
                 "\n\tSHOW ERRORS|WORKERS|HISTOGRAMS|LISTENERS|ROUTES"
                 "\n\tRELOAD"
                 "\n\tPAUSE [<db>]"
                 "\n\tRESUME [<db>]"
                 "\n\tDISABLE <db>"
                 "\n\tENABLE <db>"
                 "\n\tRECONNECT [<db>]"
                 "\n\tKILL [<db>]"
                 "\n\tKILL USER <user>"
                 "\n\tKILL_CLIENT <client_id>"
                 "\n\tSET key = arg"
                 "\n\tSUSPEND"
                 "\n\tWAIT_CLOSE [<db>]"
                 "\n\tSHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]");
}

#define FAKED(name, setting)                                                                       \
    static void write_##name(struct console_session *session, const struct report *report,         \
                             struct bytes *out)                                                    \
    {                                                                                              \
        (void)session;                                                                             \
        (void)report;                                                                              \
        one_cell(out, #name, setting);                                                             \
    }
FAKED(client_encoding, "UTF-8")
FAKED(default_transaction_isolation, "read committed")
FAKED(standard_conforming_strings, "on")
FAKED(datestyle, "ISO")
FAKED(timezone, "GMT")

const struct show show_basic[] = {
    {.word = "VERSION", .write = write_version},
    {.word = "STATE", .write = write_state},
    {.word = "CONFIG", .write = write_config},
    {.word = "DATABASES", .write = write_databases},
    {.word = "USERS", .write = write_users},
    {.word = "LISTS", .needs_report = true, .kind = REPORT_LISTS, .write = write_lists},
    {.word = "HELP", .write = write_help},
    {.word = "CLIENT_ENCODING", .write = write_client_encoding},
    {.word = "DEFAULT_TRANSACTION_ISOLATION", .write = write_default_transaction_isolation},
    {.word = "STANDARD_CONFORMING_STRINGS", .write = write_standard_conforming_strings},
    {.word = "DATESTYLE", .write = write_datestyle},
    {.word = "TIMEZONE", .write = write_timezone},
    {.word = NULL},
};
