#include <check.h>
#include <string.h>

#include "../../../src/client/startup_parameters.h"
#include "base/digest.h"
#include "base/memory.h"

Suite *suite_client_startup_parameters(void);

static struct parameter_names names;
static struct wanted_parameters wanted;
static struct session_list others;
static bool takes_others;
static struct startup_choice choice;
static struct startup_message message;
static struct error error;

static void set_up(void)
{
    digest_init();
    ck_assert(parameter_names_init(&names, "IntervalStyle"));
    wanted = (struct wanted_parameters){0};
    takes_others = false;
    error = (struct error){.message = ""};
    message = (struct startup_message){.protocol = PROTOCOL_3_0};
}

static void tear_down(void)
{
    wanted_parameters_finish(&wanted);
    session_list_finish(&others);
    parameter_names_finish(&names);
}

static void ask(const char *name, const char *value)
{
    message.parameters[message.count++] = (struct startup_parameter){name, value};
}

static bool read_ignoring(const char *ignored)
{
    struct startup_reading reading = {.names = &names,
                                      .ignored = ignored,
                                      .wanted = &wanted,
                                      .others = takes_others ? &others : NULL};
    return startup_parameters_read(&message, &reading, &choice, &error);
}

static const char *wanted_of(const char *name)
{
    return wanted_parameters_get(&wanted, parameter_slot(&names, name));
}

START_TEST(the_database_defaults_to_the_user)
{
    ask("user", "ann");
    ck_assert(read_ignoring(""));
    ck_assert_str_eq(choice.database, "ann");
}
END_TEST

START_TEST(an_empty_database_is_none)
{
    ask("user", "ann");
    ask("database", "");
    ck_assert(read_ignoring(""));
    ck_assert_str_eq(choice.database, "ann");
}
END_TEST

START_TEST(without_a_user_nobody_asks)
{
    ask("database", "shop");
    ck_assert(!read_ignoring(""));
    ck_assert_str_eq(error.message, "no username supplied");
    ck_assert_str_eq(error.sqlstate, "28000");
}
END_TEST

START_TEST(tracked_names_are_found_without_case)
{
    ask("user", "ann");
    ask("Application_Name", "psql");
    ck_assert(read_ignoring(""));
    ck_assert_str_eq(wanted_of("application_name"), "psql");
}
END_TEST

START_TEST(an_empty_application_name_is_a_value)
{
    ask("user", "ann");
    ask("application_name", "");
    ck_assert(read_ignoring(""));
    ck_assert_str_eq(wanted_of("application_name"), "");
}
END_TEST

START_TEST(extra_tracked_names_are_honoured)
{
    ask("user", "ann");
    ask("intervalstyle", "iso_8601");
    ck_assert(read_ignoring(""));
    ck_assert_str_eq(wanted_of("IntervalStyle"), "iso_8601");
}
END_TEST

START_TEST(another_parameter_is_refused_by_name)
{
    ask("user", "ann");
    ask("search_path", "secret");
    ck_assert(!read_ignoring(""));
    ck_assert_str_eq(error.message, "unsupported startup parameter: search_path");
    ck_assert_str_eq(choice.refused_value, "secret");
}
END_TEST

START_TEST(other_settings_are_kept_where_they_may_follow)
{
    ask("user", "ann");
    ask("options", "-c work_mem=1MB --lock-timeout=2s");
    ask("work_mem", "3MB");
    ask("ignored", "4");
    takes_others = true;
    ck_assert(read_ignoring("ignored"));
    ck_assert_int_eq(others.count, 2);
    ck_assert_str_eq(session_list_get(&others, "work_mem"), "3MB");
    ck_assert_str_eq(session_list_get(&others, "lock_timeout"), "2s");
    ck_assert(choice.others_in_options);
}
END_TEST

START_TEST(an_ignored_parameter_is_dropped)
{
    ask("user", "ann");
    ask("extra_float_digits", "3");
    ck_assert(read_ignoring("search_path, extra_float_digits"));
    ck_assert_int_eq(wanted.count, 0);
}
END_TEST

START_TEST(settings_inside_options_are_honoured)
{
    ask("user", "ann");
    ask("options", "-c timezone=Mars\\ Base --datestyle=German");
    ck_assert(read_ignoring(""));
    ck_assert_str_eq(wanted_of("TimeZone"), "Mars Base");
    ck_assert_str_eq(wanted_of("DateStyle"), "German");
}
END_TEST

START_TEST(a_parameter_of_its_own_wins_over_options)
{
    ask("user", "ann");
    ask("TimeZone", "UTC");
    ask("options", "-c timezone=CET");
    ck_assert(read_ignoring(""));
    ck_assert_str_eq(wanted_of("TimeZone"), "UTC");
}
END_TEST

