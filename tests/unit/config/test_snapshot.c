#include <pthread.h>

#include "config/snapshot.h"
#include "config_files.h"

Suite *suite_config_snapshot(void);

#define MAIN "[pgbouncer]\n"

/* ---- finding ---- */

static void assert_no_database(const char *text, const char *name)
{
    struct loaded loaded = load_good(text);

    ck_assert_ptr_null(config_find_database(loaded.config, name));
    unload(&loaded);
}

START_TEST(a_database_is_found_by_its_exact_name)
{
    assert_no_database(MAIN "[databases]\napp = host=x\n", "App");
}
END_TEST

START_TEST(without_a_star_there_are_no_other_databases)
{
    assert_no_database(MAIN "[databases]\napp = host=x\n", "other");
}
END_TEST

START_TEST(the_star_stands_for_every_other_name)
{
    struct loaded loaded = load_good(MAIN "[databases]\n* = host=x pool_size=3\n");
    struct database_entry *entry = config_find_database(loaded.config, "other");

    ck_assert_str_eq(entry->name, "other");
    ck_assert_str_eq(entry->dbname, "other");
    ck_assert_str_eq(entry->hosts[0], "x");
    ck_assert_int_eq(entry->pool_size, 3);
    ck_assert(entry->is_auto);
    ck_assert_ptr_nonnull(entry->server_tls);
    database_release(entry);
    unload(&loaded);
}
END_TEST

START_TEST(the_stars_dbname_holds_for_all)
{
    struct loaded loaded = load_good(MAIN "[databases]\n* = dbname=d\n");
    struct database_entry *entry = config_find_database(loaded.config, "other");

    ck_assert_str_eq(entry->dbname, "d");
    database_release(entry);
    unload(&loaded);
}
END_TEST

START_TEST(an_auto_database_is_remembered)
{
    struct loaded loaded = load_good(MAIN "[databases]\n* =\n");
    struct database_entry *first = config_find_database(loaded.config, "other");
    struct database_entry *second = config_find_database(loaded.config, "other");

    ck_assert_ptr_eq(first, second);
    database_release(first);
    database_release(second);
    unload(&loaded);
}
END_TEST

START_TEST(an_auto_database_has_a_short_name)
{
    assert_no_database(MAIN "[databases]\n* =\n",
                       "a123456789b123456789c123456789d123456789e123456789f123456789g123");
}
END_TEST

START_TEST(an_auto_database_has_a_name)
{
    assert_no_database(MAIN "[databases]\n* =\n", "");
}
END_TEST

START_TEST(an_entry_outlives_its_snapshot)
{
    struct loaded loaded = load_good(MAIN "[databases]\na = host=x\n");
    struct database_entry *entry = config_find_database(loaded.config, "a");

    unload(&loaded);
    ck_assert_str_eq(entry->hosts[0], "x");
    database_release(entry);
}
END_TEST

START_TEST(the_console_is_always_there)
{
    struct loaded loaded = load_good(MAIN "listen_port = 7000\n");
    struct database_entry *entry = config_find_database(loaded.config, "pgbouncer");

    ck_assert(entry->is_console);
    ck_assert_str_eq(entry->user, "pgbouncer");
    ck_assert_int_eq(entry->port, 7000);
    ck_assert_int_eq(entry->pool_size, 2);
    ck_assert_int_eq(entry->pool_mode, POOL_MODE_STATEMENT);
    ck_assert_ptr_null(entry->server_tls);
    database_release(entry);
    unload(&loaded);
}
END_TEST

START_TEST(an_unknown_user_is_not_found)
{
    struct loaded loaded = load_good(MAIN);

    ck_assert_ptr_null(config_find_user(loaded.config, "nobody"));
    unload(&loaded);
}
END_TEST

/* ---- the bound on auto-databases ---- */

static struct database_entry *held[CONFIG_AUTODB_MAX];

static struct database_entry *find_numbered(const struct config *config, int number)
{
    char name[32];

    (void)snprintf(name, sizeof name, "db%d", number);
    return config_find_database(config, name);
}

