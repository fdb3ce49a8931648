#include "ledger/session_probe.h"

#include <string.h>

#include "ledger/session_prepared.h"
#include "wire/answer.h"
#include "wire/build.h"

/* -- the statements
 * -------------------------------------------------------------------------------------
 */

struct probe_statement {
    const char *name, *text;
    uint32_t asked_if; /* touched has one of these; 0: always */
    bool takes_customs;
};

/* statement_timeout is asked for first and then put aside, so that it does not strike the rest; its
 * default is told behind it. The session's user and role are told with what pins: their row is the
 * last that must come. */
static const struct probe_statement statements[] = {
    {"PGBOUNCER_probe_begin", "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY, NOT DEFERRABLE", 0,
     false},
    {"PGBOUNCER_probe_timeout",
     "SELECT 't', NULL::pg_catalog.text, pg_catalog.current_setting('statement_timeout')",
     SESSION_ASKS_SETTINGS, false},
    {"PGBOUNCER_probe_untimed", "SET LOCAL statement_timeout TO DEFAULT", 0, false},
    {"PGBOUNCER_probe_settings",
     "WITH shown AS MATERIALIZED (SELECT name, source FROM pg_catalog.pg_show_all_settings()) "
     "SELECT 'd', NULL::pg_catalog.text, pg_catalog.current_setting('statement_timeout') "
     "UNION ALL SELECT 's', name, pg_catalog.current_setting(name) FROM shown WHERE source "
     "OPERATOR(pg_catalog.=) 'session' AND name OPERATOR(pg_catalog.<>) ALL "
     "(ARRAY['statement_timeout', 'transaction_isolation', 'transaction_read_only', "
     "'transaction_deferrable']) "
     "UNION ALL SELECT 's', asked, pg_catalog.current_setting(asked, true) FROM "
     "pg_catalog.unnest($1::pg_catalog.text[]) AS asked WHERE NOT EXISTS (SELECT FROM shown WHERE "
     "name OPERATOR(pg_catalog.=) asked)",
     SESSION_ASKS_SETTINGS, true},
    {"PGBOUNCER_probe_locks",
     "SELECT 'p', 'a', NULL::pg_catalog.text WHERE EXISTS (SELECT FROM "
     "pg_catalog.pg_lock_status() WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid "
     "OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())",
     SESSION_ADVISORY, false},
    {"PGBOUNCER_probe_state",
     "SELECT 'p', 't', NULL::pg_catalog.text WHERE EXISTS (SELECT FROM pg_catalog.pg_depend WHERE "
     "refclassid OPERATOR(pg_catalog.=) 2615 AND refobjid OPERATOR(pg_catalog.=) "
     "pg_catalog.pg_my_temp_schema()) "
     "UNION ALL SELECT 'p', 'c', NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_cursor() WHERE "
     "is_holdable) "
     "UNION ALL SELECT 'q', name, CASE WHEN pg_catalog.octet_length(statement) "
     "OPERATOR(pg_catalog.<=) 8192 THEN statement END FROM pg_catalog.pg_prepared_statement() "
     "WHERE from_sql "
     "UNION ALL SELECT 'u', SESSION_USER::pg_catalog.text, pg_catalog.current_setting('role')",
     0, false},
    {"PGBOUNCER_probe_end", "COMMIT", 0, false},
};
#define STATEMENT_COUNT (sizeof(statements) / sizeof(statements[0]))

/* -- asking
 * ---------------------------------------------------------------------------------------------
 */

struct kinds {
    uint8_t *of;
    int count;
};

static void note(struct kinds *kinds, enum ledger_kind kind)
{
    kinds->of[kinds->count++] = (uint8_t)kind;
}

/* A Close in front: whatever stands there under that name is ours to replace. In a unit of their
 * own, for the block must begin before there is a snapshot. */
static void put_parses(struct bytes *out, struct kinds *kinds)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        build_target(out, 'C', 'S', statements[i].name);
        note(kinds, LEDGER_CLOSE);
        build_parse(out, statements[i].name, statements[i].text, (struct span){0}, 0);
        note(kinds, LEDGER_PARSE);
    }
    build_simple(out, 'S');
    note(kinds, LEDGER_SYNC);
}

static void put_quoted(struct bytes *out, const char *text)
{
    bytes_u8(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            bytes_u8(out, '\\');
        bytes_u8(out, (uint8_t)*text);
    }
    bytes_u8(out, '"');
}

