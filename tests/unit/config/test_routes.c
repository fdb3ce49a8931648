#include "config/routes.h"
#include "config_files.h"

Suite *suite_config_routes(void);

#define MAIN "[pgbouncer]\n"
#define DATABASES                                                                                  \
    "[databases]\nshop = host=x\nep-x = host=x\nproj = host=x user=fixed\n* = host=y\n"

static struct loaded loaded;
static struct route_answer answer;
static struct error error;

static void take(const char *text)
{
    loaded = load_good(text);
}

static void finish(void)
{
    unload(&loaded);
    leave_folder();
}

static bool asks(const char *sni, const char *endpoint, const char *user, const char *database)
{
    const struct route_question question = {.listener = "default",
                                            .sni = sni,
                                            .endpoint = endpoint,
                                            .user = user,
                                            .database = database};

    return route_find(loaded.config, &question, &answer, NULL);
}

/* ---- patterns ---- */

START_TEST(a_star_stands_for_one_label)
{
    char capture[ROUTE_CAPTURE_MAX + 1];

    ck_assert(route_pattern_fits("*.db.example.com", "Ep-X.DB.example.com", true, capture));
    ck_assert_str_eq(capture, "ep-x");
    ck_assert(!route_pattern_fits("*.db.example.com", "a.b.db.example.com", true, capture));
    ck_assert(!route_pattern_fits("*.db.example.com", ".db.example.com", true, capture));
    ck_assert(!route_pattern_fits("*.db.example.com", "db.example.com", true, capture));
    ck_assert(route_pattern_fits("postgres.*", "postgres.Abc", false, capture));
    ck_assert_str_eq(capture, "abc");
    ck_assert(!route_pattern_fits("postgres.*", "Postgres.abc", false, capture));
    ck_assert(!route_pattern_fits("a*", "a$b", false, capture));
    ck_assert(!route_pattern_fits("a*", "a\xc3\xa4", false, capture));
    ck_assert(route_pattern_fits("plain", "plain", false, capture));
    ck_assert(!route_pattern_fits("plain", "plainer", false, capture));
}
END_TEST

START_TEST(a_capture_has_at_most_63_bytes)
{
    char text[66], capture[ROUTE_CAPTURE_MAX + 1];

    memset(text, 'a', sizeof(text));
    text[64] = '\0';
    ck_assert(!route_pattern_fits("*", text, false, capture));
    text[63] = '\0';
    ck_assert(route_pattern_fits("*", text, false, capture));
}
END_TEST

START_TEST(captures_go_where_they_are_asked_for)
{
    const char captures[2][ROUTE_CAPTURE_MAX + 1] = {"one", "two"};
    char into[12];

    ck_assert(route_expand("a-$2-$1", captures, 2, into, sizeof(into)));
    ck_assert_str_eq(into, "a-two-one");
    ck_assert(!route_expand("$3", captures, 2, into, sizeof(into)));
    ck_assert(!route_expand("$1$1$1$1", captures, 2, into, sizeof(into)));
    ck_assert(route_expand("$$0", captures, 2, into, sizeof(into)));
    ck_assert_str_eq(into, "$$0");
}
END_TEST

/* ---- lines ---- */

#define NEON                                                                                       \
    MAIN DATABASES "[routes]\n*-pooler.db.example.com = database=$1 pool_mode=transaction\n"       \
                   "*.db.example.com = database=$1 pool_mode=session\n"

START_TEST(the_first_line_that_fits_is_taken)
{
    take(NEON);
    ck_assert(asks("ep-x-pooler.db.example.com", NULL, "u", "any"));
    ck_assert_str_eq(answer.database, "ep-x");
    ck_assert_int_eq(answer.pool_mode, POOL_MODE_TRANSACTION);
    ck_assert(asks("EP-X.db.example.com.", NULL, "u", "any"));
    ck_assert_str_eq(answer.database, "ep-x");
    ck_assert_int_eq(answer.pool_mode, POOL_MODE_SESSION);
}
END_TEST

START_TEST(a_capture_reaches_lines_of_their_own_alone)
{
    take(NEON);
    ck_assert(!asks("nonesuch.db.example.com", NULL, "u", "shop")); /* not '*' */
    ck_assert(!asks("pgbouncer.db.example.com", NULL, "u", "shop"));
    ck_assert(!asks(NULL, NULL, "u", "shop"));
    ck_assert(!asks("shop.example.com", NULL, "u", "shop"));
}
END_TEST

START_TEST(an_endpoint_is_the_first_label)
{
    take(NEON);
    ck_assert(asks(NULL, "ep-x-pooler", "u", "any"));
    ck_assert_int_eq(answer.pool_mode, POOL_MODE_TRANSACTION);
    ck_assert(asks(NULL, "ep-x", "u", "any"));
    ck_assert_int_eq(answer.pool_mode, POOL_MODE_SESSION);
    ck_assert(!asks(NULL, "ep-y", "u", "any"));
}
END_TEST