START_TEST(auto_databases_in_use_are_bounded)
{
    struct loaded loaded = load_good(MAIN "[databases]\n* =\n");

    for (int i = 0; i < CONFIG_AUTODB_MAX; i++)
        held[i] = find_numbered(loaded.config, i);
    ck_assert_ptr_nonnull(held[CONFIG_AUTODB_MAX - 1]);
    ck_assert_ptr_null(find_numbered(loaded.config, CONFIG_AUTODB_MAX));
    for (int i = 0; i < CONFIG_AUTODB_MAX; i++)
        database_release(held[i]);
    unload(&loaded);
}
END_TEST

START_TEST(unused_auto_databases_make_room)
{
    struct loaded loaded = load_good(MAIN "[databases]\n* =\n");
    struct database_entry *kept = find_numbered(loaded.config, 5), *again;
    int databases, users;

    for (int i = 0; i < 2 * CONFIG_AUTODB_MAX; i++)
        database_release(find_numbered(loaded.config, i));
    again = find_numbered(loaded.config, 5);
    config_counts(loaded.config, &databases, &users);
    ck_assert_ptr_eq(kept, again);
    ck_assert_int_eq(databases, CONFIG_AUTODB_MAX + 1);
    database_release(kept);
    database_release(again);
    unload(&loaded);
}
END_TEST

#define SEEKERS 4

static void *seek(void *argument)
{
    for (int i = 0; i < 500; i++)
        database_release(find_numbered(argument, i % 50));
    return NULL;
}

static void *list_names(void *argument);

START_TEST(many_threads_may_find_auto_databases)
{
    struct loaded loaded = load_good(MAIN "[databases]\n* =\nb = host=x\n");
    pthread_t threads[SEEKERS + 1];

    for (int i = 0; i < SEEKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, seek, (void *)(uintptr_t)loaded.config),
                         0);
    ck_assert_int_eq(
        pthread_create(&threads[SEEKERS], NULL, list_names, (void *)(uintptr_t)loaded.config), 0);
    for (int i = 0; i <= SEEKERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    unload(&loaded);
}
END_TEST

/* ---- walking ---- */

static void count_database(struct database_entry *entry, void *argument)
{
    int *count = argument;

    *count += entry->name[0] != '\0';
}

static void *list_names(void *argument)
{
    int count = 0;

    for (int i = 0; i < 20; i++)
        config_each_database(argument, count_database, &count);
    return NULL;
}

static char names[256];

static void note_database(struct database_entry *entry, void *argument)
{
    (void)argument;
    strcat(strcat(names, entry->name), " ");
}

static void note_user(struct user_entry *entry, void *argument)
{
    (void)argument;
    strcat(strcat(names, entry->name), " ");
}

START_TEST(databases_come_in_order_autos_among_them)
{
    struct loaded loaded = load_good(MAIN "[databases]\nz =\nm =\nB =\n* =\n");

    database_release(config_find_database(loaded.config, "n"));
    database_release(config_find_database(loaded.config, "zz"));
    database_release(config_find_database(loaded.config, "A"));
    names[0] = '\0';
    config_each_database(loaded.config, note_database, NULL);
    ck_assert_str_eq(names, "A B m n pgbouncer z zz ");
    unload(&loaded);
}
END_TEST

START_TEST(users_come_in_order)
{
    struct loaded loaded = load_good(MAIN "[users]\nz =\na =\nB =\n");

    names[0] = '\0';
    config_each_user(loaded.config, note_user, NULL);
    ck_assert_str_eq(names, "B a pgbouncer z ");
    unload(&loaded);
}
END_TEST

START_TEST(databases_and_users_are_counted)
{
    struct loaded loaded = load_good(MAIN "[databases]\na =\nb = user=c\n[users]\nd =\n");
    int databases, users;

    config_counts(loaded.config, &databases, &users);
    ck_assert_int_eq(databases, 3);
    ck_assert_int_eq(users, 3);
    unload(&loaded);
}
END_TEST

/* ---- fingerprints ---- */

static uint64_t fingerprint(const char *text)
{
    struct loaded loaded = load_good(text);
    struct database_entry *entry = config_find_database(loaded.config, "a");
    uint64_t found = entry->connection_fingerprint;

    database_release(entry);
    unload(&loaded);
    return found;
}

#define A MAIN "[databases]\na = "

