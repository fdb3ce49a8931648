#include <check.h>
#include <stdio.h>

#include "auth/user_cache.h"
#include "base/digest.h"

Suite *suite_auth_user_cache(void);

#define NOW       (1000 * USEC_PER_SEC)
#define ANY_AGE   INT64_MAX
#define NAMES_MAX 2000

static struct user_cache *cache;
static struct user_cache_limits limits;
static struct user_cache_wait waits[NAMES_MAX];

static void set_up(void)
{
    digest_init();
    cache = user_cache_create();
    ck_assert_ptr_nonnull(cache);
    limits = (struct user_cache_limits){
        .ttl = 30 * USEC_PER_SEC, .negative_ttl = 10 * USEC_PER_SEC, .size = 100, .rate = 100000};
}

static void tear_down(void)
{
    user_cache_destroy(cache);
}

static enum user_cache_verdict get(const char *name, usec_t max_age, usec_t now,
                                   struct user_cache_wait *wait, struct user_cache_answer *answer)
{
    const struct user_cache_key key = {"shop", name};
    return user_cache_get(cache, &key, &limits, max_age, now, wait, answer);
}

/* How many were told. */
static int tell(const char *name, struct user_cache_news news, usec_t now)
{
    const struct user_cache_key key = {"shop", name};
    struct user_cache_waits told;
    struct user_cache_wait *wait;
    int count = 0;
    user_cache_tell(cache, &key, &limits, &news, now, &told);
    LIST_FOREACH (wait, &told, link)
        count++;
    return count;
}

static const struct user_cache_news secret_news = {.found = USER_CACHE_USER, .secret = "secret"};
static const struct user_cache_news nobody_news = {.found = USER_CACHE_NOBODY};
static const struct user_cache_news away_news = {.found = USER_CACHE_UNKNOWN,
                                                 .was_not_reached = true};

static void learn(const char *name, struct user_cache_news news, usec_t now)
{
    struct user_cache_answer answer;
    ck_assert_int_eq(get(name, 0, now, &waits[0], &answer), USER_CACHE_ASK);
    ck_assert_int_eq(tell(name, news, now), 1);
    auth_secret_finish(&waits[0].answer.secret);
}

static bool is_known(const char *name, usec_t now)
{
    struct user_cache_answer answer;
    enum user_cache_verdict verdict = get(name, ANY_AGE, now, &waits[1], &answer);
    if (verdict == USER_CACHE_ASK)
        tell(name, away_news, now);
    if (verdict == USER_CACHE_HIT)
        auth_secret_finish(&answer.secret);
    return verdict == USER_CACHE_HIT;
}

START_TEST(many_who_ask_at_once_put_one_question)
{
    struct user_cache_answer answer;
    ck_assert_int_eq(get("anna", ANY_AGE, NOW, &waits[0], &answer), USER_CACHE_ASK);
    for (int i = 1; i < 1000; i++)
        ck_assert_int_eq(get("anna", ANY_AGE, NOW, &waits[i], &answer), USER_CACHE_WAIT);
    ck_assert_int_eq(tell("anna", secret_news, NOW), 1000);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(waits[i].answer.found, USER_CACHE_USER);
        ck_assert_str_eq(waits[i].answer.secret.text, "secret");
        auth_secret_finish(&waits[i].answer.secret);
    }
}
END_TEST

START_TEST(an_answer_serves_for_its_time)
{
    learn("anna", secret_news, NOW);
    learn("nobody", nobody_news, NOW);
    ck_assert(is_known("anna", NOW + 29 * USEC_PER_SEC));
    ck_assert(is_known("nobody", NOW + 9 * USEC_PER_SEC));
    ck_assert(!is_known("nobody", NOW + 10 * USEC_PER_SEC));
    ck_assert(!is_known("anna", NOW + 30 * USEC_PER_SEC));
}
END_TEST

START_TEST(databases_do_not_share_users)
{
    const struct user_cache_key key = {"shop2", "anna"};
    struct user_cache_answer answer;
    learn("anna", secret_news, NOW);
    ck_assert_int_eq(user_cache_get(cache, &key, &limits, ANY_AGE, NOW, &waits[0], &answer),
                     USER_CACHE_ASK);
}
END_TEST

START_TEST(names_of_nobody_push_no_user_out)
{
    char name[32];
    learn("anna", secret_news, NOW);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "made up %d", i);
        learn(name, nobody_news, NOW);
    }
    ck_assert(is_known("anna", NOW));
    ck_assert(is_known("made up 999", NOW));
    ck_assert(!is_known("made up 0", NOW));
}
END_TEST

START_TEST(the_user_not_asked_for_longest_leaves_first)
{
    limits.size = 2;
    learn("anna", secret_news, NOW);
    learn("bob", secret_news, NOW);
    ck_assert(is_known("anna", NOW));
    learn("carl", secret_news, NOW);
    ck_assert(is_known("anna", NOW));
    ck_assert(!is_known("bob", NOW));
}
END_TEST

START_TEST(a_user_who_is_dropped_becomes_nobody)
{
    struct user_cache_answer answer;
    learn("anna", secret_news, NOW);
    learn("anna", nobody_news, NOW + 1);
    ck_assert_int_eq(get("anna", ANY_AGE, NOW + 2, &waits[0], &answer), USER_CACHE_HIT);
    ck_assert_int_eq(answer.found, USER_CACHE_NOBODY);
}
END_TEST

