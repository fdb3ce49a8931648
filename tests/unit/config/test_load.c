#include "config/load.h"
#include "config/peers.h"
#include "config_files.h"

Suite *suite_config_load(void);

#define MAIN      "[pgbouncer]\n"
#define DATABASES "[pgbouncer]\n[databases]\n"
#define USERS     "[pgbouncer]\n[users]\n"
#define PEERS     "[pgbouncer]\n[peers]\n"

/* ---- each mistake and its text ---- */

PROBLEM_TEST(an_unknown_key_is_refused, MAIN "pol_size_x = 1\n",
             "pgweir.ini:2: pol_size_x: unknown parameter: pgbouncer/pol_size_x")
PROBLEM_TEST(a_misspelt_key_gets_a_hint, MAIN "pool_mod = session\n",
             "pgweir.ini:2: pool_mod: unknown parameter: pgbouncer/pool_mod (did you mean "
             "pool_mode?)")
PROBLEM_TEST(an_unknown_section_is_refused, MAIN "[server]\na=1\nb=2\n",
             "pgweir.ini:2: invalid section \"server\" in configuration (pgweir.ini:2)")
PROBLEM_TEST(a_key_before_any_section_is_refused, "pool_mode = session\n" MAIN,
             "pgweir.ini:1: pool_mode: load_init_file: value without section: pool_mode")
PROBLEM_TEST(a_bad_value_is_refused, MAIN "\n\npool_mode = session ; x\n\n\n",
             "pgweir.ini:4: pool_mode: invalid value \"session ; x\" for parameter pool_mode in "
             "configuration (pgweir.ini:4): must be one of session, transaction, statement")
PROBLEM_TEST(a_file_without_the_main_section_is_refused, "[databases]\na = host=x\n",
             "pgweir.ini: load_init_file: main section missing from config file")
PROBLEM_TEST(an_empty_file_is_refused, "",
             "pgweir.ini: load_init_file: main section missing from config file")
PROBLEM_TEST(a_line_without_equals_sign_is_refused, MAIN "pool_mode session\n",
             "pgweir.ini:2: syntax error in configuration (pgweir.ini:2): no = behind the key "
             "pool_mode")
PROBLEM_TEST(a_missing_include_is_refused, MAIN "%include gone.ini\n",
             "pgweir.ini:2: %include: could not load file \"gone.ini\": No such file or directory")
PROBLEM_TEST(the_console_cannot_be_the_auth_database, MAIN "auth_dbname = pgbouncer\n",
             "pgweir.ini:2: auth_dbname: cannot use the reserved \"pgbouncer\" database as an "
             "auth_dbname")
PROBLEM_TEST(the_console_cannot_be_a_database, DATABASES "pgbouncer = host=x\n",
             "pgweir.ini:3: pgbouncer: database name \"pgbouncer\" is reserved")
PROBLEM_TEST(a_broken_connection_string_is_refused, DATABASES "a = host\n",
             "pgweir.ini:3: a: syntax error in connection string")
PROBLEM_TEST(an_empty_host_is_refused, DATABASES "a = host=\n",
             "pgweir.ini:3: a: syntax error in connection string")
PROBLEM_TEST(an_unknown_connection_key_is_refused, DATABASES "a = hots=x\n",
             "pgweir.ini:3: a: unrecognized connection parameter: hots")
PROBLEM_TEST(a_port_of_zero_is_refused, DATABASES "a = port=0\n",
             "pgweir.ini:3: a: invalid port: 0")
PROBLEM_TEST(a_port_that_is_no_number_is_refused, DATABASES "a = port=pg\n",
             "pgweir.ini:3: a: invalid port: pg")
PROBLEM_TEST(a_port_that_is_too_large_is_refused, DATABASES "a = port=65536\n",
             "pgweir.ini:3: a: invalid port: 65536")
PROBLEM_TEST(a_database_has_a_known_pool_mode, DATABASES "a = pool_mode=x\n",
             "pgweir.ini:3: a: invalid pool mode: x")
PROBLEM_TEST(a_list_of_hosts_has_a_known_order, DATABASES "a = load_balance_hosts=random\n",
             "pgweir.ini:3: a: invalid load_balance_hosts: random")
PROBLEM_TEST(a_size_is_a_number, DATABASES "a = pool_size=many\n",
             "pgweir.ini:3: a: invalid pool_size: many")
