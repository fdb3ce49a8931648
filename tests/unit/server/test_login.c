/* A server's login against a scripted server: what must succeed, and what must not be believed. */
#include "login_bench.h"

#define ANSWER(text) .answers = {text}, .sizes = {sizeof(text) - 1}, .count = 1
#define AUTH_OK      "R\0\0\0\10\0\0\0\0"
#define SETTINGS                                                                                   \
    "S\0\0\0\31client_encoding\0UTF8\0"                                                            \
    "K\0\0\0\14\0\0\0\7abcd"
#define READY       "Z\0\0\0\5I"
#define FATAL(code) "E\0\0\0\31SFATAL\0C" code "\0Mnope\0\0"
#define LOCAL       "host=127.0.0.1"

static void run(struct bench *bench, const char *entry, const char *options,
                const struct script *scripts, int count)
{
    memset(bench, 0, sizeof(*bench));
    bench_start(bench, entry, options, scripts, count);
    bench_ask(bench);
}

/* Its first attempt is over: granted, or nothing is left that is still to be. */
static bool was_tried(struct bench *bench)
{
    const struct server *server;
    if (bench->granted != NULL)
        return true;
    TAILQ_FOREACH (server, &bench->set.servers, link)
        if (server->state != SERVER_CLOSING)
            return false;
    return bench->set.opened >= 1;
}

static bool was_tried_twice(struct bench *bench)
{
    return is_answered(bench) || atomic_load(&bench->connections) >= 2;
}

static bool has_retried(struct bench *bench)
{
    struct pool_advice advice = {.order = POOL_NOTHING};
    pool_reconsider(bench->pool, loop_now(bench->loop), &advice);
    server_follow(&bench->set, &advice);
    return was_tried_twice(bench);
}

START_TEST(a_server_that_asks_nothing_is_granted)
{
    static const struct script script = {ANSWER(AUTH_OK SETTINGS READY)};
    struct bench bench;
    run(&bench, LOCAL, "", &script, 1);
    bench_await(&bench, is_answered);
    ck_assert_ptr_nonnull(bench.granted);
    ck_assert_uint_eq(bench.granted->process, 7);
    ck_assert_uint_eq(bench.granted->cancel_key_size, 4);
    struct pool_welcome *welcome = pool_welcome_acquire(bench.pool);
    ck_assert_mem_eq(welcome->data, "client_encoding\0UTF8\0", 21);
    pool_welcome_release(welcome);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_name_that_does_not_resolve_ends_the_attempt_alone)
{
    static const struct script script = {ANSWER("")};
    struct bench bench;
    run(&bench, "host=no..name", "", &script, 1);
    bench_await(&bench, was_tried);
    ck_assert(!is_answered(&bench));
    bench_finish(&bench);
}
END_TEST

START_TEST(no_host_and_no_socket_folder_end_the_attempt_alone)
{
    static const struct script script = {ANSWER("")};
    struct bench bench;
    run(&bench, "", "unix_socket_dir=\n", &script, 1);
    bench_await(&bench, was_tried);
    ck_assert(!is_answered(&bench));
    bench_finish(&bench);
}
END_TEST

START_TEST(a_shutdown_while_a_name_is_looked_up_is_survived)
{
    static const struct script script = {ANSWER("")};
    struct bench bench;
    run(&bench, "host=no..name", "", &script, 1);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_refused_user_is_told_with_the_servers_words)
{
    static const struct script script = {ANSWER(FATAL("28000")), .has_quit = true};
    struct bench bench;
    run(&bench, LOCAL, "", &script, 1);
    bench_await(&bench, is_answered);
    ck_assert(bench.is_refused);
    ck_assert_str_eq(bench.why.sqlstate, "28000");
    ck_assert_str_eq(bench.why.message, "nope");
    bench_finish(&bench);
}
END_TEST

START_TEST(a_server_that_shuts_down_is_tried_again)
{
    static const struct script scripts[] = {{ANSWER(FATAL("57P01")), .has_quit = true},
                                            {ANSWER(AUTH_OK SETTINGS READY)}};
    struct bench bench;
    run(&bench, LOCAL, "", scripts, 2);
    bench_await(&bench, has_retried);
    bench_await(&bench, is_answered);
    ck_assert_ptr_nonnull(bench.granted);
    bench_finish(&bench);
}
END_TEST

START_TEST(words_behind_the_last_ready_are_not_left_for_a_client)
{
    static const struct script scripts[] = {{ANSWER(AUTH_OK SETTINGS READY READY)}};
    struct bench bench;
    run(&bench, LOCAL, "", scripts, 1);
    bench_await(&bench, was_tried);
    ck_assert_ptr_null(bench.granted);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_notice_behind_the_last_ready_is_fine)
{
    static const struct script scripts[] = {
        {ANSWER(AUTH_OK SETTINGS READY "N\0\0\0\15SNOTICE\0\0")}};
    struct bench bench;
    run(&bench, LOCAL, "", scripts, 1);
    bench_await(&bench, is_answered);
    ck_assert_ptr_nonnull(bench.granted);
    ck_assert_uint_eq(stream_input(&bench.granted->stream).size, 0);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_connect_query_that_opens_a_transaction_is_refused)
{
    static const struct script script = {
        .answers = {AUTH_OK SETTINGS READY, "C\0\0\0\12BEGIN\0Z\0\0\0\5T"},
        .sizes = {sizeof(AUTH_OK SETTINGS READY) - 1, 17},
        .count = 2};
    struct bench bench;
    run(&bench, LOCAL " connect_query='BEGIN'", "", &script, 1);
    bench_await(&bench, was_tried);
    ck_assert_ptr_null(bench.granted);
    bench_finish(&bench);
}
END_TEST

