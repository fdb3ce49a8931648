#include "config_files.h"

Suite *suite_config_listeners(void);

#define MAIN      "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 7000\n"
#define LISTENERS MAIN "[listeners]\n"

static struct loaded loaded;

static const struct listener_entry *listener(const char *name)
{
    const struct listener_entry *entry = config_listener(loaded.config, name);

    ck_assert_ptr_nonnull(entry);
    return entry;
}

static void take(const char *text)
{
    loaded = load_good(text);
}

static void finish(void)
{
    unload(&loaded);
    leave_folder();
}

START_TEST(the_first_one_is_there_without_a_line)
{
    take(MAIN);
    ck_assert_int_eq(loaded.config->listener_count, 1);
    ck_assert_int_eq(listener("default")->port, 7000);
    ck_assert_int_eq(listener("default")->protocols, SPEAKS_POSTGRES);
    ck_assert(listener_has_console(listener("default"), false));
    ck_assert(!loaded.config->has_mixed_modes);
}
END_TEST

START_TEST(a_line_of_default_changes_the_first_one)
{
    take(LISTENERS "default = protocols=postgres,http pool_mode=session\n");
    ck_assert_int_eq(loaded.config->listener_count, 1);
    ck_assert_int_eq(listener("default")->protocols, SPEAKS_POSTGRES | SPEAKS_HTTP);
    ck_assert_int_eq(listener("default")->pool_mode, POOL_MODE_SESSION);
    ck_assert(loaded.config->has_mixed_modes);
}
END_TEST

START_TEST(addresses_are_those_of_listen_addr_where_none_are_said)
{
    take(LISTENERS "one = port=7001\ntwo = port=7002 addr=127.0.0.2,::1\n");
    ck_assert_int_eq(listener("one")->address_count, 1);
    ck_assert_int_eq(address_port(&listener("one")->addresses[0]), 7001);
    ck_assert_int_eq(listener("two")->address_count, 2);
    ck_assert_int_eq(address_port(&listener("two")->addresses[1]), 7002);
}
END_TEST

START_TEST(what_is_not_said_is_the_global_value)
{
    const struct settings *settings;

    take(MAIN "auth_type = md5\n[listeners]\none = port=7001\n"
              "two = port=7002 auth=scram-sha-256\n");
    settings = &loaded.config->settings;
    ck_assert_int_eq(listener_auth(listener("one"), settings), AUTH_MD5);
    ck_assert_int_eq(listener_auth(listener("two"), settings), AUTH_SCRAM_SHA_256);
    ck_assert_int_eq(listener_tls(listener("one"), settings), TLS_DISABLE);
}
END_TEST

START_TEST(its_pool_mode_is_over_database_and_user)
{
    struct effective effective;

    take(LISTENERS "one = port=7001 pool_mode=statement\n[databases]\nd = pool_mode=session\n"
                   "[users]\nu = pool_mode=transaction\n");
    struct database_entry *database = config_find_database(loaded.config, "d");
    struct user_entry *user = config_find_user(loaded.config, "u");
    struct config_subject subject = {.database = database, .pool_user = user};
    config_effective(loaded.config, &subject, &effective);
    ck_assert_int_eq(effective.pool_mode, POOL_MODE_TRANSACTION);
    subject.listener = listener("default");
    config_effective(loaded.config, &subject, &effective);
    ck_assert_int_eq(effective.pool_mode, POOL_MODE_TRANSACTION);
    subject.listener = listener("one");
    config_effective(loaded.config, &subject, &effective);
    ck_assert_int_eq(effective.pool_mode, POOL_MODE_STATEMENT);
    database_release(database);
    user_release(user);
}
END_TEST

START_TEST(the_console_is_on_unix_sockets_where_nothing_is_said)
{
    take(LISTENERS "one = port=7001\nyes = port=7002 admin=yes\nno = port=7003 admin=no\n");
    ck_assert(!listener_has_console(listener("one"), false));
    ck_assert(listener_has_console(listener("one"), true));
    ck_assert(listener_has_console(listener("yes"), false));
    ck_assert(!listener_has_console(listener("no"), true));
}
END_TEST

START_TEST(databases_are_whole_names)
{
    take(LISTENERS "one = port=7001 databases='app, other'\n");
    ck_assert(listener_has_database(listener("one"), "app"));
    ck_assert(listener_has_database(listener("one"), "other"));
    ck_assert(!listener_has_database(listener("one"), "oth"));
    ck_assert(listener_has_database(listener("default"), "oth"));
}
END_TEST

START_TEST(set_keeps_the_listeners)
{
    struct config_problems problems = {0};

    take(LISTENERS "one = port=7001 pool_mode=session\n");
    const struct config *changed = config_with(loaded.config, "query_timeout", "3", &problems);
    ck_assert_ptr_nonnull(changed);
    ck_assert_int_eq(changed->listener_count, 2);
    ck_assert_ptr_eq(changed->listeners[1], loaded.config->listeners[1]);
    ck_assert(changed->has_mixed_modes);
    config_release(changed);
    changed = config_with(loaded.config, "client_tls_ciphers", "HIGH", &problems);
    ck_assert_ptr_nonnull(changed);
    ck_assert_ptr_ne(changed->listeners[1], loaded.config->listeners[1]);
    ck_assert_int_eq(changed->listeners[1]->pool_mode, POOL_MODE_SESSION);
    ck_assert_int_eq(changed->listeners[1]->address_count, 1);
    config_release(changed);
}
END_TEST

START_TEST(trust_is_for_loopback)
{
    take(MAIN "auth_type = trust\n[listeners]\none = port=7001\n");
    unload(&loaded);
    loaded = load(MAIN "auth_type = trust\n[listeners]\none = port=7001 addr=192.0.2.1\n");
    ck_assert_ptr_null(loaded.config);
    ck_assert_str_eq(loaded.problems.lines[0],
                     "pgweir.ini:6: one: auth_type trust and any are for loopback addresses only: "
                     "say auth=");
}
END_TEST

Suite *suite_config_listeners(void)
{
    Suite *suite = suite_create("config/listeners");
    TCase *tests = tcase_create("listeners");

    tcase_add_checked_fixture(tests, enter_folder, finish);
    tcase_add_test(tests, the_first_one_is_there_without_a_line);
    tcase_add_test(tests, a_line_of_default_changes_the_first_one);
    tcase_add_test(tests, addresses_are_those_of_listen_addr_where_none_are_said);
    tcase_add_test(tests, what_is_not_said_is_the_global_value);
    tcase_add_test(tests, its_pool_mode_is_over_database_and_user);
    tcase_add_test(tests, the_console_is_on_unix_sockets_where_nothing_is_said);
    tcase_add_test(tests, databases_are_whole_names);
    tcase_add_test(tests, set_keeps_the_listeners);
    tcase_add_test(tests, trust_is_for_loopback);
    suite_add_tcase(suite, tests);
    return suite;
}