PROBLEM_TEST(a_list_of_hosts_has_no_gaps, DATABASES "a = host=x,,y\n",
             "pgweir.ini:3: a: invalid host: an empty name in the list")
PROBLEM_TEST(a_list_of_hosts_ends_at_16, DATABASES "a = host=1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h\n",
             "pgweir.ini:3: a: invalid host: more than 16 in the list")
PROBLEM_TEST(a_long_database_name_is_refused,
             DATABASES "a123456789b123456789c123456789d123456789e123456789f123456789g123 =\n",
             "pgweir.ini:3: too long db name: "
             "a123456789b123456789c123456789d123456789e123456789f123456789g123: at most 63 bytes")
PROBLEM_TEST(broken_user_settings_are_refused, USERS "a = pool_size\n",
             "pgweir.ini:3: a: syntax error in user settings")
PROBLEM_TEST(an_unknown_user_key_is_refused, USERS "a = host=x\n",
             "pgweir.ini:3: a: unrecognized user parameter: host")
PROBLEM_TEST(a_user_has_a_known_pool_mode, USERS "a = pool_mode=x\n",
             "pgweir.ini:3: a: invalid pool mode: x")
PROBLEM_TEST(a_peer_has_a_number, PEERS "a = host=x\n",
             "pgweir.ini:3: a: ids of peers must be a number larger than 0 and at most 65536 "
             "(65535 here)")
PROBLEM_TEST(a_peer_has_a_host, PEERS "1 = port=1\n",
             "pgweir.ini:3: 1: host was not provided for peer 1")
PROBLEM_TEST(a_peer_is_a_connection_string, PEERS "1 = host\n",
             "pgweir.ini:3: 1: syntax error in connection string")
PROBLEM_TEST(the_directory_is_not_a_method_yet, MAIN "\nauth_type = LDAP\n",
             "pgweir.ini:3: auth_type: ldap is not honoured yet: trust, plain, md5, scram-sha-256, "
             "cert, hba, any and passthrough are")
PROBLEM_TEST(rules_need_a_file, MAIN "\nauth_type = HBA\n",
             "pgweir.ini:3: auth_type: hba needs auth_hba_file")
PROBLEM_TEST(rules_need_a_file_that_is_there, MAIN "auth_type = hba\nauth_hba_file = gone.conf\n",
             "pgweir.ini:3: auth_hba_file: could not open hba config file: gone.conf: No such file "
             "or directory")
PROBLEM_TEST(tls_for_clients_needs_a_certificate, MAIN "client_tls_sslmode = require\n",
             "pgweir.ini:2: client_tls_sslmode: TLS wants client_tls_cert_file and "
             "client_tls_key_file")

START_TEST(a_missing_file_is_refused)
{
    struct config_load_request request = {.file = "gone.ini"};
    struct config_problems problems = {0}, warnings = {0};

    ck_assert_ptr_null(config_load(&request, &problems, &warnings));
    ck_assert_int_eq(problems.count, 1);
    ck_assert_str_eq(problems.lines[0],
                     "gone.ini: could not load file \"gone.ini\": No such file or directory");
    config_problems_finish(&problems);
    config_problems_finish(&warnings);
}
END_TEST

START_TEST(a_missing_auth_file_is_refused)
{
    struct loaded loaded = load(MAIN "auth_file = gone.txt\n");

    ck_assert_ptr_null(loaded.config);
    ck_assert_int_eq(loaded.problems.count, 1);
    ck_assert(has_line(&loaded.problems, "pgweir.ini:2: auth_file: "));
    ck_assert(has_line(&loaded.problems, "gone.txt"));
    unload(&loaded);
}
END_TEST

START_TEST(a_broken_auth_file_is_refused)
{
    struct loaded loaded;

    write_file("users.txt", "\"a\" \"b\"\n\"c\n");
    loaded = load(MAIN "auth_file = users.txt\n");
    ck_assert_ptr_null(loaded.config);
    ck_assert(has_line(&loaded.problems, "users.txt:2: broken auth file"));
    unload(&loaded);
}
END_TEST

START_TEST(a_missing_certificate_is_told_at_its_own_key)
{
    struct loaded loaded = load(MAIN "server_tls_sslmode = verify-full\n"
                                     "server_tls_ca_file = gone.pem\n");

    ck_assert_ptr_null(loaded.config);
    ck_assert(has_line(&loaded.problems, "pgweir.ini:3: server_tls_ca_file: "));
    unload(&loaded);
}
END_TEST

