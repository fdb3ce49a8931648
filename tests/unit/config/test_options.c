#include <check.h>
#include <limits.h>
#include <string.h>

#include "base/memory.h"
#include "config/options.h"

Suite *suite_config_options(void);

static struct settings settings;
static struct error error;

static void make_settings(void)
{
    ck_assert(settings_init(&settings));
}

static void end_settings(void)
{
    settings_finish(&settings);
}

static bool set(const char *name, const char *text)
{
    return settings_set(&settings, config_option_find(name), text, &error);
}

static void assert_refused(const char *name, const char *text, const char *reason)
{
    ck_assert(!set(name, text));
    ck_assert_str_eq(error.message, reason);
}

static void assert_text(const char *name, const char *expected)
{
    char text[256];

    ck_assert(settings_text(&settings, config_option_find(name), text, sizeof text));
    ck_assert_str_eq(text, expected);
}

START_TEST(every_option_is_documented)
{
    for (int i = 0; i < config_option_count; i++)
        ck_assert_msg(strlen(config_options[i].help) > 3, "%s", config_options[i].name);
}
END_TEST

START_TEST(every_key_of_an_entry_is_documented)
{
    for (int i = 0; i < database_keys.count; i++)
        ck_assert_msg(strlen(database_keys.keys[i].help) > 3, "%s", database_keys.keys[i].name);
    for (int i = 0; i < user_keys.count; i++)
        ck_assert_msg(strlen(user_keys.keys[i].help) > 3, "%s", user_keys.keys[i].name);
}
END_TEST

START_TEST(no_option_stands_twice)
{
    for (int i = 0; i < config_option_count; i++)
        ck_assert_ptr_eq(config_option_find(config_options[i].name), &config_options[i]);
}
END_TEST

START_TEST(every_default_is_inside_its_own_range)
{
    for (int i = 0; i < config_option_count; i++) {
        const char *text = config_options[i].default_text;

        if (text != NULL)
            ck_assert_msg(settings_set(&settings, &config_options[i], text, &error), "%s: %s",
                          config_options[i].name, error.message);
    }
}
END_TEST

START_TEST(every_option_starts_with_its_default)
{
    for (int i = 0; i < config_option_count; i++)
        ck_assert_msg(settings_is_default(&settings, &config_options[i]), "%s",
                      config_options[i].name);
}
END_TEST

START_TEST(what_has_no_default_is_null)
{
    ck_assert_ptr_null(settings.auth_file);
    ck_assert_ptr_null(settings.user);
    ck_assert_int_eq(settings.verbose, 0);
}
END_TEST

START_TEST(defaults_are_those_of_the_field)
{
    ck_assert_int_eq(settings.default_pool_size, 20);
    ck_assert_int_eq(settings.listen_port, 6432);
    ck_assert_int_eq(settings.query_wait_timeout, 120 * USEC_PER_SEC);
    ck_assert_int_eq(settings.auth_type, AUTH_MD5);
    ck_assert_int_eq(settings.server_tls_sslmode, TLS_PREFER);
    ck_assert_uint_eq(settings.max_packet_size, 2147483647);
    ck_assert_str_eq(settings.server_reset_query, "DISCARD ALL");
}
END_TEST

START_TEST(numbers_may_be_hexadecimal_or_octal)
{
    ck_assert(set("default_pool_size", "0x10"));
    ck_assert_int_eq(settings.default_pool_size, 16);
    ck_assert(set("unix_socket_mode", "0700"));
    ck_assert_int_eq(settings.unix_socket_mode, 0700);
}
END_TEST

START_TEST(any_number_switches_on)
{
    ck_assert(set("log_connections", "-7"));
    ck_assert_int_eq(settings.log_connections, -7);
}
END_TEST

START_TEST(words_do_not_switch)
{
    assert_refused("log_connections", "on", "not a whole number: 0 is off, 1 is on");
}
END_TEST

START_TEST(a_number_has_nothing_behind_it)
{
    assert_refused("default_pool_size", "20 ; servers", "not a whole number");
}
END_TEST

START_TEST(an_empty_value_is_no_number)
{
    assert_refused("default_pool_size", "", "not a whole number");
}
END_TEST

START_TEST(a_number_outside_its_range_is_refused)
{
    assert_refused("listen_port", "65536", "must be 0 to 65535");
    assert_refused("worker_threads", "65", "must be 0 to 64");
}
END_TEST

START_TEST(a_number_over_32_bits_is_refused)
{
    assert_refused("max_client_conn", "2147483648", "must be 0 to 2147483647");
    assert_refused("max_client_conn", "99999999999999999999", "must be 0 to 2147483647");
    assert_refused("log_stats", "2147483648", "must be -2147483648 to 2147483647");
}
END_TEST

START_TEST(an_unsigned_number_may_use_all_its_bits)
{
    ck_assert(set("max_packet_size", "4294967295"));
    ck_assert_uint_eq(settings.max_packet_size, UINT_MAX);
    assert_refused("max_packet_size", "-1", "must be 1 to 4294967295");
}
END_TEST

START_TEST(a_refused_value_changes_nothing)
{
    ck_assert(set("listen_port", "5432"));
    ck_assert(!set("listen_port", "x"));
    ck_assert_int_eq(settings.listen_port, 5432);
}
END_TEST

START_TEST(times_may_have_fractions_and_exponents)
{
    ck_assert(set("query_timeout", "0.5"));
    ck_assert_int_eq(settings.query_timeout, 500 * USEC_PER_MSEC);
    ck_assert(set("query_timeout", "1e3"));
    ck_assert_int_eq(settings.query_timeout, 1000 * USEC_PER_SEC);
}
END_TEST

