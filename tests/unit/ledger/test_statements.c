#include <check.h>
#include <string.h>

#include "base/memory.h"
#include "ledger/statements.h"

Suite *suite_ledger_statements(void);

static struct statement_table table;
static struct client_statements client;
static struct server_statements server;
static const struct span no_types;

static void begin(void)
{
    digest_init();
    memset(&table, 0, sizeof(table));
    memset(&client, 0, sizeof(client));
    server_statements_init(&server);
}

static void end(void)
{
    client_statements_clear(&client, &table);
    server_statements_finish(&server);
    ck_assert_ptr_null(table.by_digest);
    ck_assert_uint_eq(table.bytes, 0);
}

static struct shared_statement *statement(const char *query)
{
    return statement_acquire(&table, query, no_types, 0, 0);
}

/* Defines a name; the statement's own reference is dropped. */
static struct statement_delta *define(const char *name, const char *query)
{
    struct shared_statement *shared = statement(query);
    struct statement_delta *delta = client_statements_define(&client, &table, name, shared);
    statement_release(&table, shared);
    return delta;
}

static void settle(struct statement_delta *delta, bool done)
{
    statement_delta_settle(delta, done, &client, &table, &server);
}

START_TEST(equal_texts_share_a_statement)
{
    struct shared_statement *a = statement("select 1"), *b = statement("select 1");
    ck_assert_ptr_eq(a, b);
    statement_release(&table, a);
    statement_release(&table, b);
}
END_TEST

START_TEST(other_settings_make_another_statement)
{
    struct shared_statement *a = statement("select 1");
    struct shared_statement *b = statement_acquire(&table, "select 1", no_types, 0, 7);
    ck_assert_ptr_ne(a, b);
    statement_release(&table, a);
    statement_release(&table, b);
}
END_TEST

START_TEST(other_types_make_another_statement)
{
    const uint8_t int4[] = {0, 0, 0, 23};
    struct shared_statement *a = statement("select $1");
    struct shared_statement *b =
        statement_acquire(&table, "select $1", (struct span){int4, sizeof(int4)}, 1, 0);
    ck_assert_ptr_ne(a, b);
    statement_release(&table, a);
    statement_release(&table, b);
}
END_TEST

START_TEST(the_parse_message_is_ready_to_send)
{
    struct shared_statement *shared = statement("select 1");
    ck_assert_uint_eq(shared->parse[0], 'P');
    ck_assert_uint_eq((size_t)shared->parse[4] + 1, shared->parse_size);
    ck_assert_str_eq((const char *)shared->parse + 5, shared->name);
    ck_assert_str_eq((const char *)shared->parse + 5 + STATEMENT_NAME_SIZE, "select 1");
    statement_release(&table, shared);
}
END_TEST

START_TEST(a_defined_name_is_found_at_once)
{
    struct statement_delta *delta = define("s", "select 1");
    ck_assert_ptr_nonnull(client_statements_find(&client, "s"));
    ck_assert_int_eq(client.unsettled, 1);
    settle(delta, true);
    ck_assert_int_eq(client.unsettled, 0);
    ck_assert_ptr_nonnull(client_statements_find(&client, "s"));
}
END_TEST

START_TEST(a_name_whose_parse_failed_is_gone)
{
    settle(define("s", "select 1"), false);
    ck_assert_ptr_null(client_statements_find(&client, "s"));
}
END_TEST

START_TEST(a_close_that_was_skipped_is_undone)
{
    settle(define("s", "select 1"), true);
    struct statement_delta *delta = client_statements_remove(&client, &table, "s");
    ck_assert_ptr_null(client_statements_find(&client, "s"));
    settle(delta, false);
    ck_assert_ptr_nonnull(client_statements_find(&client, "s"));
}
END_TEST

START_TEST(a_close_that_was_done_stays)
{
    settle(define("s", "select 1"), true);
    settle(client_statements_remove(&client, &table, "s"), true);
    ck_assert_ptr_null(client_statements_find(&client, "s"));
}
END_TEST

START_TEST(closing_an_unknown_name_is_no_error)
{
    struct statement_delta *delta = client_statements_remove(&client, &table, "nobody");
    ck_assert_ptr_nonnull(delta);
    settle(delta, true);
}
END_TEST

START_TEST(names_are_compared_by_63_bytes)
{
    char longer[80];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[79] = 0;
    settle(define(longer, "select 1"), true);
    longer[63] = 0;
    ck_assert_ptr_nonnull(client_statements_find(&client, longer));
}
END_TEST

