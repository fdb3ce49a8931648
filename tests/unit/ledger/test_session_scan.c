#include <check.h>
#include <stdio.h>
#include <string.h>

#include "ledger/session_state.h"

Suite *suite_ledger_session_scan(void);

static uint32_t scan(const char *text)
{
    return session_scan(text, strlen(text));
}

START_TEST(ordinary_statements_touch_nothing)
{
    static const char *const texts[] = {
        "",
        ";",
        "SELECT 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 1;",
        "  select 'SET work_mem = 1; LISTEN x' /* pg_advisory_lock(1) */ -- lastval()",
        "SELECT 'a;b', $$; SET x = 1$$, $tag$;LISTEN a;$tag$, $1",
        "INSERT INTO t VALUES (1, 'currval')",
        "UPDATE t SET employee = 2 WHERE x = 'it''s ; LOAD'",
        "select pg_advisory_xact_lock(1)",
        "select pg_try_advisory_xact_lock(1)",
        "BEGIN",
        "COMMIT;",
        "END; ",
        "ROLLBACK TO SAVEPOINT a",
        "SAVEPOINT a",
        "SHOW work_mem",
        "SET LOCAL work_mem = '1MB'",
        "SET TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET client_encoding = 'UTF8'",
        "set TimeZone to 'UTC'",
        "SET TIME ZONE 'UTC'",
        "SET NAMES 'UTF8'",
        "set application_name = 'a'; select 1",
        "CREATE TABLE temp_rows (id int)",
        "DECLARE c CURSOR FOR SELECT 1",
        "PREPARE TRANSACTION 'a'",
        "select set_config('app.tenant', $1, true)",
        "select set_config('role', $2, true), set_config($3, f(a, b), true)",
        "SELECT last_contact, interval '1 day' FROM server",
    };
    ck_assert_uint_eq(scan(texts[_i % (int)(sizeof(texts) / sizeof(texts[0]))]), 0);
}
END_TEST