START_TEST(the_same_line_has_the_same_fingerprint)
{
    ck_assert_uint_eq(fingerprint(A "host=x user=y\n"), fingerprint(A "user=y host=x\n"));
}
END_TEST

START_TEST(whatever_names_the_server_changes_the_fingerprint)
{
    static const char *const others[] = {
        A "host=y\n",
        A "host=x,y\n",
        A "host=x port=1\n",
        A "host=x user=u\n",
        A "host=x dbname=d\n",
        A "\n",
        A "host=x connect_query=q\n",
        A "host=x auth_dbname=q\n",
        A "host=x auth_query=q\n",
        A "host=x load_balance_hosts=disable\n",
        MAIN "server_tls_sslmode = require\n[databases]\na = host=x\n",
        MAIN "server_tls_protocols = tlsv1.3\n[databases]\na = host=x\n"};
    uint64_t first = fingerprint(A "host=x\n");

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_msg(fingerprint(others[i]) != first, "%s", others[i]);
}
END_TEST

START_TEST(sizes_and_passwords_do_not_change_the_fingerprint)
{
    uint64_t first = fingerprint(A "host=x\n");

    ck_assert_uint_eq(fingerprint(A
                                  "host=x password=p pool_size=3 pool_mode=statement "
                                  "query_wait_timeout=1 server_lifetime=1 max_db_connections=1\n"),
                      first);
}
END_TEST

START_TEST(an_auto_database_keeps_its_fingerprint_over_a_reload)
{
    ck_assert_uint_eq(fingerprint(MAIN "[databases]\n* = host=x\n"),
                      fingerprint(MAIN "[databases]\nb =\n* = host=x\n"));
}
END_TEST

/* ---- precedence ---- */

static struct effective effective;

/* What holds for database "d", pool user "p" and login user "l". */
static void find_effective(const char *text)
{
    struct loaded loaded = load_good(text);
    struct database_entry *database = config_find_database(loaded.config, "d");
    struct user_entry *pool_user = config_find_user(loaded.config, "p");
    struct user_entry *login_user = config_find_user(loaded.config, "l");

    const struct config_subject subject = {
        .database = database, .pool_user = pool_user, .login_user = login_user};
    config_effective(loaded.config, &subject, &effective);
    database_release(database);
    user_release(pool_user);
    user_release(login_user);
    unload(&loaded);
}

#define GLOBAL                                                                                     \
    MAIN "default_pool_size=1\nmin_pool_size=2\nreserve_pool_size=3\nmax_db_connections=4\n"       \
         "max_user_connections=5\nmax_db_client_connections=6\nmax_user_client_connections=7\n"    \
         "query_timeout=8\nquery_wait_timeout=9\nidle_transaction_timeout=10\n"                    \
         "transaction_timeout=11\nclient_idle_timeout=12\nserver_lifetime=13\n"                    \
         "pool_mode=transaction\n"

START_TEST(nothing_said_means_the_global_values)
{
    find_effective(GLOBAL "[databases]\nd =\n[users]\np =\nl =\n");
    ck_assert_int_eq(effective.pool_mode, POOL_MODE_TRANSACTION);
    ck_assert_int_eq(effective.pool_size, 1);
    ck_assert_int_eq(effective.min_pool_size, 2);
    ck_assert_int_eq(effective.reserve_pool_size, 3);
    ck_assert_int_eq(effective.max_db_connections, 4);
    ck_assert_int_eq(effective.max_user_connections, 5);
    ck_assert_int_eq(effective.max_db_client_connections, 6);
    ck_assert_int_eq(effective.max_user_client_connections, 7);
    ck_assert_int_eq(effective.query_timeout, 8 * USEC_PER_SEC);
    ck_assert_int_eq(effective.query_wait_timeout, 9 * USEC_PER_SEC);
    ck_assert_int_eq(effective.idle_transaction_timeout, 10 * USEC_PER_SEC);
    ck_assert_int_eq(effective.transaction_timeout, 11 * USEC_PER_SEC);
    ck_assert_int_eq(effective.client_idle_timeout, 12 * USEC_PER_SEC);
    ck_assert_int_eq(effective.server_lifetime, 13 * USEC_PER_SEC);
}
END_TEST