START_TEST(endpoint_and_host_agree)
{
    struct route_question question = {.sni = "ep-x.db.example.com", .endpoint = "EP-X"};

    take(NEON);
    ck_assert(route_is_consistent(&question, &error));
    question.endpoint = "ep-y";
    ck_assert(!route_is_consistent(&question, &error));
    ck_assert_str_eq(error.message, "Inconsistent project name inferred from SNI ('ep-x') and "
                                    "project option ('ep-y').");
    question.endpoint = NULL;
    ck_assert(route_is_consistent(&question, &error));
}
END_TEST

START_TEST(a_user_has_a_suffix)
{
    take(MAIN DATABASES "[routes]\n* = if_user=postgres.* database=$1 user=postgres\n");
    ck_assert(asks(NULL, NULL, "postgres.proj", "postgres"));
    ck_assert_str_eq(answer.database, "proj");
    ck_assert_str_eq(answer.user, "postgres");
    ck_assert(!asks(NULL, NULL, "postgres", "proj"));
}
END_TEST

START_TEST(captures_are_counted_from_host_to_database)
{
    take(MAIN "[databases]\na-b-c = host=x\n[routes]\n"
              "*.h = if_user=u.* if_database=d-* database=$1-$2-$3 user=$2\n");
    ck_assert(asks("a.h", NULL, "u.b", "d-c"));
    ck_assert_str_eq(answer.database, "a-b-c");
    ck_assert_str_eq(answer.user, "b");
    ck_assert(!asks("a.h", NULL, "u.b", "e-c"));
}
END_TEST

START_TEST(a_line_without_database_leaves_it_as_it_was_sent)
{
    take(MAIN DATABASES "[routes]\n* = if_listener=other\n* = pool_mode=statement\n");
    ck_assert(asks(NULL, NULL, "u", "whatever"));
    ck_assert_str_eq(answer.database, "whatever");
    ck_assert_int_eq(answer.pool_mode, POOL_MODE_STATEMENT);
    ck_assert_int_eq(answer.route->line, 9);
    ck_assert(loaded.config->has_mixed_modes);
}
END_TEST

START_TEST(lines_that_make_no_route)
{
    static const struct {
        const char *line, *problem;
    } cases[] = {
        {"*.*.x = database=shop", "a pattern has at most one *"},
        {"*.x = database=$2", "there are not so many * as its $ ask for"},
        {"* = database=$1", "there are not so many * as its $ ask for"},
        {"x = user=$1", "there are not so many * as its $ ask for"},
        {"x = database=pgbouncer", "the console is not reached by routes"},
        {"x = colour=red", "unrecognized route parameter: colour"},
        {"x = database", "syntax error in route settings"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), MAIN "[routes]\n%s\n", cases[i].line);
        unload(&loaded);
        loaded = load(text);
        ck_assert_ptr_null(loaded.config);
        ck_assert_msg(strstr(loaded.problems.lines[0], cases[i].problem) != NULL, "%s",
                      loaded.problems.lines[0]);
    }
}
END_TEST

START_TEST(set_keeps_the_routes)
{
    struct config_problems problems = {0};

    take(NEON);
    ck_assert(asks("ep-x.db.example.com", NULL, "u", "any"));
    atomic_fetch_add(&answer.route->taken, 3);
    const struct config *changed = config_with(loaded.config, "query_timeout", "3", &problems);
    ck_assert_ptr_nonnull(changed);
    ck_assert_int_eq(changed->route_count, 2);
    ck_assert_str_eq(changed->routes[1]->host, "*.db.example.com");
    ck_assert_uint_eq(atomic_load(&changed->routes[1]->taken), 3);
    config_release(changed);
}
END_TEST

Suite *suite_config_routes(void)
{
    Suite *suite = suite_create("config/routes");
    TCase *tests = tcase_create("routes");

    tcase_add_checked_fixture(tests, enter_folder, finish);
    tcase_add_test(tests, a_star_stands_for_one_label);
    tcase_add_test(tests, a_capture_has_at_most_63_bytes);
    tcase_add_test(tests, captures_go_where_they_are_asked_for);
    tcase_add_test(tests, the_first_line_that_fits_is_taken);
    tcase_add_test(tests, a_capture_reaches_lines_of_their_own_alone);
    tcase_add_test(tests, an_endpoint_is_the_first_label);
    tcase_add_test(tests, endpoint_and_host_agree);
    tcase_add_test(tests, a_user_has_a_suffix);
    tcase_add_test(tests, captures_are_counted_from_host_to_database);
    tcase_add_test(tests, a_line_without_database_leaves_it_as_it_was_sent);
    tcase_add_test(tests, lines_that_make_no_route);
    tcase_add_test(tests, set_keeps_the_routes);
    suite_add_tcase(suite, tests);
    return suite;
}
