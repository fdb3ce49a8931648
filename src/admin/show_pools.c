/* SHOW POOLS. */
#include <string.h>

#include "show.h"

static const struct column columns[] = {
    COLUMN_TEXT("database"),
    COLUMN_TEXT("user"),
    COLUMN_INT("cl_active"),
    COLUMN_INT("cl_waiting"),
    COLUMN_INT("cl_active_cancel_req"),
    COLUMN_INT("cl_waiting_cancel_req"),
    COLUMN_INT("sv_active"),
    COLUMN_INT("sv_active_cancel"),
    COLUMN_INT("sv_being_canceled"),
    COLUMN_INT("sv_idle"),
    COLUMN_INT("sv_used"),
    COLUMN_INT("sv_tested"),
    COLUMN_INT("sv_login"),
    COLUMN_INT("maxwait"),
    COLUMN_INT("maxwait_us"),
    COLUMN_TEXT("pool_mode"),
    COLUMN_TEXT("load_balance_hosts"),
};

static void write_row(struct bytes *out, const struct report_pool *pool)
{
    static const char *const modes[] = {"session", "transaction", "statement"};
    const int counts[] = {
        pool->clients_active,         pool->clients_waiting, pool->cancels_active,
        pool->cancels_waiting,        pool->servers_active,  pool->servers_active_cancel,
        pool->servers_being_canceled, pool->servers_idle,    pool->servers_used,
        pool->servers_tested,         pool->servers_login,
    };
    size_t row = data_row_begin(out, COLUMN_COUNT(columns));
    cell_text(out, pool->database);
    cell_text(out, pool->user);
    for (size_t i = 0; i < COLUMN_COUNT(counts); i++)
        cell_int(out, counts[i]);
    cell_int(out, pool->max_wait / USEC_PER_SEC);
    cell_int(out, pool->max_wait % USEC_PER_SEC);
    cell_text(out, modes[pool->mode]);
    cell_text(out, pool->load_balance_hosts);
    data_row_end(out, row);
}

/* The console is a pool of its own (COMPAT 3.4), in its place among the others. */
static void write_console_row(struct console_session *session, struct bytes *out)
{
    struct report_pool pool = {.mode = POOL_MODE_STATEMENT};
    strcpy(pool.database, "pgbouncer");
    strcpy(pool.user, "pgbouncer");
    pool.clients_active = client_count_of_database(session->workers->shared.counts, "pgbouncer");
    write_row(out, &pool);
}

static void write_pools(struct console_session *session, const struct report *report,
                        struct bytes *out)
{
    bool console_is_due = true;
    build_row_description(out, columns, COLUMN_COUNT(columns));
    for (size_t i = 0; i < report->count; i++) {
        if (console_is_due && strcmp(report->pools[i].database, "pgbouncer") > 0) {
            write_console_row(session, out);
            console_is_due = false;
        }
        write_row(out, &report->pools[i]);
    }
    if (console_is_due)
        write_console_row(session, out);
}

const struct show show_pools[] = {
    {.word = "POOLS", .needs_report = true, .kind = REPORT_POOLS, .write = write_pools},
    {.word = NULL},
};