START_TEST(questions_are_bounded_by_their_rate)
{
    struct user_cache_answer answer;
    char name[32];
    int asked = 0;
    limits.rate = 10;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "made up %d", i);
        asked += get(name, ANY_AGE, NOW, &waits[i], &answer) == USER_CACHE_ASK;
        tell(name, nobody_news, NOW);
    }
    ck_assert_int_eq(asked, 10);
    ck_assert_int_eq(get("anna", ANY_AGE, NOW + USEC_PER_SEC / 2, &waits[0], &answer),
                     USER_CACHE_ASK);
}
END_TEST

START_TEST(over_the_rate_an_older_answer_serves)
{
    struct user_cache_answer answer;
    limits.rate = 1;
    learn("anna", secret_news, NOW);
    ck_assert_int_eq(get("anna", 1, NOW + 5, &waits[0], &answer), USER_CACHE_HIT);
    auth_secret_finish(&answer.secret);
    ck_assert_int_eq(get("bob", 1, NOW + 5, &waits[0], &answer), USER_CACHE_FULL);
}
END_TEST

START_TEST(a_question_that_fails_leaves_what_was_known)
{
    struct user_cache_answer answer;
    learn("anna", secret_news, NOW);
    ck_assert_int_eq(get("anna", 1, NOW + 5, &waits[0], &answer), USER_CACHE_ASK);
    tell("anna", away_news, NOW + 6);
    ck_assert_int_eq(waits[0].answer.found, USER_CACHE_USER);
    ck_assert(!waits[0].answer.is_stale);
    auth_secret_finish(&waits[0].answer.secret);
}
END_TEST

static enum user_cache_found late_answer(struct user_cache_news news)
{
    struct user_cache_answer answer;
    usec_t late = NOW + 31 * USEC_PER_SEC;
    ck_assert_int_eq(get("anna", ANY_AGE, late, &waits[0], &answer), USER_CACHE_ASK);
    tell("anna", news, late);
    auth_secret_finish(&waits[0].answer.secret);
    return waits[0].answer.found;
}

START_TEST(a_stale_answer_serves_only_where_no_server_was_reached)
{
    const struct user_cache_news broken = {.found = USER_CACHE_UNKNOWN};
    learn("anna", secret_news, NOW);
    ck_assert_int_eq(late_answer(away_news), USER_CACHE_UNKNOWN);
    limits.stale = 60 * USEC_PER_SEC;
    ck_assert_int_eq(late_answer(broken), USER_CACHE_UNKNOWN);
    ck_assert_int_eq(late_answer(away_news), USER_CACHE_USER);
    ck_assert(waits[0].answer.is_stale);
}
END_TEST

START_TEST(what_is_asked_during_a_flush_is_not_kept)
{
    struct user_cache_answer answer;
    learn("bob", secret_news, NOW);
    ck_assert_int_eq(get("anna", ANY_AGE, NOW, &waits[0], &answer), USER_CACHE_ASK);
    user_cache_flush(cache, NULL, NULL);
    ck_assert_int_eq(tell("anna", secret_news, NOW), 1);
    auth_secret_finish(&waits[0].answer.secret);
    ck_assert(!is_known("anna", NOW));
    ck_assert(!is_known("bob", NOW));
}
END_TEST

START_TEST(a_flush_of_one_user_leaves_the_others)
{
    learn("anna", secret_news, NOW);
    learn("bob", secret_news, NOW);
    user_cache_flush(cache, "shop", "anna");
    user_cache_flush(cache, "other", NULL);
    ck_assert(!is_known("anna", NOW));
    ck_assert(is_known("bob", NOW));
}
END_TEST

START_TEST(the_shape_is_that_of_most_verifiers)
{
    struct user_cache_shape shape;
    struct user_cache_news news = {.found = USER_CACHE_USER,
                                   .secret = "SCRAM-SHA-256$8192:W22ZaJ0SNY7soEsUEjb6gQ==$"
                                             "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                                             "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="};
    learn("anna", secret_news, NOW);
    ck_assert(!user_cache_shape(cache, &shape));
    learn("bob", news, NOW);
    ck_assert(user_cache_shape(cache, &shape));
    ck_assert_uint_eq(shape.iterations, 8192);
    ck_assert_uint_eq(shape.salt_size, 16);
}
END_TEST

Suite *suite_auth_user_cache(void)
{
    Suite *suite = suite_create("auth/user_cache");
    TCase *tcase = tcase_create("user_cache");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, many_who_ask_at_once_put_one_question);
    tcase_add_test(tcase, an_answer_serves_for_its_time);
    tcase_add_test(tcase, databases_do_not_share_users);
    tcase_add_test(tcase, names_of_nobody_push_no_user_out);
    tcase_add_test(tcase, the_user_not_asked_for_longest_leaves_first);
    tcase_add_test(tcase, a_user_who_is_dropped_becomes_nobody);
    tcase_add_test(tcase, questions_are_bounded_by_their_rate);
    tcase_add_test(tcase, over_the_rate_an_older_answer_serves);
    tcase_add_test(tcase, a_question_that_fails_leaves_what_was_known);
    tcase_add_test(tcase, a_stale_answer_serves_only_where_no_server_was_reached);
    tcase_add_test(tcase, what_is_asked_during_a_flush_is_not_kept);
    tcase_add_test(tcase, a_flush_of_one_user_leaves_the_others);
    tcase_add_test(tcase, the_shape_is_that_of_most_verifiers);
    suite_add_tcase(suite, tcase);
    return suite;
}