START_TEST(an_unknown_setting_inside_options_is_refused)
{
    ask("user", "ann");
    ask("options", "-c statement_timeout=1");
    ck_assert(!read_ignoring(""));
    ck_assert_str_eq(error.message, "unsupported startup parameter in options: statement_timeout");
}
END_TEST

START_TEST(ignoring_options_drops_unknown_settings_only)
{
    ask("user", "ann");
    ask("options", "-c statement_timeout=1 -c timezone=CET");
    ck_assert(read_ignoring("options"));
    ck_assert_str_eq(wanted_of("TimeZone"), "CET");
}
END_TEST

START_TEST(ignoring_options_still_refuses_bad_syntax)
{
    ask("user", "ann");
    ask("options", "-x");
    ck_assert(!read_ignoring("options"));
}
END_TEST

START_TEST(a_value_over_the_limit_is_refused)
{
    char *value = memory_zalloc(PARAMETER_VALUE_MAX + 2);
    memset(value, 'x', PARAMETER_VALUE_MAX + 1);
    ask("user", "ann");
    ask("application_name", value);
    ck_assert(!read_ignoring(""));
    ck_assert_str_eq(error.sqlstate, SQLSTATE_INVALID_PARAMETER);
    memory_free(value);
}
END_TEST

static const struct {
    const char *value;
    enum startup_replication replication;
} replications[] = {
    {"database", REPLICATION_DATABASE},
    {"true", REPLICATION_YES},
    {"T", REPLICATION_YES},
    {"on", REPLICATION_YES},
    {"1", REPLICATION_YES},
    {"o", REPLICATION_NO},
    {"off", REPLICATION_NO},
    {"", REPLICATION_NO},
    {"0", REPLICATION_NO},
    {"maybe", REPLICATION_NO},
};

START_TEST(replication_is_read_as_a_boolean_of_postgresql)
{
    ask("user", "ann");
    ask("replication", replications[_i].value);
    ck_assert(read_ignoring(""));
    ck_assert_int_eq(choice.replication, replications[_i].replication);
}
END_TEST

static const struct {
    uint32_t asked, spoken;
    bool must_negotiate;
} protocols[] = {
    {PROTOCOL_3_0, PROTOCOL_3_0, false}, {0x00030001, PROTOCOL_3_0, true},
    {PROTOCOL_3_2, PROTOCOL_3_2, false}, {0x00030003, PROTOCOL_3_2, true},
    {0x0003270f, PROTOCOL_3_2, true},
};

START_TEST(the_protocol_is_negotiated_down_to_what_is_spoken)
{
    message.protocol = protocols[_i].asked;
    ask("user", "ann");
    ck_assert(read_ignoring(""));
    ck_assert_uint_eq(choice.protocol, protocols[_i].spoken);
    ck_assert_int_eq(choice.must_negotiate, protocols[_i].must_negotiate);
}
END_TEST

START_TEST(protocol_options_are_listed_for_the_negotiation)
{
    ask("user", "ann");
    ask("_pq_.one", "x");
    ask("_pq_.two", "x");
    ck_assert(read_ignoring(""));
    ck_assert(choice.must_negotiate);
    ck_assert_uint_eq(choice.unknown_count, 2);
    ck_assert_str_eq(choice.unknown[1], "_pq_.two");
}
END_TEST

Suite *suite_client_startup_parameters(void)
{
    Suite *suite = suite_create("client/startup_parameters");
    TCase *tests = tcase_create("startup_parameters");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_database_defaults_to_the_user);
    tcase_add_test(tests, an_empty_database_is_none);
    tcase_add_test(tests, without_a_user_nobody_asks);
    tcase_add_test(tests, tracked_names_are_found_without_case);
    tcase_add_test(tests, an_empty_application_name_is_a_value);
    tcase_add_test(tests, extra_tracked_names_are_honoured);
    tcase_add_test(tests, another_parameter_is_refused_by_name);
    tcase_add_test(tests, other_settings_are_kept_where_they_may_follow);
    tcase_add_test(tests, an_ignored_parameter_is_dropped);
    tcase_add_test(tests, settings_inside_options_are_honoured);
    tcase_add_test(tests, a_parameter_of_its_own_wins_over_options);
    tcase_add_test(tests, an_unknown_setting_inside_options_is_refused);
    tcase_add_test(tests, ignoring_options_drops_unknown_settings_only);
    tcase_add_test(tests, ignoring_options_still_refuses_bad_syntax);
    tcase_add_test(tests, a_value_over_the_limit_is_refused);
    tcase_add_loop_test(tests, replication_is_read_as_a_boolean_of_postgresql, 0,
                        (int)(sizeof(replications) / sizeof(replications[0])));
    tcase_add_loop_test(tests, the_protocol_is_negotiated_down_to_what_is_spoken, 0,
                        (int)(sizeof(protocols) / sizeof(protocols[0])));
    tcase_add_test(tests, protocol_options_are_listed_for_the_negotiation);
    suite_add_tcase(suite, tests);
    return suite;
}
