#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "ledger/session_prepared.h"
#include "ledger/session_state.h"

Suite *suite_ledger_session_prepared(void);

static struct session_profile *one, *other;

static void begin(void)
{
    digest_init();
    one = other = NULL;
}

static void end(void)
{
    session_profile_release(one);
    session_profile_release(other);
}

/* Of "name text" pairs. */
static struct session_profile *profile(const char *const *pairs)
{
    struct session_list settings = {0}, prepared = {0};
    struct session_profile *made;
    ck_assert(session_list_set(&settings, "work_mem", "1MB"));
    for (; *pairs; pairs += 2)
        ck_assert(session_prepared_add(&prepared, pairs[0], pairs[1]));
    ck_assert(session_profile_create(&settings, &prepared, &made));
    session_list_finish(&settings);
    session_list_finish(&prepared);
    return made;
}

static const char *const a_and_b[] = {"a", "prepare a as select 1", "b", "prepare b as select 2",
                                      NULL};
static const char *const b_and_a[] = {"b", "prepare b as select 2", "a", "prepare a as select 1",
                                      NULL};
static const char *const a_anew[] = {"a", "prepare a as select 3", "B", "prepare \"B\" as select 4",
                                     NULL};
static const char *const nothing[] = {NULL};

START_TEST(their_order_does_not_matter_and_their_texts_do)
{
    one = profile(a_and_b);
    other = profile(b_and_a);
    ck_assert(one->hash == other->hash && one->settings_hash == other->settings_hash);
    session_profile_release(other);
    other = profile(a_anew);
    ck_assert(one->hash != other->hash && one->settings_hash == other->settings_hash);
    ck_assert(one->statement_hash == other->statement_hash);
    ck_assert_int_eq(one->count, 1);
    ck_assert_int_eq(one->prepared_count, 2);
}
END_TEST

START_TEST(only_what_differs_is_closed_and_made)
{
    uint8_t memory[512];
    struct bytes out = bytes_over(memory, sizeof(memory));
    one = profile(a_and_b);
    other = profile(a_anew);
    ck_assert_int_eq(session_prepared_close(one, other, &out), 2);
    ck_assert_int_eq(session_prepared_make(one, other, &out), 2);
    ck_assert_int_eq(session_prepared_close(one, one, &out), 0);
    ck_assert_int_eq(session_prepared_make(one, one, &out), 0);
    ck_assert_int_eq(session_prepared_close(NULL, one, &out), 0);
    ck_assert_int_eq(session_prepared_make(one, NULL, &out), 0);
    ck_assert(bytes_ok(&out));
    ck_assert_ptr_nonnull(memmem(out.data, out.size, "prepare a as select 3", 22));
}
END_TEST

START_TEST(what_could_not_be_made_is_not_there)
{
    struct session_profile *from = profile(nothing), *has;
    one = profile(a_and_b);
    ck_assert(session_prepared_without(from, one, 1, &has));
    ck_assert_int_eq(has->prepared_count, 1);
    ck_assert_ptr_null(session_prepared_find(has, "a"));
    ck_assert_str_eq(session_prepared_find(has, "b")->value, "prepare b as select 2");
    ck_assert(has->settings_hash == one->settings_hash && has->hash != one->hash);
    session_profile_release(from);
    from = has;
    ck_assert(session_prepared_without(from, one, 0, &has)); /* the first Query is that of `a` */
    ck_assert(has->hash == one->hash);
    session_profile_release(from);
    session_profile_release(has);
}
END_TEST

START_TEST(what_would_mean_something_else_cannot_follow)
{
    static char text[SESSION_VALUE_MAX + 64] = "prepare a as select 1 /*";
    struct session_list prepared = {0};
    ck_assert(!session_prepared_add(&prepared, "a", "prepare a as select 'now'::timestamp"));
    ck_assert(!session_prepared_add(&prepared, "a", "prepare b as select 1"));
    memset(text + strlen(text), '*', SESSION_VALUE_MAX);
    ck_assert(!session_prepared_add(&prepared, "a", text));
    ck_assert_int_eq(prepared.count, 0);
}
END_TEST

START_TEST(what_they_touch_is_told)
{
    static const char *const touching[] = {"a", "prepare a as select pg_advisory_lock(1)", "b",
                                           "prepare b as select 1", NULL};
    one = profile(touching);
    ck_assert_uint_eq(session_prepared_touches(one), SESSION_ADVISORY);
    ck_assert_uint_eq(session_prepared_touches(NULL), 0);
}
END_TEST

Suite *suite_ledger_session_prepared(void)
{
    Suite *suite = suite_create("ledger/session_prepared");
    TCase *tests = tcase_create("session_prepared");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, their_order_does_not_matter_and_their_texts_do);
    tcase_add_test(tests, only_what_differs_is_closed_and_made);
    tcase_add_test(tests, what_could_not_be_made_is_not_there);
    tcase_add_test(tests, what_would_mean_something_else_cannot_follow);
    tcase_add_test(tests, what_they_touch_is_told);
    suite_add_tcase(suite, tests);
    return suite;
}