START_TEST(times_have_no_units)
{
    assert_refused("query_timeout", "1s", "not a number of seconds (without a unit)");
}
END_TEST

START_TEST(times_are_not_negative)
{
    assert_refused("query_timeout", "-1", "must be 0 to 10000000000");
}
END_TEST

START_TEST(times_are_finite)
{
    ck_assert(!set("query_timeout", "inf"));
    ck_assert(!set("query_timeout", "nan"));
    ck_assert(!set("query_timeout", "1e300"));
}
END_TEST

START_TEST(names_are_taken_in_any_case)
{
    ck_assert(set("pool_mode", "TRANSACTION"));
    ck_assert_int_eq(settings.pool_mode, POOL_MODE_TRANSACTION);
    ck_assert(set("auth_type", "Scram-SHA-256"));
    ck_assert_int_eq(settings.auth_type, AUTH_SCRAM_SHA_256);
    ck_assert(set("client_tls_sslmode", "Verify-Full"));
    ck_assert_int_eq(settings.client_tls_sslmode, TLS_VERIFY_FULL);
}
END_TEST

START_TEST(other_names_are_refused_with_the_right_ones)
{
    assert_refused("pool_mode", "sesion", "must be one of session, transaction, statement");
}
END_TEST

START_TEST(values_are_shown_as_they_are_kept)
{
    ck_assert(set("query_timeout", "0.25"));
    assert_text("query_timeout", "0.25");
    ck_assert(set("query_timeout", "1e6"));
    assert_text("query_timeout", "1e+06");
    assert_text("unix_socket_mode", "511");
    ck_assert(set("pool_mode", "STATEMENT"));
    assert_text("pool_mode", "statement");
    ck_assert(set("log_stats", "0x1"));
    assert_text("log_stats", "1");
}
END_TEST

START_TEST(secrets_are_not_shown)
{
    ck_assert(set("auth_ldap_options", "ldapbindpasswd=x"));
    assert_text("auth_ldap_options", "****");
}
END_TEST

START_TEST(text_without_default_is_shown_as_null)
{
    char text[16];

    ck_assert(!settings_text(&settings, config_option_find("auth_file"), text, sizeof text));
}
END_TEST

START_TEST(a_reset_brings_the_default_back)
{
    ck_assert(set("admin_users", "a, b"));
    ck_assert(settings_reset(&settings, config_option_find("admin_users")));
    ck_assert_str_eq(settings.admin_users, "");
}
END_TEST

START_TEST(a_copy_owns_its_text)
{
    struct settings copy;

    ck_assert(set("admin_users", "a"));
    ck_assert(settings_copy(&copy, &settings));
    ck_assert_str_eq(copy.admin_users, "a");
    ck_assert_ptr_ne(copy.admin_users, settings.admin_users);
    settings_finish(&copy);
}
END_TEST

START_TEST(a_misspelt_name_is_recognised)
{
    ck_assert_str_eq(config_option_similar("pool_moed"), "pool_mode");
    ck_assert_str_eq(config_option_similar("max_client_con"), "max_client_conn");
}
END_TEST

START_TEST(a_strange_name_is_like_nothing)
{
    ck_assert_ptr_null(config_option_similar("frobnicate"));
}
END_TEST

Suite *suite_config_options(void)
{
    Suite *suite = suite_create("config/options");
    TCase *tests = tcase_create("options");

    tcase_add_checked_fixture(tests, make_settings, end_settings);
    tcase_add_test(tests, every_option_is_documented);
    tcase_add_test(tests, every_key_of_an_entry_is_documented);
    tcase_add_test(tests, no_option_stands_twice);
    tcase_add_test(tests, every_default_is_inside_its_own_range);
    tcase_add_test(tests, every_option_starts_with_its_default);
    tcase_add_test(tests, what_has_no_default_is_null);
    tcase_add_test(tests, defaults_are_those_of_the_field);
    tcase_add_test(tests, numbers_may_be_hexadecimal_or_octal);
    tcase_add_test(tests, any_number_switches_on);
    tcase_add_test(tests, words_do_not_switch);
    tcase_add_test(tests, a_number_has_nothing_behind_it);
    tcase_add_test(tests, an_empty_value_is_no_number);
    tcase_add_test(tests, a_number_outside_its_range_is_refused);
    tcase_add_test(tests, a_number_over_32_bits_is_refused);
    tcase_add_test(tests, an_unsigned_number_may_use_all_its_bits);
    tcase_add_test(tests, a_refused_value_changes_nothing);
    tcase_add_test(tests, times_may_have_fractions_and_exponents);
    tcase_add_test(tests, times_have_no_units);
    tcase_add_test(tests, times_are_not_negative);
    tcase_add_test(tests, times_are_finite);
    tcase_add_test(tests, names_are_taken_in_any_case);
    tcase_add_test(tests, other_names_are_refused_with_the_right_ones);
    tcase_add_test(tests, values_are_shown_as_they_are_kept);
    tcase_add_test(tests, secrets_are_not_shown);
    tcase_add_test(tests, text_without_default_is_shown_as_null);
    tcase_add_test(tests, a_reset_brings_the_default_back);
    tcase_add_test(tests, a_copy_owns_its_text);
    tcase_add_test(tests, a_misspelt_name_is_recognised);
    tcase_add_test(tests, a_strange_name_is_like_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