START_TEST(nobody_known_means_the_global_values)
{
    struct loaded loaded = load_good(GLOBAL);

    config_effective(loaded.config, &(struct config_subject){0}, &effective);
    ck_assert_int_eq(effective.pool_size, 1);
    ck_assert_int_eq(effective.query_wait_timeout, 9 * USEC_PER_SEC);
    unload(&loaded);
}
END_TEST

START_TEST(a_database_stands_over_the_global_values)
{
    find_effective(GLOBAL "[databases]\nd = pool_size=21 min_pool_size=22 reserve_pool_size=23 "
                          "max_db_connections=24 max_db_client_connections=26 "
                          "query_timeout=28 query_wait_timeout=29 idle_transaction_timeout=30 "
                          "transaction_timeout=31 client_idle_timeout=32 "
                          "server_lifetime=33 pool_mode=statement\n");
    ck_assert_int_eq(effective.pool_mode, POOL_MODE_STATEMENT);
    ck_assert_int_eq(effective.pool_size, 21);
    ck_assert_int_eq(effective.min_pool_size, 22);
    ck_assert_int_eq(effective.reserve_pool_size, 23);
    ck_assert_int_eq(effective.max_db_connections, 24);
    ck_assert_int_eq(effective.max_db_client_connections, 26);
    ck_assert_int_eq(effective.query_timeout, 28 * USEC_PER_SEC);
    ck_assert_int_eq(effective.query_wait_timeout, 29 * USEC_PER_SEC);
    ck_assert_int_eq(effective.idle_transaction_timeout, 30 * USEC_PER_SEC);
    ck_assert_int_eq(effective.transaction_timeout, 31 * USEC_PER_SEC);
    ck_assert_int_eq(effective.client_idle_timeout, 32 * USEC_PER_SEC);
    ck_assert_int_eq(effective.server_lifetime, 33 * USEC_PER_SEC);
}
END_TEST

#define ALL_USER_KEYS                                                                              \
    "pool_size=41 reserve_pool_size=43 max_user_connections=45 max_user_client_connections=47 "    \
    "query_timeout=48 query_wait_timeout=49 idle_transaction_timeout=50 transaction_timeout=51 "   \
    "client_idle_timeout=52 pool_mode=session\n"
#define DATABASE                                                                                   \
    "[databases]\nd = pool_size=21 reserve_pool_size=23 query_wait_timeout=29 "                    \
    "idle_transaction_timeout=30 transaction_timeout=31 pool_mode=statement\n"

START_TEST(the_pool_user_decides_the_pool)
{
    find_effective(GLOBAL DATABASE "[users]\np = " ALL_USER_KEYS);
    ck_assert_int_eq(effective.pool_mode, POOL_MODE_SESSION);
    ck_assert_int_eq(effective.pool_size, 41);
    ck_assert_int_eq(effective.reserve_pool_size, 43);
    ck_assert_int_eq(effective.max_user_connections, 45);
    ck_assert_int_eq(effective.query_timeout, 48 * USEC_PER_SEC);
    ck_assert_int_eq(effective.idle_transaction_timeout, 50 * USEC_PER_SEC);
    ck_assert_int_eq(effective.transaction_timeout, 51 * USEC_PER_SEC);
}
END_TEST

START_TEST(the_pool_user_does_not_decide_for_the_client)
{
    find_effective(GLOBAL DATABASE "[users]\np = " ALL_USER_KEYS);
    ck_assert_int_eq(effective.max_user_client_connections, 7);
    ck_assert_int_eq(effective.query_wait_timeout, 29 * USEC_PER_SEC);
    ck_assert_int_eq(effective.client_idle_timeout, 12 * USEC_PER_SEC);
}
END_TEST

START_TEST(the_login_user_decides_for_the_client_alone)
{
    find_effective(GLOBAL DATABASE "[users]\nl = " ALL_USER_KEYS);
    ck_assert_int_eq(effective.max_user_client_connections, 47);
    ck_assert_int_eq(effective.query_wait_timeout, 49 * USEC_PER_SEC);
    ck_assert_int_eq(effective.client_idle_timeout, 52 * USEC_PER_SEC);
    ck_assert_int_eq(effective.pool_size, 21);
    ck_assert_int_eq(effective.query_timeout, 8 * USEC_PER_SEC);
}
END_TEST

