#include <check.h>
#include <string.h>

#include "../../../src/worker/worker_private.h"

static struct workers workers;
static struct report_pool pools[4];
static struct report report;
static struct report_stats_row rows[4];

/* A process that began `seconds` ago and has taken no tick yet. */
static void begin(int seconds)
{
    memset(pools, 0, sizeof(pools));
    memset(rows, 0, sizeof(rows));
    workers = (struct workers){.start_time = clock_monotonic() - seconds * USEC_PER_SEC};
    workers.stats = stats_create(&workers);
    ck_assert_ptr_nonnull(workers.stats);
    report = (struct report){.kind = REPORT_STATS, .workers = &workers, .pools = pools};
}

static struct pool_stats *add_pool(const char *database, const char *user)
{
    struct report_pool *pool = &pools[report.count++];

    strcpy(pool->database, database);
    strcpy(pool->user, user);
    return &pool->stats;
}

static size_t ask(void)
{
    size_t count = stats_rows(&workers, &report, rows);

    stats_destroy(workers.stats);
    return count;
}

START_TEST(pools_of_one_database_are_one_row)
{
    begin(9);
    add_pool("app", "alice")->queries = 3;
    add_pool("app", "bob")->queries = 4;
    add_pool("other", "alice")->queries = 5;
    ck_assert_uint_eq(ask(), 2);
    ck_assert_str_eq(rows[0].database, "app");
    ck_assert_uint_eq(rows[0].total.queries, 7);
    ck_assert_str_eq(rows[1].database, "other");
    ck_assert_uint_eq(rows[1].total.queries, 5);
}
END_TEST

START_TEST(without_a_pool_there_is_no_row)
{
    begin(9);
    ck_assert_uint_eq(ask(), 0);
}
END_TEST

/* The clock before the first tick starts one second before the process does: ten seconds here, and
 * a little. */
START_TEST(counts_and_bytes_are_per_second)
{
    begin(9);
    struct pool_stats *stats = add_pool("app", "alice");
    stats->queries = 10500;
    stats->received = 105000;
    ask();
    ck_assert_uint_ge(rows[0].average.queries, 950);
    ck_assert_uint_le(rows[0].average.queries, 1050);
    ck_assert_uint_ge(rows[0].average.received, 9500);
    ck_assert_uint_le(rows[0].average.received, 10500);
}
END_TEST

START_TEST(times_are_for_each_query_transaction_and_assignment)
{
    begin(9);
    struct pool_stats *stats = add_pool("app", "alice");
    *stats = (struct pool_stats){.queries = 10,
                                 .query_time = 70,
                                 .xacts = 5,
                                 .xact_time = 100,
                                 .server_assignments = 4,
                                 .wait_time = 12};
    ask();
    ck_assert_uint_eq(rows[0].average.query_time, 7);
    ck_assert_uint_eq(rows[0].average.xact_time, 20);
    ck_assert_uint_eq(rows[0].average.wait_time, 3);
}
END_TEST

START_TEST(time_without_a_query_is_no_division_by_zero)
{
    begin(9);
    add_pool("app", "alice")->query_time = 70;
    ask();
    ck_assert_uint_eq(rows[0].average.query_time, 0);
}
END_TEST

START_TEST(every_counter_is_added)
{
    struct pool_stats sum = {0}, part;
    uint64_t counters[sizeof(part) / sizeof(uint64_t)];

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        counters[i] = i + 1;
    memcpy(&part, counters, sizeof(part));
    stats_add(&sum, &part);
    ck_assert_mem_eq(&sum, &part, sizeof(sum));
}
END_TEST

Suite *suite_worker_stats(void);
Suite *suite_worker_stats(void)
{
    Suite *suite = suite_create("worker/stats");
    TCase *all = tcase_create("all");

    tcase_add_test(all, pools_of_one_database_are_one_row);
    tcase_add_test(all, without_a_pool_there_is_no_row);
    tcase_add_test(all, counts_and_bytes_are_per_second);
    tcase_add_test(all, times_are_for_each_query_transaction_and_assignment);
    tcase_add_test(all, time_without_a_query_is_no_division_by_zero);
    tcase_add_test(all, every_counter_is_added);
    suite_add_tcase(suite, all);
    return suite;
}
