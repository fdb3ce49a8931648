#include "config/describe.h"
#include "config/options.h"
#include "config_files.h"

Suite *suite_config_describe(void);

static struct option_row row;

/* Finds the row of `key` in what SHOW CONFIG would print for `text`. */
static void describe(const char *text, const char *key)
{
    struct loaded loaded = load_good(text);

    for (int i = 0; describe_option(loaded.config, i, &row); i++) {
        if (strcmp(row.key, key) == 0)
            break;
    }
    ck_assert_str_eq(row.key, key);
    unload(&loaded);
}

START_TEST(rows_come_in_the_known_order)
{
    struct loaded loaded = load_good("[pgbouncer]\n");

    ck_assert(describe_option(loaded.config, 0, &row));
    ck_assert_str_eq(row.key, "admin_users");
    ck_assert(describe_option(loaded.config, 1, &row));
    ck_assert_str_eq(row.key, "application_name_add_host");
    ck_assert(describe_option(loaded.config, 99, &row));
    ck_assert_str_eq(row.key, "verbose");
    ck_assert(describe_option(loaded.config, 100, &row));
    ck_assert_str_eq(row.key, "worker_threads");
    unload(&loaded);
}
END_TEST

START_TEST(there_is_no_row_past_the_last)
{
    struct loaded loaded = load_good("[pgbouncer]\n");

    ck_assert(!describe_option(loaded.config, config_option_count, &row));
    ck_assert(!describe_option(loaded.config, -1, &row));
    unload(&loaded);
}
END_TEST

START_TEST(a_value_stands_beside_its_default)
{
    describe("[pgbouncer]\nquery_wait_timeout = 1.5\n", "query_wait_timeout");
    ck_assert_str_eq(row.value, "1.5");
    ck_assert_str_eq(row.default_value, "120");
    ck_assert(row.changeable);
}
END_TEST

START_TEST(the_socket_mode_is_decimal_and_its_default_is_not)
{
    describe("[pgbouncer]\n", "unix_socket_mode");
    ck_assert_str_eq(row.value, "511");
    ck_assert_str_eq(row.default_value, "0777");
    ck_assert(!row.changeable);
}
END_TEST

START_TEST(no_default_is_null)
{
    describe("[pgbouncer]\n", "auth_user");
    ck_assert(row.value_is_null);
    ck_assert(row.default_is_null);
}
END_TEST

START_TEST(an_empty_default_is_not_null)
{
    describe("[pgbouncer]\n", "admin_users");
    ck_assert(!row.value_is_null);
    ck_assert(!row.default_is_null);
    ck_assert_str_eq(row.value, "");
}
END_TEST

START_TEST(the_file_in_use_is_shown)
{
    describe("[pgbouncer]\n", "conffile");
    ck_assert_str_eq(row.value, "pgweir.ini");
    ck_assert(row.default_is_null);
}
END_TEST

START_TEST(the_directory_password_is_not_shown)
{
    describe("[pgbouncer]\nauth_ldap_options = ldapbindpasswd=canary\n", "auth_ldap_options");
    ck_assert_str_eq(row.value, "****");
}
END_TEST

static char manual[65536];

static void write_manual(void)
{
    FILE *out = fmemopen(manual, sizeof manual, "w");

    ck_assert_ptr_nonnull(out);
    describe_manual(out);
    ck_assert_int_eq(fclose(out), 0);
}

START_TEST(the_manual_names_every_option)
{
    write_manual();
    for (int i = 0; i < config_option_count; i++) {
        char head[128];

        (void)snprintf(head, sizeof head, ".TP\n\\fB%s\\fR\n", config_options[i].name);
        ck_assert_msg(strstr(manual, head) != NULL, "%s", config_options[i].name);
    }
}
END_TEST

START_TEST(the_manual_says_what_a_default_is)
{
    write_manual();
    ck_assert_ptr_nonnull(strstr(manual, ".TP\n\\fBquery_wait_timeout\\fR\nLongest wait of a query "
                                         "for a server; 0: no limit.\nDefault: 120 seconds.\n"));
}
END_TEST

START_TEST(the_manual_escapes_hyphens)
{
    write_manual();
    ck_assert_ptr_nonnull(strstr(manual, "scram\\-sha\\-256"));
    ck_assert_ptr_null(strstr(manual, "scram-sha"));
}
END_TEST

Suite *suite_config_describe(void)
{
    Suite *suite = suite_create("config/describe");
    TCase *tests = tcase_create("describe");

    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_add_test(tests, rows_come_in_the_known_order);
    tcase_add_test(tests, there_is_no_row_past_the_last);
    tcase_add_test(tests, a_value_stands_beside_its_default);
    tcase_add_test(tests, the_socket_mode_is_decimal_and_its_default_is_not);
    tcase_add_test(tests, no_default_is_null);
    tcase_add_test(tests, an_empty_default_is_not_null);
    tcase_add_test(tests, the_file_in_use_is_shown);
    tcase_add_test(tests, the_directory_password_is_not_shown);
    tcase_add_test(tests, the_manual_names_every_option);
    tcase_add_test(tests, the_manual_says_what_a_default_is);
    tcase_add_test(tests, the_manual_escapes_hyphens);
    suite_add_tcase(suite, tests);
    return suite;
}