START_TEST(all_mistakes_are_told)
{
    struct loaded loaded = load("a=1\n" MAIN "pool_mode = x\nnonsense\n[databases]\na = port=0 "
                                "pool_mode=y\n[users]\nu = z=1\n");

    ck_assert_ptr_null(loaded.config);
    ck_assert_int_eq(loaded.problems.count, 6);
    ck_assert(has_line(&loaded.problems, "pgweir.ini:1: a: "));
    ck_assert(has_line(&loaded.problems, "pgweir.ini:3: pool_mode: "));
    ck_assert(has_line(&loaded.problems, "pgweir.ini:4: syntax error"));
    ck_assert(has_line(&loaded.problems, "pgweir.ini:6: a: invalid port: 0"));
    ck_assert(has_line(&loaded.problems, "pgweir.ini:6: a: invalid pool mode: y"));
    ck_assert(has_line(&loaded.problems, "pgweir.ini:8: u: "));
    unload(&loaded);
}
END_TEST

START_TEST(mistakes_past_the_hundredth_are_counted)
{
    char text[4096] = MAIN;
    struct loaded loaded;

    for (int i = 0; i < 150; i++)
        strcat(text, "nonsense\n");
    loaded = load(text);
    ck_assert_int_eq(loaded.problems.count, 150);
    ck_assert_ptr_nonnull(loaded.problems.lines[CONFIG_PROBLEMS_MAX - 1]);
    unload(&loaded);
}
END_TEST

START_TEST(no_mistake_shows_a_password)
{
    struct loaded loaded = load(DATABASES "a = host=x password=canary bogus=1 port=0\n"
                                          "b = password='canary\n");

    ck_assert_int_eq(loaded.problems.count, 3);
    ck_assert(!has_line(&loaded.problems, "canary"));
    unload(&loaded);
}
END_TEST

START_TEST(a_mistake_in_an_included_file_is_told_there)
{
    struct loaded loaded;

    write_file("more.ini", "\nlisten_port = x\n");
    loaded = load(MAIN "%include more.ini\n");
    ck_assert_int_eq(loaded.problems.count, 1);
    ck_assert(has_line(&loaded.problems, "more.ini:2: listen_port: invalid value \"x\" for "
                                         "parameter listen_port in configuration (more.ini:2)"));
    unload(&loaded);
}
END_TEST

/* ---- sections ---- */

START_TEST(a_file_as_for_pgbouncer_is_taken)
{
    struct loaded loaded;

    write_file("users.txt", "\"app\" \"secret\"\n");
    loaded = load_good(";; sample\n[databases]\nforcedb = host=localhost port=300 user=baz "
                       "password=foo client_encoding=UNICODE datestyle=ISO connect_query='SELECT "
                       "1'\nnondefaultdb = pool_size=50 reserve_pool=10\n* = host=testserver\n"
                       "[users]\nuser1 = pool_mode=transaction max_user_connections=10\n[peers]\n"
                       "1 = host=host1.example.com\n[pgbouncer]\nlogfile = "
                       "/var/log/pgweir/pgweir.log\nlisten_addr = localhost\nauth_type = "
                       "scram-sha-256\nauth_file = users.txt\nmax_client_conn = 100\n");
    ck_assert_int_eq(loaded.warnings.count, 0);
    unload(&loaded);
}
END_TEST

START_TEST(a_second_main_section_starts_over)
{
    struct loaded loaded = load_good(MAIN "max_client_conn = 7\nauth_user = a\n[databases]\n" MAIN
                                          "pool_mode = statement\n");

    ck_assert_int_eq(loaded.config->settings.max_client_conn, 100);
    ck_assert_str_eq(loaded.config->settings.auth_user, "a");
    ck_assert_int_eq(loaded.config->settings.pool_mode, POOL_MODE_STATEMENT);
    ck_assert(has_line(&loaded.warnings, "pgweir.ini:5: a second [pgbouncer] section"));
    unload(&loaded);
}
END_TEST

START_TEST(the_last_of_two_equal_keys_counts)
{
    struct loaded loaded = load_good(MAIN "max_client_conn = 7\nmax_client_conn = 8\n");

    ck_assert_int_eq(loaded.config->settings.max_client_conn, 8);
    unload(&loaded);
}
END_TEST