START_TEST(the_least_recently_used_is_evicted)
{
    struct shared_statement *a = statement("a"), *b = statement("b");
    server_statements_add(&server, a)->is_confirmed = true;
    server_statements_add(&server, b)->is_confirmed = true;
    server_statements_find(&server, a);
    struct server_statement *evicted = server_statements_evict(&server, 1, NULL);
    ck_assert_str_eq(evicted->name, b->name);
    memory_free(evicted);
    ck_assert_ptr_null(server_statements_find(&server, b));
    statement_release(&table, a);
    statement_release(&table, b);
}
END_TEST

START_TEST(an_eviction_that_was_skipped_is_put_back)
{
    struct shared_statement *a = statement("a");
    server_statements_add(&server, a)->is_confirmed = true;
    struct server_statement *evicted = server_statements_evict(&server, 0, NULL);
    settle(server_statements_closing(evicted), false);
    ck_assert_ptr_nonnull(server_statements_find(&server, a));
    statement_release(&table, a);
}
END_TEST

START_TEST(a_parse_that_failed_leaves_nothing_on_the_server)
{
    struct shared_statement *a = statement("a");
    settle(server_statements_define(&server, a), false);
    ck_assert_ptr_null(server_statements_find(&server, a));
    statement_release(&table, a);
}
END_TEST

/* Close and Parse of one statement, both skipped by an earlier error: the server still has it. */
START_TEST(a_skipped_close_and_parse_leave_the_statement_held)
{
    struct shared_statement *a = statement("a");
    server_statements_add(&server, a)->is_confirmed = true;
    struct statement_delta *closing = server_statements_closing(server_statements_take(&server, a));
    struct statement_delta *parsing = server_statements_define(&server, a);
    settle(closing, false);
    settle(parsing, false);
    ck_assert_ptr_nonnull(server_statements_find(&server, a));
    statement_release(&table, a);
}
END_TEST

START_TEST(forgetting_spares_what_is_not_confirmed)
{
    settle(define("old", "select 1"), true);
    struct statement_delta *pending = define("new", "select 2");
    client_statements_forget(&client, &table);
    ck_assert_ptr_null(client_statements_find(&client, "old"));
    ck_assert_ptr_nonnull(client_statements_find(&client, "new"));

    struct shared_statement *a = statement("select 1"), *b = statement("select 3");
    settle(server_statements_define(&server, a), true);
    struct statement_delta *parsing = server_statements_define(&server, b);
    server_statements_forget(&server);
    ck_assert_ptr_null(server_statements_find(&server, a));
    ck_assert_ptr_nonnull(server_statements_find(&server, b));
    ck_assert_int_eq(server.count, 1);
    settle(parsing, true);
    settle(pending, true);
    client_statements_forget(&client, &table);
    ck_assert_int_eq(client.count, 0);
    statement_release(&table, a);
    statement_release(&table, b);
}
END_TEST

START_TEST(a_failed_parse_leaves_the_name_that_was_defined_behind_it)
{
    struct statement_delta *first = define("a", "select 1");
    struct statement_delta *closing = client_statements_remove(&client, &table, "a");
    struct statement_delta *second = define("a", "select 1");
    settle(first, false);
    ck_assert_ptr_nonnull(client_statements_find(&client, "a"));
    settle(closing, true);
    settle(second, true);
    ck_assert_ptr_nonnull(client_statements_find(&client, "a"));
    ck_assert_int_eq(client.unsettled, 0);
}
END_TEST

START_TEST(a_change_of_the_server_may_count_for_the_client)
{
    struct shared_statement *a = statement("select 1");
    struct statement_delta *parsing = server_statements_define(&server, a);
    parsing->counts_for_client = true;
    client.unsettled++;
    settle(parsing, true);
    ck_assert_int_eq(client.unsettled, 0);
    statement_release(&table, a);
}
END_TEST

/* The client's part is given up at once, the server learns what became of it. */
START_TEST(what_a_client_that_left_had_parsed_stays_with_the_server)
{
    for (int done = 0; done <= 1; done++) {
        struct shared_statement *shared = statement("select 1");
        struct statement_delta *delta = server_statements_define(&server, shared);
        struct statement_delta *name = client_statements_define(&client, &table, "s", shared);
        ck_assert_ptr_null(statement_delta_disown(name, &table));
        ck_assert_ptr_eq(statement_delta_disown(delta, &table), delta);
        client_statements_clear(&client, &table);
        statement_delta_settle(delta, done, NULL, NULL, &server);
        struct server_statement *held = server_statements_find(&server, shared);
        ck_assert(done ? held && held->is_confirmed : !held);
        statement_release(&table, shared);
        ck_assert_ptr_null(table.by_digest);
    }
}
END_TEST

START_TEST(a_close_behind_a_parse_that_failed_brings_nothing_back)
{
    struct statement_delta *parse = define("a", "select 1");
    struct statement_delta *close = client_statements_remove(&client, &table, "a");
    settle(parse, false);
    settle(close, false);
    ck_assert_ptr_null(client_statements_find(&client, "a"));
}
END_TEST