static const struct {
    const char *text;
    uint32_t mask;
} touching[] = {
    {"SET work_mem = '1MB'", SESSION_SETTINGS},
    {"/* a /* nested */ */ -- line\n SeT search_path TO a", SESSION_SETTINGS},
    {"SELECT 1; SET work_mem = 1", SESSION_SETTINGS},
    {"SET SESSION work_mem = 1", SESSION_SETTINGS},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", SESSION_SETTINGS},
    {"SET app.tenant = 'x'", SESSION_SETTINGS},
    {"RESET ALL", SESSION_SETTINGS | SESSION_RESETS},
    {"RESET work_mem", SESSION_SETTINGS | SESSION_RESETS},
    {"SET work_mem TO DEFAULT", SESSION_SETTINGS | SESSION_RESETS},
    {"RESET TimeZone", SESSION_REPORTED | SESSION_RESETS},
    {"SET TIME ZONE DEFAULT", SESSION_REPORTED | SESSION_RESETS},
    {"SET ROLE a", SESSION_ROLE},
    {"SET SESSION AUTHORIZATION a", SESSION_ROLE},
    {"RESET SESSION AUTHORIZATION", SESSION_ROLE | SESSION_RESETS},
    {"RESET ROLE", SESSION_ROLE | SESSION_RESETS},
    {"SELECT set_config('work_mem', '1MB', false)", SESSION_SETTINGS},
    {"SELECT pg_catalog.\"set_config\"('work_mem', $1, f(true))", SESSION_SETTINGS},
    {"SELECT set_config('role', 'a', false)", SESSION_ROLE},
    {"SELECT set_config($1, $2, $3)", SESSION_DOUBT},
    {"SELECT set_config('a' || 'b', $2, false)", SESSION_DOUBT},
    {"SELECT set_config(E'work\\137mem', $2, false)", SESSION_DOUBT},
    {"SELECT 'it\\'; SET x = 1 --'", SESSION_DOUBT},
    {"SELECT U&\"set\\005fconfig\"('a', 'b', false)", SESSION_DOUBT},
    {"PREPARE a AS SELECT 1", SESSION_PREPARE},
    {"DEALLOCATE a", SESSION_PREPARE},
    {"EXECUTE a(1)", SESSION_EXECUTES},
    {"EXPLAIN ANALYZE EXECUTE a(1)", SESSION_EXECUTES},
    {"CREATE TABLE t AS EXECUTE a(1)", SESSION_EXECUTES},
    {"PREPARE a AS SELECT pg_advisory_lock(1)", SESSION_PREPARE | SESSION_ADVISORY},
    {"LISTEN a", SESSION_LISTEN | SESSION_LISTENS},
    {"UNLISTEN *", SESSION_LISTEN},
    {"BEGIN; LISTEN a", SESSION_LISTEN | SESSION_LISTENS},
    {"CREATE TEMP TABLE a (b int)", SESSION_TEMP},
    {"CREATE OR REPLACE LOCAL TEMPORARY VIEW a AS SELECT 1", SESSION_TEMP},
    {"SELECT 1 INTO TEMP a", SESSION_TEMP},
    {"CREATE TABLE pg_temp.a (b int)", SESSION_TEMP},
    {"CREATE TABLE \"pg_temp\".a (b int)", SESSION_TEMP},
    {"DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1", SESSION_CURSOR},
    {"SELECT pg_advisory_lock(1)", SESSION_ADVISORY},
    {"WITH a AS (SELECT 1) SELECT pg_try_advisory_lock_shared(1) FROM a", SESSION_ADVISORY},
    {"SELECT pg_advisory_unlock_all()", SESSION_ADVISORY},
    {"LOAD 'auto_explain'", SESSION_LOAD},
    {"SELECT currval('a')", SESSION_SEQUENCE},
    {"INSERT INTO a VALUES (lastval())", SESSION_SEQUENCE},
    {"select SETSEED(0.5)", SESSION_SEQUENCE},
    {"DO $$ BEGIN END $$", SESSION_DOUBT},
    {"CALL p()", SESSION_DOUBT},
    {"DROP TABLE a", SESSION_ENDING},
    {"CLOSE a", SESSION_ENDING},
    {"DISCARD TEMP", SESSION_TEMP | SESSION_ENDING},
    {"DISCARD ALL",
     (SESSION_DOUBT & ~(uint32_t)SESSION_UNKNOWN) | SESSION_RESETS | SESSION_FORGETS},
    {"DISCARD SEQUENCES", SESSION_ENDING | SESSION_FORGETS},
    {"SET work_mem = 1; LISTEN a; CREATE TEMP TABLE t ()",
     SESSION_SETTINGS | SESSION_LISTEN | SESSION_LISTENS | SESSION_TEMP},
};

START_TEST(texts_that_touch_state_are_marked)
{
    ck_assert_msg(scan(touching[_i].text) == touching[_i].mask, "%s: %x", touching[_i].text,
                  scan(touching[_i].text));
}
END_TEST

/* A block of the short way is 16 bytes: no place in a text may hide a name. */
START_TEST(a_name_is_seen_at_every_place)
{
    char text[96];
    snprintf(text, sizeof(text), "SELECT %*s%s%*s", _i, "", "pg_advisory_lock(1)", 40 - _i, "");
    ck_assert_uint_eq(scan(text), SESSION_ADVISORY);
    snprintf(text, sizeof(text), "SELECT %*s%s", _i, "", ";LOAD 'a'");
    ck_assert_uint_eq(scan(text), SESSION_LOAD);
}
END_TEST

START_TEST(names_of_custom_settings_are_told)
{
    static const char text[] =
        "SET app.tenant = 'a'; SET work_mem = 1; SET LOCAL b.c = 1;"
        "SELECT set_config('App.User', 'b', false), set_config('x.y', 'b', true)";
    struct session_names names;
    ck_assert_uint_eq(session_scan_names(text, strlen(text), &names), SESSION_SETTINGS);
    ck_assert_int_eq(names.count, 2);
    ck_assert_str_eq(names.names[0], "app.tenant");
    ck_assert_str_eq(names.names[1], "app.user");
    ck_assert(!names.are_more);
}
END_TEST

START_TEST(a_suspicious_text_over_the_limit_is_in_doubt)
{
    static char text[SESSION_SCAN_MAX + 64];
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "SELECT ", 7);
    ck_assert_uint_eq(scan(text), 0);
    memcpy(text + sizeof(text) - 9, ";LOAD 'a", 8);
    ck_assert_uint_eq(scan(text), SESSION_DOUBT);
}
END_TEST