START_TEST(a_database_named_twice_is_replaced_whole)
{
    struct loaded loaded = load_good(DATABASES "a = host=x pool_size=3\n[databases]\na = host=y\n");
    struct database_entry *entry = config_find_database(loaded.config, "a");

    ck_assert_str_eq(entry->hosts[0], "y");
    ck_assert_int_eq(entry->pool_size, CONFIG_UNSET);
    database_release(entry);
    unload(&loaded);
}
END_TEST

/* ---- entries ---- */

START_TEST(a_database_gets_all_its_keys)
{
    struct loaded loaded = load_good(
        DATABASES
        "'my db' = dbname=x host=h1,h2 port=1 user=u password='p w' auth_user=au "
        "auth_query='q $1' auth_dbname=ad pool_size=2 min_pool_size=3 reserve_pool=4 "
        "connect_query='c' pool_mode=statement query_wait_timeout=5 "
        "load_balance_hosts=disable max_db_connections=6 max_db_client_connections=7 "
        "server_lifetime=8 client_encoding=e datestyle=d timezone=t application_name=n\n");
    struct database_entry *entry = config_find_database(loaded.config, "my db");

    ck_assert_str_eq(entry->name, "my db");
    ck_assert_str_eq(entry->dbname, "x");
    ck_assert_int_eq(entry->host_count, 2);
    ck_assert_str_eq(entry->hosts[0], "h1");
    ck_assert_str_eq(entry->hosts[1], "h2");
    ck_assert_int_eq(entry->port, 1);
    ck_assert_str_eq(entry->user, "u");
    ck_assert_str_eq(entry->password, "p w");
    ck_assert_str_eq(entry->auth_user, "au");
    ck_assert_str_eq(entry->auth_query, "q $1");
    ck_assert_str_eq(entry->auth_dbname, "ad");
    ck_assert_str_eq(entry->connect_query, "c");
    ck_assert_int_eq(entry->pool_size, 2);
    ck_assert_int_eq(entry->min_pool_size, 3);
    ck_assert_int_eq(entry->reserve_pool_size, 4);
    ck_assert_int_eq(entry->pool_mode, POOL_MODE_STATEMENT);
    ck_assert_int_eq(entry->query_wait_timeout, 5 * USEC_PER_SEC);
    ck_assert_int_eq(entry->load_balance_hosts, LOAD_BALANCE_DISABLE);
    ck_assert_int_eq(entry->max_db_connections, 6);
    ck_assert_int_eq(entry->max_db_client_connections, 7);
    ck_assert_int_eq(entry->server_lifetime, 8 * USEC_PER_SEC);
    ck_assert_str_eq(entry->client_encoding, "e");
    ck_assert_str_eq(entry->datestyle, "d");
    ck_assert_str_eq(entry->timezone, "t");
    ck_assert_str_eq(entry->application_name, "n");
    ck_assert_ptr_nonnull(entry->server_tls);
    database_release(entry);
    unload(&loaded);
}
END_TEST

START_TEST(an_empty_connection_string_means_the_socket_and_the_same_name)
{
    struct loaded loaded = load_good(DATABASES "foodb =\n");
    struct database_entry *entry = config_find_database(loaded.config, "foodb");

    ck_assert_str_eq(entry->dbname, "foodb");
    ck_assert_int_eq(entry->host_count, 1);
    ck_assert_ptr_null(entry->hosts[0]);
    ck_assert_int_eq(entry->port, 5432);
    database_release(entry);
    unload(&loaded);
}
END_TEST

START_TEST(a_negative_wait_of_a_database_means_no_limit)
{
    struct loaded loaded = load_good(DATABASES "a = query_wait_timeout=-1\n");
    struct database_entry *entry = config_find_database(loaded.config, "a");

    ck_assert_int_eq(entry->query_wait_timeout, 0);
    database_release(entry);
    unload(&loaded);
}
END_TEST

START_TEST(text_behind_a_number_is_warned_about)
{
    struct loaded loaded = load_good(DATABASES "a = server_lifetime=30m\n");
    struct database_entry *entry = config_find_database(loaded.config, "a");

    ck_assert_int_eq(entry->server_lifetime, 30 * USEC_PER_SEC);
    ck_assert(has_line(&loaded.warnings, "pgweir.ini:3: a: server_lifetime=30m is read as 30"));
    database_release(entry);
    unload(&loaded);
}
END_TEST