START_TEST(an_error_of_connect_query_is_ignored)
{
    static const struct script script = {
        .answers = {AUTH_OK SETTINGS READY, "E\0\0\0\31SERROR\0C42601\0Mnope\0\0" READY},
        .sizes = {sizeof(AUTH_OK SETTINGS READY) - 1, 32},
        .count = 2};
    struct bench bench;
    run(&bench, LOCAL " connect_query='nonsense'", "", &script, 1);
    bench_await(&bench, is_answered);
    ck_assert_ptr_nonnull(bench.granted);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_scram_server_that_proves_nothing_is_not_believed)
{
    static const struct script script = {
        .answers = {"R\0\0\0\27\0\0\0\12SCRAM-SHA-256\0\0", AUTH_OK SETTINGS READY},
        .sizes = {24, sizeof(AUTH_OK SETTINGS READY) - 1},
        .count = 2};
    struct bench bench;
    run(&bench, LOCAL, "", &script, 1);
    bench_await(&bench, was_tried);
    ck_assert_ptr_null(bench.granted);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_password_goes_in_clear_over_loopback)
{
    static const struct script script = {.answers = {"R\0\0\0\10\0\0\0\3", AUTH_OK SETTINGS READY},
                                         .sizes = {9, sizeof(AUTH_OK SETTINGS READY) - 1},
                                         .count = 2};
    struct bench bench;
    run(&bench, LOCAL, "", &script, 1);
    bench_await(&bench, is_answered);
    ck_assert_ptr_nonnull(bench.granted);
    size_t size = atomic_load(&bench.said_size);
    ck_assert_mem_eq(bench.said + size - 12, "p\0\0\0\13secret\0", 12);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_server_without_ssl_is_refused_where_it_is_required)
{
    static const struct script script = {ANSWER("N"), .answers_ssl = true};
    struct bench bench;
    run(&bench, LOCAL, "server_tls_sslmode=require\n", &script, 1);
    bench_await(&bench, was_tried);
    ck_assert_ptr_null(bench.granted);
    ck_assert_uint_eq(atomic_load(&bench.said_size), 8);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_server_without_ssl_is_fine_where_it_is_preferred)
{
    static const struct script script = {.answers = {"N", AUTH_OK SETTINGS READY},
                                         .sizes = {1, sizeof(AUTH_OK SETTINGS READY) - 1},
                                         .count = 2,
                                         .answers_ssl = true};
    struct bench bench;
    run(&bench, LOCAL, "server_tls_sslmode=prefer\n", &script, 1);
    bench_await(&bench, is_answered);
    ck_assert_ptr_nonnull(bench.granted);
    bench_finish(&bench);
}
END_TEST

START_TEST(bytes_behind_the_ssl_answer_end_it)
{
    static const struct script script = {ANSWER("S" AUTH_OK), .answers_ssl = true};
    struct bench bench;
    run(&bench, LOCAL, "server_tls_sslmode=prefer\n", &script, 1);
    bench_await(&bench, was_tried);
    ck_assert_ptr_null(bench.granted);
    bench_finish(&bench);
}
END_TEST

START_TEST(a_wrong_login_of_one_pool_moves_no_other_to_another_host)
{
    static const struct script scripts[] = {{ANSWER(FATAL("28P01")), .has_quit = true},
                                            {ANSWER(AUTH_OK SETTINGS READY)}};
    struct bench bench;
    /* The second host refuses: who goes there is not granted. */
    run(&bench, "host=127.0.0.1,127.0.0.2 load_balance_hosts=disable", "", scripts, 2);
    bench_await(&bench, is_answered);
    ck_assert(bench.is_refused);
    bench_await(&bench, was_tried);
    bench_ask(&bench);
    bench_await(&bench, is_answered);
    ck_assert_ptr_nonnull(bench.granted);
    bench_finish(&bench);
}
END_TEST

Suite *suite_server_login(void);
Suite *suite_server_login(void)
{
    Suite *suite = suite_create("server/login");
    TCase *tests = tcase_create("login");
    tcase_add_test(tests, a_server_that_asks_nothing_is_granted);
    tcase_add_test(tests, a_name_that_does_not_resolve_ends_the_attempt_alone);
    tcase_add_test(tests, no_host_and_no_socket_folder_end_the_attempt_alone);
    tcase_add_test(tests, a_shutdown_while_a_name_is_looked_up_is_survived);
    tcase_add_test(tests, a_refused_user_is_told_with_the_servers_words);
    tcase_add_test(tests, a_server_that_shuts_down_is_tried_again);
    tcase_add_test(tests, words_behind_the_last_ready_are_not_left_for_a_client);
    tcase_add_test(tests, a_notice_behind_the_last_ready_is_fine);
    tcase_add_test(tests, a_connect_query_that_opens_a_transaction_is_refused);
    tcase_add_test(tests, an_error_of_connect_query_is_ignored);
    tcase_add_test(tests, a_scram_server_that_proves_nothing_is_not_believed);
    tcase_add_test(tests, a_password_goes_in_clear_over_loopback);
    tcase_add_test(tests, a_server_without_ssl_is_refused_where_it_is_required);
    tcase_add_test(tests, a_server_without_ssl_is_fine_where_it_is_preferred);
    tcase_add_test(tests, bytes_behind_the_ssl_answer_end_it);
    tcase_add_test(tests, a_wrong_login_of_one_pool_moves_no_other_to_another_host);
    suite_add_tcase(suite, tests);
    return suite;
}