static const struct {
    const char *text, *name, *piece; /* NULL: not exactly one */
} prepares[] = {
    {" prepare a as select 1; -- x", "a", " prepare a as select 1; -- x"},
    {"select 1; PREPARE a (int) AS select ';' ; select 2", "a", "PREPARE a (int) AS select ';' "},
    {"prepare A as select 1; prepare \"A\" as select 2", "A", "prepare \"A\" as select 2"},
    {"prepare a as select $$;$$; prepare b as select 2", "a", "prepare a as select $$;$$"},
    {"prepare a as select 1; deallocate a; prepare a as select 2", "a", NULL},
    {"prepare b as select 1", "a", NULL},
    {"select 'prepare a as select 1'", "a", NULL},
    {"prepare a as select 'it\\'; prepare b as select 1 --'", "a", NULL},
};

START_TEST(the_prepare_of_a_name_is_found)
{
    struct session_piece piece;
    const char *text = prepares[_i].text, *expected = prepares[_i].piece;
    bool is_found = session_find_prepare(text, strlen(text), prepares[_i].name, &piece);
    ck_assert_int_eq(is_found, expected != NULL);
    if (!expected)
        return;
    ck_assert_uint_eq(piece.size, strlen(expected));
    ck_assert_int_eq(memcmp(text + piece.at, expected, piece.size), 0);
}
END_TEST

static const struct {
    const char *text;
    int kind;
    bool is_reset;
    const char *name;
} targets[] = {
    {"/* x */; SET Work_Mem = 1", SESSION_TARGET_NAME, false, "work_mem"},
    {"SET SESSION app.\"Tenant\" TO 'x'", SESSION_TARGET_NAME, false, "app.tenant"},
    {"SET SESSION AUTHORIZATION a", SESSION_TARGET_NAME, false, "session_authorization"},
    {"SET ROLE a", SESSION_TARGET_NAME, false, "role"},
    {"RESET ROLE", SESSION_TARGET_NAME, true, "role"},
    {"RESET SESSION AUTHORIZATION", SESSION_TARGET_NAME, true, "session_authorization"},
    {"RESET ALL", SESSION_TARGET_SETTINGS, true, ""},
    {"DISCARD ALL", SESSION_TARGET_EVERYTHING, false, ""},
    {"DISCARD TEMP", SESSION_TARGET_NOTHING, false, ""},
    {"SET LOCAL work_mem = 1", SESSION_TARGET_NOTHING, false, ""},
    {"SET TRANSACTION READ ONLY", SESSION_TARGET_NOTHING, false, ""},
    {"SELECT 1; SET ROLE a", SESSION_TARGET_NOTHING, false, ""},
};

START_TEST(what_a_text_begins_with_setting_is_told)
{
    struct session_target target;
    session_scan_target(targets[_i].text, strlen(targets[_i].text), &target);
    ck_assert_int_eq((int)target.kind, targets[_i].kind);
    ck_assert_int_eq(target.is_reset, targets[_i].is_reset);
    ck_assert_str_eq(target.name, targets[_i].name);
}
END_TEST

Suite *suite_ledger_session_scan(void)
{
    Suite *suite = suite_create("ledger/session_scan");
    TCase *tests = tcase_create("session_scan");
    tcase_add_loop_test(tests, ordinary_statements_touch_nothing, 0, 30);
    tcase_add_loop_test(tests, texts_that_touch_state_are_marked, 0,
                        (int)(sizeof(touching) / sizeof(touching[0])));
    tcase_add_loop_test(tests, a_name_is_seen_at_every_place, 0, 40);
    tcase_add_test(tests, names_of_custom_settings_are_told);
    tcase_add_loop_test(tests, the_prepare_of_a_name_is_found, 0,
                        (int)(sizeof(prepares) / sizeof(prepares[0])));
    tcase_add_loop_test(tests, what_a_text_begins_with_setting_is_told, 0,
                        (int)(sizeof(targets) / sizeof(targets[0])));
    tcase_add_test(tests, a_suspicious_text_over_the_limit_is_in_doubt);
    suite_add_tcase(suite, tests);
    return suite;
}