START_TEST(a_user_gets_all_its_keys)
{
    struct loaded loaded = load_good(
        USERS "u = pool_size = 1 reserve_pool_size=2 pool_mode=transaction max_user_connections=3 "
              "max_user_client_connections=4 query_timeout=5 idle_transaction_timeout=6 "
              "transaction_timeout=7 client_idle_timeout=8 query_wait_timeout=9\n");
    struct user_entry *user = config_find_user(loaded.config, "u");

    ck_assert_int_eq(user->pool_size, 1);
    ck_assert_int_eq(user->reserve_pool_size, 2);
    ck_assert_int_eq(user->pool_mode, POOL_MODE_TRANSACTION);
    ck_assert_int_eq(user->max_user_connections, 3);
    ck_assert_int_eq(user->max_user_client_connections, 4);
    ck_assert_int_eq(user->query_timeout, 5 * USEC_PER_SEC);
    ck_assert_int_eq(user->idle_transaction_timeout, 6 * USEC_PER_SEC);
    ck_assert_int_eq(user->transaction_timeout, 7 * USEC_PER_SEC);
    ck_assert_int_eq(user->client_idle_timeout, 8 * USEC_PER_SEC);
    ck_assert_int_eq(user->query_wait_timeout, 9 * USEC_PER_SEC);
    ck_assert(!user->is_known);
    user_release(user);
    unload(&loaded);
}
END_TEST

START_TEST(the_auth_file_and_the_users_section_meet_in_one_entry)
{
    struct loaded loaded;
    struct user_entry *user;

    write_file("users.txt", "\"u\" \"secret\"\n");
    loaded = load_good("[users]\nu = pool_size=3\n" MAIN "auth_file = users.txt\n");
    user = config_find_user(loaded.config, "u");
    ck_assert(user->is_known);
    ck_assert_int_eq(user->pool_size, 3);
    ck_assert_int_eq(user->secret.kind, AUTH_SECRET_PLAIN);
    ck_assert_str_eq(user->secret.text, "secret");
    user_release(user);
    unload(&loaded);
}
END_TEST

START_TEST(a_name_twice_in_the_auth_file_is_warned_about)
{
    struct loaded loaded;
    struct user_entry *user;

    write_file("users.txt", "\"u\" \"a\"\n\"u\" \"b\"\n");
    loaded = load_good(MAIN "auth_file = users.txt\n");
    user = config_find_user(loaded.config, "u");
    ck_assert_str_eq(user->secret.text, "b");
    ck_assert(has_line(&loaded.warnings,
                       "users.txt:2: user \"u\" is listed again: the last line counts"));
    user_release(user);
    unload(&loaded);
}
END_TEST

START_TEST(forced_and_auth_users_are_users)
{
    struct loaded loaded = load_good(MAIN "auth_user = g\n[databases]\na = user=f auth_user=d\n");
    static const char *const names[] = {"g", "f", "d", "pgbouncer"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct user_entry *user = config_find_user(loaded.config, names[i]);

        ck_assert_ptr_nonnull(user);
        ck_assert(!user->is_known);
        user_release(user);
    }
    unload(&loaded);
}
END_TEST

START_TEST(auth_type_any_reads_no_auth_file)
{
    struct loaded loaded = load_good(MAIN "auth_type = any\nauth_file = gone.txt\n");

    unload(&loaded);
}
END_TEST

/* ---- warnings ---- */

START_TEST(trust_on_an_open_address_is_warned_about)
{
    struct loaded loaded =
        load_good(MAIN "auth_user=a\nauth_type = trust\nlisten_addr = 127.0.0.1, 10.0.0.1\n");

    ck_assert_int_eq(loaded.warnings.count, 1);
    ck_assert(has_line(&loaded.warnings, "pgweir.ini:3: auth_type: lets in whoever reaches"));
    unload(&loaded);
}
END_TEST

START_TEST(trust_on_loopback_is_fine)
{
    struct loaded loaded =
        load_good(MAIN "auth_user=a\nauth_type = trust\nlisten_addr = 127.0.0.1,::1,localhost\n");

    ck_assert_int_eq(loaded.warnings.count, 0);
    unload(&loaded);
}
END_TEST