/* As the literal of an array, into the one value of a Bind. */
static void put_bind_of_names(struct bytes *out, const char *statement,
                              const struct session_list *names)
{
    size_t mark = message_begin(out, 'B');
    bytes_string(out, "");
    bytes_string(out, statement);
    bytes_u16(out, 0);
    bytes_u16(out, 1);
    size_t at = out->size;
    bytes_u32(out, 0);
    bytes_u8(out, '{');
    for (int i = 0; i < names->count; i++) {
        if (i > 0)
            bytes_u8(out, ',');
        put_quoted(out, names->items[i].name);
    }
    bytes_u8(out, '}');
    if (bytes_ok(out))
        bytes_patch_u32(out, at, (uint32_t)(out->size - at - 4));
    bytes_u16(out, 0);
    message_end(out, mark);
}

int session_probe_put(struct bytes *out, uint32_t touched, bool is_held,
                      const struct session_list *customs, uint8_t entries[SESSION_PROBE_ENTRIES])
{
    struct kinds kinds = {entries, 0};
    if (!is_held)
        put_parses(out, &kinds);
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        const struct probe_statement *statement = &statements[i];
        if (statement->asked_if && !(touched & statement->asked_if))
            continue;
        if (statement->takes_customs)
            put_bind_of_names(out, statement->name, customs);
        else
            build_bind(out, "", statement->name, NULL, 0);
        note(&kinds, LEDGER_BIND);
        build_execute(out, "", 0);
        note(&kinds, LEDGER_EXECUTE);
    }
    build_simple(out, 'S');
    note(&kinds, LEDGER_SYNC);
    return kinds.count;
}
_Static_assert(4 * STATEMENT_COUNT + 2 <= SESSION_PROBE_ENTRIES, "all entries have room");

/* -- what comes
 * ----------------------------------------------------------------------------------------
 */

void session_probe_finish(struct session_probe *probe)
{
    session_list_finish(&probe->settings);
    session_list_finish(&probe->prepared);
    *probe = (struct session_probe){0};
}

/* False: SQL NULL, or it is not there, or too long. */
static bool column_text(struct span body, unsigned column, char *text, size_t size)
{
    struct span value;
    if (!data_row_column(body, column, &value) || !value.data || value.size >= size)
        return false;
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    return true;
}

static void take_setting(struct session_probe *probe, const struct parameter_names *names,
                         struct span body)
{
    char name[SESSION_NAME_MAX + 1], value[SESSION_VALUE_MAX + 1];
    struct span there;
    if (!column_text(body, 1, name, sizeof(name)) || !data_row_column(body, 2, &there)) {
        probe->failed = true;
        return;
    }
    if (!there.data)
        return; /* a custom setting that this server does not know */
    int slot = parameter_slot(names, name);
    if (slot >= 0 && names->tracked[slot]) {
        probe->tracked |= UINT32_C(1) << slot;
        return;
    }
    if (!column_text(body, 2, value, sizeof(value)) ||
        !session_list_set(&probe->settings, name, value))
        probe->failed = true;
}
_Static_assert(PARAMETER_SLOTS <= 32, "a bit for each slot");

static uint32_t kind_of(uint8_t letter)
{
    switch (letter) {
    case 'a':
        return SESSION_ADVISORY;
    case 't':
        return SESSION_TEMP;
    case 'c':
        return SESSION_CURSOR;
    default:
        return 0;
    }
}

/* One that no other server can be brought to pins its client to this one. */
static void take_prepared(struct session_probe *probe, struct span body)
{
    char name[SESSION_NAME_MAX + 1], shown[SESSION_VALUE_MAX + 1];
    if (!column_text(body, 1, name, sizeof(name)) || !column_text(body, 2, shown, sizeof(shown)) ||
        !session_prepared_add(&probe->prepared, name, shown))
        probe->pins |= SESSION_PREPARE;
}
_Static_assert(SESSION_VALUE_MAX == 8192, "as the statement says");

void session_probe_row(struct session_probe *probe, const struct parameter_names *names,
                       struct span body)
{
    char kind[8], what[8] = "";
    bool ok = column_text(body, 0, kind, sizeof(kind));
    switch (ok ? kind[0] : '\0') {
    case 't':
        ok = column_text(body, 2, probe->timeout, sizeof(probe->timeout));
        break;
    case 'd':
        ok = column_text(body, 2, probe->default_timeout, sizeof(probe->default_timeout));
        break;
    case 's':
        take_setting(probe, names, body);
        break;
    case 'p':
        ok = column_text(body, 1, what, sizeof(what));
        probe->pins |= kind_of((uint8_t)what[0]);
        break;
    case 'q':
        take_prepared(probe, body);
        break;
    case 'u':
        ok = column_text(body, 1, probe->user, sizeof(probe->user)) &&
             column_text(body, 2, probe->role, sizeof(probe->role));
        probe->is_seen = ok;
        break;
    default:
        ok = false;
    }
    if (!ok)
        probe->failed = true;
}
