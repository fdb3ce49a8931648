#include <check.h>
#include <string.h>

#include "base/digest.h"
#include "ledger/parameters.h"

Suite *suite_ledger_parameters(void);

static struct parameter_names names;
static struct server_parameters server;
static struct told_parameters told;
static struct wanted_parameters wanted;

static void begin(void)
{
    digest_init();
    ck_assert(parameter_names_init(&names, "IntervalStyle, work_mem"));
    memset(&server, 0, sizeof(server));
    memset(&told, 0, sizeof(told));
    memset(&wanted, 0, sizeof(wanted));
}

static void end(void)
{
    server_parameters_finish(&server);
    wanted_parameters_finish(&wanted);
    parameter_names_finish(&names);
}

static int slot(const char *name)
{
    return parameter_slot(&names, name);
}

/* The prefix as text: the Query messages one after another. */
static int prefix(char *text, size_t size)
{
    uint8_t memory[4096];
    struct bytes out = bytes_over(memory, sizeof(memory));
    int queries =
        wanted_parameters_prefix(&wanted, &server, &names, (struct session_change){0}, &out);
    *text = 0;
    for (size_t at = 0; at < out.size;) {
        size_t length = (size_t)memory[at + 3] << 8 | memory[at + 4];
        strncat(text, (const char *)memory + at + 5, size - strlen(text) - 1);
        strncat(text, "|", size - strlen(text) - 1);
        at += length + 1;
    }
    return queries;
}

START_TEST(names_compare_without_case)
{
    ck_assert_int_ge(slot("datestyle"), 0);
    ck_assert_int_eq(slot("datestyle"), slot("DateStyle"));
}
END_TEST

START_TEST(extra_names_are_tracked)
{
    ck_assert_int_ge(slot("work_mem"), 0);
    ck_assert(names.tracked[slot("work_mem")]);
    ck_assert(names.tracked[slot("IntervalStyle")]);
    ck_assert(!names.tracked[slot("server_version")]);
}
END_TEST

START_TEST(an_unknown_name_has_no_slot)
{
    ck_assert_int_eq(slot("shared_buffers"), -1);
}
END_TEST

START_TEST(a_client_that_was_told_everything_agrees_with_the_server)
{
    server_parameters_set(&server, slot("TimeZone"), "UTC");
    server_parameters_set(&server, slot("DateStyle"), "ISO, MDY");
    told_parameters_set(&told, slot("DateStyle"), "ISO, MDY");
    told_parameters_set(&told, slot("TimeZone"), "UTC");
    ck_assert_uint_eq(told.digest, server.digest);
}
END_TEST

START_TEST(values_that_changed_places_do_not_agree)
{
    server_parameters_set(&server, slot("TimeZone"), "a");
    server_parameters_set(&server, slot("DateStyle"), "b");
    told_parameters_set(&told, slot("DateStyle"), "a");
    told_parameters_set(&told, slot("TimeZone"), "b");
    ck_assert_uint_ne(told.digest, server.digest);
}
END_TEST

START_TEST(only_the_difference_is_told)
{
    uint8_t memory[256];
    struct bytes out = bytes_over(memory, sizeof(memory));
    server_parameters_set(&server, slot("TimeZone"), "UTC");
    server_parameters_set(&server, slot("DateStyle"), "ISO, MDY");
    told_parameters_set(&told, slot("DateStyle"), "ISO, MDY");
    told_parameters_update(&told, &server, &names, &out);
    ck_assert_uint_eq(out.size, 5 + sizeof("TimeZone") + sizeof("UTC"));
    ck_assert_uint_eq(told.digest, server.digest);
}
END_TEST

START_TEST(a_client_that_wants_nothing_does_not_differ)
{
    server_parameters_set(&server, slot("TimeZone"), "UTC");
    ck_assert(!wanted_parameters_differ(&wanted, &server));
}
END_TEST

START_TEST(a_wanted_value_that_the_server_lacks_differs)
{
    server_parameters_set(&server, slot("TimeZone"), "UTC");
    ck_assert(wanted_parameters_set(&wanted, slot("TimeZone"), "CET"));
    ck_assert(wanted_parameters_differ(&wanted, &server));
}
END_TEST

START_TEST(the_prefix_begins_alone_and_commits_with_the_settings)
{
    char text[1024];
    wanted_parameters_set(&wanted, slot("TimeZone"), "CET");
    ck_assert_int_eq(prefix(text, sizeof(text)), 2);
    ck_assert_str_eq(text, "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE|"
                           "SELECT pg_catalog.set_config(E'TimeZone',E'CET',false); COMMIT|");
}
END_TEST

START_TEST(a_change_of_encoding_is_a_query_of_its_own)
{
    char text[1024];
    wanted_parameters_set(&wanted, slot("client_encoding"), "LATIN1");
    ck_assert_int_eq(prefix(text, sizeof(text)), 3);
    ck_assert_str_eq(text, "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE|"
                           "SELECT pg_catalog.set_config(E'client_encoding',E'LATIN1',false)|"
                           "COMMIT|");
}
END_TEST

START_TEST(quotes_and_backslashes_cannot_leave_the_literal)
{
    char text[1024];
    wanted_parameters_set(&wanted, slot("application_name"), "a'b\\");
    prefix(text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "E'a''b\\\\'"));
}
END_TEST

START_TEST(what_the_server_has_already_is_not_set_again)
{
    char text[1024];
    server_parameters_set(&server, slot("TimeZone"), "CET");
    wanted_parameters_set(&wanted, slot("TimeZone"), "CET");
    wanted_parameters_set(&wanted, slot("application_name"), "x");
    prefix(text, sizeof(text));
    ck_assert_ptr_null(strstr(text, "TimeZone"));
}
END_TEST

START_TEST(the_servers_spelling_is_adopted)
{
    server_parameters_set(&server, slot("DateStyle"), "ISO, MDY");
    wanted_parameters_set(&wanted, slot("DateStyle"), "ISO");
    wanted_parameters_adopt(&wanted, &server);
    ck_assert(!wanted_parameters_differ(&wanted, &server));
    ck_assert_str_eq(wanted_parameters_get(&wanted, slot("DateStyle")), "ISO, MDY");
}
END_TEST

START_TEST(the_name_of_an_application_does_not_change_what_statements_mean)
{
    wanted_parameters_set(&wanted, slot("application_name"), "x");
    ck_assert_uint_eq(wanted_parameters_statement_hash(&wanted, &names), 0);
    wanted_parameters_set(&wanted, slot("DateStyle"), "SQL");
    ck_assert_uint_ne(wanted_parameters_statement_hash(&wanted, &names), 0);
}
END_TEST

Suite *suite_ledger_parameters(void)
{
    const TTest *const tests[] = {
        names_compare_without_case,
        extra_names_are_tracked,
        an_unknown_name_has_no_slot,
        a_client_that_was_told_everything_agrees_with_the_server,
        values_that_changed_places_do_not_agree,
        only_the_difference_is_told,
        a_client_that_wants_nothing_does_not_differ,
        a_wanted_value_that_the_server_lacks_differs,
        the_prefix_begins_alone_and_commits_with_the_settings,
        a_change_of_encoding_is_a_query_of_its_own,
        quotes_and_backslashes_cannot_leave_the_literal,
        what_the_server_has_already_is_not_set_again,
        the_servers_spelling_is_adopted,
        the_name_of_an_application_does_not_change_what_statements_mean,
    };
    Suite *suite = suite_create("ledger/parameters");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, begin, end);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    return suite;
}