START_TEST(no_auth_file_is_warned_about)
{
    struct loaded loaded = load_good(MAIN);

    ck_assert(has_line(&loaded.warnings, "pgweir.ini: auth_file: is not set: no user can log in"));
    unload(&loaded);
}
END_TEST

/* ---- reload ---- */

START_TEST(a_reload_counts_on)
{
    struct loaded first = load_good(MAIN), second = load_after(first.config, MAIN);

    ck_assert_uint_eq(first.config->generation, 1);
    ck_assert_uint_eq(second.config->generation, 2);
    unload(&first);
    unload(&second);
}
END_TEST

START_TEST(a_start_only_key_keeps_its_value_and_says_so)
{
    struct loaded first = load_good(MAIN "listen_port = 7000\npidfile = a\n");
    struct loaded second =
        load_after(first.config, MAIN "listen_port = 7001\nmax_client_conn = 5\n");

    ck_assert_ptr_nonnull(second.config);
    ck_assert_int_eq(second.config->settings.listen_port, 7000);
    ck_assert_str_eq(second.config->settings.pidfile, "a");
    ck_assert_int_eq(second.config->settings.max_client_conn, 5);
    ck_assert(has_line(&second.warnings, "pgweir.ini:2: listen_port: is read at start only"));
    ck_assert(has_line(&second.warnings, "pgweir.ini: pidfile: is read at start only"));
    unload(&first);
    unload(&second);
}
END_TEST

START_TEST(a_key_that_left_the_file_is_unset)
{
    struct loaded first = load_good(MAIN "auth_user = a\n[databases]\n* = host=x\n");
    struct loaded second = load_after(first.config, MAIN);

    ck_assert_ptr_null(second.config->settings.auth_user);
    ck_assert_ptr_null(config_find_database(second.config, "anything"));
    unload(&first);
    unload(&second);
}
END_TEST

/* ---- SET ---- */

static struct config_problems set_problems;

static const struct config *set(const struct config *config, const char *key, const char *value)
{
    return config_with(config, key, value, &set_problems);
}

static void assert_set_refused(const char *key, const char *value, const char *reason)
{
    struct loaded loaded = load_good(MAIN);

    ck_assert_ptr_null(set(loaded.config, key, value));
    ck_assert_int_eq(set_problems.count, 1);
    ck_assert_str_eq(set_problems.lines[0], reason);
    config_problems_finish(&set_problems);
    unload(&loaded);
}

START_TEST(set_changes_one_key_of_a_copy)
{
    struct loaded loaded = load_good(DATABASES "a = host=x\n");
    const struct config *changed = set(loaded.config, "default_pool_size", "7");
    struct database_entry *entry = config_find_database(changed, "a");

    ck_assert_int_eq(changed->settings.default_pool_size, 7);
    ck_assert_int_eq(loaded.config->settings.default_pool_size, 20);
    ck_assert_uint_eq(changed->generation, 2);
    ck_assert_ptr_nonnull(entry);
    database_release(entry);
    config_release(changed);
    unload(&loaded);
}
END_TEST

START_TEST(set_of_a_start_only_key_changes_nothing)
{
    struct loaded loaded = load_good(MAIN);
    const struct config *changed = set(loaded.config, "listen_port", "7");

    ck_assert_int_eq(changed->settings.listen_port, 6432);
    config_release(changed);
    unload(&loaded);
}
END_TEST

START_TEST(set_of_server_tls_gives_databases_another_fingerprint)
{
    struct loaded loaded = load_good(DATABASES "a = host=x\n* = host=y\n");
    const struct config *changed = set(loaded.config, "server_tls_sslmode", "disable");
    struct database_entry *before = config_find_database(loaded.config, "a");
    struct database_entry *after = config_find_database(changed, "a");
    struct database_entry *other = config_find_database(changed, "b");

    ck_assert_uint_ne(before->connection_fingerprint, after->connection_fingerprint);
    ck_assert_ptr_nonnull(before->server_tls);
    ck_assert_ptr_null(after->server_tls);
    ck_assert_str_eq(after->hosts[0], "x");
    ck_assert_str_eq(other->hosts[0], "y");
    database_release(before);
    database_release(after);
    database_release(other);
    config_release(changed);
    unload(&loaded);
}
END_TEST