START_TEST(a_pool_size_of_zero_is_said_and_means_no_limit)
{
    find_effective(GLOBAL "[databases]\nd = pool_size=0\n");
    ck_assert_int_eq(effective.pool_size, 0);
}
END_TEST

START_TEST(a_wait_of_zero_is_said_and_means_no_limit)
{
    find_effective(GLOBAL
                   "[databases]\nd = query_wait_timeout=3\n[users]\nl = query_wait_timeout=0\n");
    ck_assert_int_eq(effective.query_wait_timeout, 0);
}
END_TEST

/* ---- lists of names ---- */

START_TEST(a_list_has_its_names)
{
    ck_assert(name_list_has("a, bc\td,e", "a"));
    ck_assert(name_list_has("a, bc\td,e", "bc"));
    ck_assert(name_list_has("a, bc\td,e", "d"));
    ck_assert(name_list_has("a, bc\td,e", "e"));
}
END_TEST

START_TEST(a_list_has_no_part_of_a_name)
{
    ck_assert(!name_list_has("abc", "ab"));
    ck_assert(!name_list_has("abc", "bc"));
    ck_assert(!name_list_has("abc", "ABC"));
}
END_TEST

START_TEST(a_list_has_no_empty_name)
{
    ck_assert(!name_list_has("", ""));
    ck_assert(!name_list_has("a,,b", ""));
    ck_assert(!name_list_has(NULL, "a"));
}
END_TEST

static TCase *finding(void)
{
    TCase *tests = tcase_create("finding");

    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_database_is_found_by_its_exact_name);
    tcase_add_test(tests, without_a_star_there_are_no_other_databases);
    tcase_add_test(tests, the_star_stands_for_every_other_name);
    tcase_add_test(tests, the_stars_dbname_holds_for_all);
    tcase_add_test(tests, an_auto_database_is_remembered);
    tcase_add_test(tests, an_auto_database_has_a_short_name);
    tcase_add_test(tests, an_auto_database_has_a_name);
    tcase_add_test(tests, an_entry_outlives_its_snapshot);
    tcase_add_test(tests, the_console_is_always_there);
    tcase_add_test(tests, an_unknown_user_is_not_found);
    tcase_add_test(tests, auto_databases_in_use_are_bounded);
    tcase_add_test(tests, unused_auto_databases_make_room);
    tcase_add_test(tests, many_threads_may_find_auto_databases);
    tcase_add_test(tests, databases_come_in_order_autos_among_them);
    tcase_add_test(tests, users_come_in_order);
    tcase_add_test(tests, databases_and_users_are_counted);
    tcase_add_test(tests, the_same_line_has_the_same_fingerprint);
    tcase_add_test(tests, whatever_names_the_server_changes_the_fingerprint);
    tcase_add_test(tests, sizes_and_passwords_do_not_change_the_fingerprint);
    tcase_add_test(tests, an_auto_database_keeps_its_fingerprint_over_a_reload);
    return tests;
}

Suite *suite_config_snapshot(void)
{
    Suite *suite = suite_create("config/snapshot");
    TCase *tests = tcase_create("precedence");

    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_add_test(tests, nothing_said_means_the_global_values);
    tcase_add_test(tests, nobody_known_means_the_global_values);
    tcase_add_test(tests, a_database_stands_over_the_global_values);
    tcase_add_test(tests, the_pool_user_decides_the_pool);
    tcase_add_test(tests, the_pool_user_does_not_decide_for_the_client);
    tcase_add_test(tests, the_login_user_decides_for_the_client_alone);
    tcase_add_test(tests, a_pool_size_of_zero_is_said_and_means_no_limit);
    tcase_add_test(tests, a_wait_of_zero_is_said_and_means_no_limit);
    tcase_add_test(tests, a_list_has_its_names);
    tcase_add_test(tests, a_list_has_no_part_of_a_name);
    tcase_add_test(tests, a_list_has_no_empty_name);
    suite_add_tcase(suite, finding());
    suite_add_tcase(suite, tests);
    return suite;
}