START_TEST(a_skipped_close_behind_a_parse_that_was_done_is_undone)
{
    struct statement_delta *parse = define("a", "select 1");
    struct statement_delta *close = client_statements_remove(&client, &table, "a");
    settle(parse, true);
    settle(close, false);
    ck_assert_ptr_nonnull(client_statements_find(&client, "a"));
}
END_TEST

START_TEST(a_stale_statement_stays_stale_when_its_close_and_parse_are_skipped)
{
    struct shared_statement *shared = statement("select 1");
    settle(server_statements_define(&server, shared), true);
    server_statements_mark_stale(&server);
    struct statement_delta *closing =
        server_statements_closing(server_statements_take(&server, shared));
    struct statement_delta *parse = server_statements_define(&server, shared);
    ck_assert(!server_statements_find(&server, shared)->is_stale);
    settle(closing, false);
    settle(parse, false);
    ck_assert(server_statements_find(&server, shared)->is_stale);
    statement_release(&table, shared);
}
END_TEST

START_TEST(what_sql_takes_away_counts_when_it_was_told)
{
    settle(define("s", "select 1"), true);
    struct statement_delta *delta = client_statements_deallocate(&client, &table, "s");
    ck_assert_ptr_null(client_statements_find(&client, "s"));
    settle(delta, true); /* the message was answered, but not that it did so */
    ck_assert_ptr_nonnull(client_statements_find(&client, "s"));
    delta = client_statements_deallocate(&client, &table, "s");
    statement_delta_told(delta);
    settle(delta, false);
    ck_assert_ptr_null(client_statements_find(&client, "s"));
    ck_assert_int_eq(client.unsettled, 0);
}
END_TEST

START_TEST(what_takes_all_names_away_is_waited_for)
{
    settle(define("s", "select 1"), true);
    struct statement_delta *delta = client_statements_deallocate_all(&client);
    ck_assert_int_eq(client.unsettled, 1);
    settle(delta, true);
    ck_assert_int_eq(client.unsettled, 0);
    ck_assert_ptr_nonnull(client_statements_find(&client, "s"));
    client_statements_forget(&client, &table);
    ck_assert_ptr_null(client_statements_find(&client, "s"));
    delta = client_statements_deallocate_all(&client);
    ck_assert_ptr_null(statement_delta_disown(delta, &table));
}
END_TEST

START_TEST(texts_with_a_time_in_a_literal_keep_it)
{
    ck_assert(statement_keeps_time("select 'now'::timestamptz"));
    ck_assert(statement_keeps_time("select date ' Today'"));
    ck_assert(statement_keeps_time("select $$tomorrow$$::date, 1"));
    ck_assert(statement_keeps_time("select 'yesterday allballs'::timestamp"));
    ck_assert(!statement_keeps_time("select now(), 'x'"));
    ck_assert(!statement_keeps_time("select 'x', snow, know_it, now1"));
    ck_assert(!statement_keeps_time("select now"));
    ck_assert(!statement_keeps_time(""));
}
END_TEST

Suite *suite_ledger_statements(void)
{
    const TTest *const tests[] = {
        equal_texts_share_a_statement,
        other_settings_make_another_statement,
        other_types_make_another_statement,
        the_parse_message_is_ready_to_send,
        a_defined_name_is_found_at_once,
        a_name_whose_parse_failed_is_gone,
        a_close_that_was_skipped_is_undone,
        a_close_that_was_done_stays,
        closing_an_unknown_name_is_no_error,
        names_are_compared_by_63_bytes,
        the_least_recently_used_is_evicted,
        an_eviction_that_was_skipped_is_put_back,
        a_parse_that_failed_leaves_nothing_on_the_server,
        a_skipped_close_and_parse_leave_the_statement_held,
        forgetting_spares_what_is_not_confirmed,
        a_failed_parse_leaves_the_name_that_was_defined_behind_it,
        a_change_of_the_server_may_count_for_the_client,
        what_a_client_that_left_had_parsed_stays_with_the_server,
        a_close_behind_a_parse_that_failed_brings_nothing_back,
        a_skipped_close_behind_a_parse_that_was_done_is_undone,
        a_stale_statement_stays_stale_when_its_close_and_parse_are_skipped,
        texts_with_a_time_in_a_literal_keep_it,
    };
    Suite *suite = suite_create("ledger/statements");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, begin, end);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(all, tests[i]);
    tcase_add_test(all, what_sql_takes_away_counts_when_it_was_told);
    tcase_add_test(all, what_takes_all_names_away_is_waited_for);
    suite_add_tcase(suite, all);
    return suite;
}