START_TEST(set_refuses_an_unknown_key)
{
    assert_set_refused("nonsense", "1", "unknown parameter: pgbouncer/nonsense");
}
END_TEST

START_TEST(set_refuses_a_bad_value)
{
    assert_set_refused("pool_mode", "x",
                       "pool_mode: invalid value \"x\" for parameter pool_mode: must be one of "
                       "session, transaction, statement");
}
END_TEST

START_TEST(set_refuses_names_of_files)
{
    assert_set_refused("auth_file", "/etc/passwd", "auth_file: names a file: set it in pgweir.ini");
}
END_TEST

START_TEST(set_refuses_a_method_that_is_not_there)
{
    assert_set_refused("auth_type", "pam",
                       "auth_type: pam is not honoured yet: trust, plain, md5, scram-sha-256, "
                       "cert, hba, any and passthrough are");
}
END_TEST

START_TEST(set_refuses_tls_that_cannot_be_made)
{
    assert_set_refused("client_tls_sslmode", "require",
                       "client_tls_sslmode: TLS wants client_tls_cert_file and "
                       "client_tls_key_file");
}
END_TEST

/* ---- not honoured yet ---- */

static char not_honoured[1024];

static void note(const char *key, void *argument)
{
    (void)argument;
    strcat(not_honoured, key);
    strcat(not_honoured, ";");
}

static void assert_not_honoured(const char *text, const char *expected)
{
    struct loaded loaded = load_good(text);

    not_honoured[0] = '\0';
    config_each_not_honoured(loaded.config, note, NULL);
    ck_assert_str_eq(not_honoured, expected);
    unload(&loaded);
}

START_TEST(defaults_are_honoured)
{
    assert_not_honoured(DATABASES "a = host=x pool_size=1\n", "");
}
END_TEST

START_TEST(what_is_not_built_is_named)
{
    assert_not_honoured(MAIN "auth_ldap_options = x\npeer_id = 0\nmax_client_conn = 5\n",
                        "auth_ldap_options;");
}
END_TEST

START_TEST(peers_are_honoured)
{
    assert_not_honoured(PEERS "1 = host=x\n", "");
}
END_TEST

START_TEST(peers_are_found_by_their_numbers)
{
    struct loaded loaded = load_good(PEERS "300 = host=/run/x port=7\n2 = host=b\n2 = host=c\n");
    struct peer_entry *peer = config_find_peer(loaded.config, 2);

    ck_assert_int_eq(config_peer_count(loaded.config), 2);
    ck_assert_str_eq(peer->hosts[0], "c");
    ck_assert_int_eq(peer->port, 6432);
    ck_assert_int_eq(config_peer_pool_size(loaded.config, peer), 20);
    ck_assert_ptr_null(config_find_peer(loaded.config, 3));
    peer_release(peer);
    peer = config_find_peer(loaded.config, 300);
    ck_assert_int_eq(peer->port, 7);
    peer_release(peer);
    ck_assert_ptr_null(config_peer_tls(loaded.config));
    unload(&loaded);
}
END_TEST

static TCase *mistakes(void)
{
    TCase *tests = tcase_create("mistakes");

    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_add_test(tests, an_unknown_key_is_refused);
    tcase_add_test(tests, a_misspelt_key_gets_a_hint);
    tcase_add_test(tests, an_unknown_section_is_refused);
    tcase_add_test(tests, a_key_before_any_section_is_refused);
    tcase_add_test(tests, a_bad_value_is_refused);
    tcase_add_test(tests, a_file_without_the_main_section_is_refused);
    tcase_add_test(tests, an_empty_file_is_refused);
    tcase_add_test(tests, a_line_without_equals_sign_is_refused);
    tcase_add_test(tests, a_missing_include_is_refused);
    tcase_add_test(tests, the_console_cannot_be_the_auth_database);
    tcase_add_test(tests, the_console_cannot_be_a_database);
    tcase_add_test(tests, a_broken_connection_string_is_refused);
    tcase_add_test(tests, an_empty_host_is_refused);
    tcase_add_test(tests, an_unknown_connection_key_is_refused);
    tcase_add_test(tests, a_port_of_zero_is_refused);
    tcase_add_test(tests, a_port_that_is_no_number_is_refused);
    tcase_add_test(tests, a_port_that_is_too_large_is_refused);
    tcase_add_test(tests, a_database_has_a_known_pool_mode);
    tcase_add_test(tests, a_list_of_hosts_has_a_known_order);
    tcase_add_test(tests, a_size_is_a_number);
    tcase_add_test(tests, a_list_of_hosts_has_no_gaps);
    tcase_add_test(tests, a_list_of_hosts_ends_at_16);
    tcase_add_test(tests, a_long_database_name_is_refused);
    tcase_add_test(tests, broken_user_settings_are_refused);
    tcase_add_test(tests, an_unknown_user_key_is_refused);
    tcase_add_test(tests, a_user_has_a_known_pool_mode);
    tcase_add_test(tests, a_peer_has_a_number);
    tcase_add_test(tests, a_peer_has_a_host);
    tcase_add_test(tests, a_peer_is_a_connection_string);
    tcase_add_test(tests, the_directory_is_not_a_method_yet);
    tcase_add_test(tests, rules_need_a_file);
    tcase_add_test(tests, rules_need_a_file_that_is_there);
    tcase_add_test(tests, tls_for_clients_needs_a_certificate);
    tcase_add_test(tests, a_missing_file_is_refused);
    tcase_add_test(tests, a_missing_auth_file_is_refused);
    tcase_add_test(tests, a_broken_auth_file_is_refused);
    tcase_add_test(tests, a_missing_certificate_is_told_at_its_own_key);
    tcase_add_test(tests, all_mistakes_are_told);
    tcase_add_test(tests, mistakes_past_the_hundredth_are_counted);
    tcase_add_test(tests, no_mistake_shows_a_password);
    tcase_add_test(tests, a_mistake_in_an_included_file_is_told_there);
    return tests;
}

static TCase *contents(void)
{
    TCase *tests = tcase_create("contents");

    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_add_test(tests, a_file_as_for_pgbouncer_is_taken);
    tcase_add_test(tests, a_second_main_section_starts_over);
    tcase_add_test(tests, the_last_of_two_equal_keys_counts);
    tcase_add_test(tests, a_database_named_twice_is_replaced_whole);
    tcase_add_test(tests, a_database_gets_all_its_keys);
    tcase_add_test(tests, an_empty_connection_string_means_the_socket_and_the_same_name);
    tcase_add_test(tests, a_negative_wait_of_a_database_means_no_limit);
    tcase_add_test(tests, text_behind_a_number_is_warned_about);
    tcase_add_test(tests, a_user_gets_all_its_keys);
    tcase_add_test(tests, the_auth_file_and_the_users_section_meet_in_one_entry);
    tcase_add_test(tests, a_name_twice_in_the_auth_file_is_warned_about);
    tcase_add_test(tests, forced_and_auth_users_are_users);
    tcase_add_test(tests, auth_type_any_reads_no_auth_file);
    tcase_add_test(tests, trust_on_an_open_address_is_warned_about);
    tcase_add_test(tests, trust_on_loopback_is_fine);
    tcase_add_test(tests, no_auth_file_is_warned_about);
    return tests;
}

static TCase *changes(void)
{
    TCase *tests = tcase_create("changes");

    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_add_test(tests, a_reload_counts_on);
    tcase_add_test(tests, a_start_only_key_keeps_its_value_and_says_so);
    tcase_add_test(tests, a_key_that_left_the_file_is_unset);
    tcase_add_test(tests, set_changes_one_key_of_a_copy);
    tcase_add_test(tests, set_of_a_start_only_key_changes_nothing);
    tcase_add_test(tests, set_of_server_tls_gives_databases_another_fingerprint);
    tcase_add_test(tests, set_refuses_an_unknown_key);
    tcase_add_test(tests, set_refuses_a_bad_value);
    tcase_add_test(tests, set_refuses_names_of_files);
    tcase_add_test(tests, set_refuses_a_method_that_is_not_there);
    tcase_add_test(tests, set_refuses_tls_that_cannot_be_made);
    tcase_add_test(tests, defaults_are_honoured);
    tcase_add_test(tests, what_is_not_built_is_named);
    tcase_add_test(tests, peers_are_honoured);
    tcase_add_test(tests, peers_are_found_by_their_numbers);
    return tests;
}

Suite *suite_config_load(void)
{
    Suite *suite = suite_create("config/load");

    suite_add_tcase(suite, mistakes());
    suite_add_tcase(suite, contents());
    suite_add_tcase(suite, changes());
    return suite;
}
