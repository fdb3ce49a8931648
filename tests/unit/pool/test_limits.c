#include <check.h>

#include "pool/limits.h"
#include "support/pool_fakes.h"

/* anna and bert share the database "shop" with 2 places; anna has 1 more in "farm", of her own 3.
 */
static struct limits *limits;
static struct fake_pool anna, bert, farm;
static struct pool *victim;
static int victim_worker;

static void prepare(void)
{
    limits = limits_create();
    fake_pool_init(&anna, limits,
                   &(struct fake_pool_options){.max_db_connections = 2, .workers = 2});
    fake_pool_init(&bert, limits,
                   &(struct fake_pool_options){
                       .user = "bert", .max_db_connections = 2, .workers = 2, .number = 1});
    fake_pool_init(
        &farm, limits,
        &(struct fake_pool_options){.database = "farm", .max_user_connections = 3, .workers = 2});
}

static void clean_up(void)
{
    fake_pool_finish(&anna);
    fake_pool_finish(&bert);
    fake_pool_finish(&farm);
    limits_destroy(limits);
}

static enum limits_verdict reserve(struct fake_pool *fake)
{
    return limits_reserve(limits, fake->pool, &victim, &victim_worker);
}

static struct pool *give_back(struct fake_pool *fake)
{
    struct pool *next = limits_release(limits, fake->pool);

    if (next != NULL)
        pool_release_reference(next);
    return next;
}

static void make_idle(struct pool *pool, int worker, struct pool_member *member, usec_t since)
{
    shard_put_idle(&pool->shards[worker], member, since);
}

START_TEST(a_slot_is_counted_for_its_database_and_its_user)
{
    ck_assert_int_eq(reserve(&anna), LIMITS_RESERVED);
    ck_assert_int_eq(limits_database_count(limits, "shop"), 1);
    ck_assert_int_eq(limits_user_count(limits, "anna"), 1);
    give_back(&anna);
}
END_TEST

START_TEST(pools_of_one_user_are_counted_together)
{
    reserve(&anna);
    reserve(&farm);
    ck_assert_int_eq(limits_user_count(limits, "anna"), 2);
    ck_assert_int_eq(limits_database_count(limits, "farm"), 1);
    give_back(&anna);
    give_back(&farm);
}
END_TEST

START_TEST(a_name_that_never_asked_counts_nothing)
{
    ck_assert_int_eq(limits_database_count(limits, "unknown"), 0);
}
END_TEST

START_TEST(a_slot_that_was_given_back_is_free)
{
    reserve(&anna);
    give_back(&anna);
    ck_assert_int_eq(limits_database_count(limits, "shop"), 0);
}
END_TEST

START_TEST(the_database_has_no_more_than_its_limit)
{
    reserve(&anna);
    reserve(&bert);
    ck_assert_int_eq(reserve(&bert), LIMITS_BLOCKED);
    ck_assert_int_eq(limits_database_count(limits, "shop"), 2);
    give_back(&anna); /* bert's now */
    give_back(&bert);
    give_back(&bert);
}
END_TEST

START_TEST(the_user_has_no_more_than_its_limit)
{
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(reserve(&farm), LIMITS_RESERVED);
    ck_assert_int_eq(reserve(&farm), LIMITS_BLOCKED);
    limits_forget(limits, farm.pool);
    for (int i = 0; i < 3; i++)
        give_back(&farm);
}
END_TEST

START_TEST(no_limit_means_no_limit)
{
    fake_pool_limit(&bert, 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(reserve(&bert), LIMITS_RESERVED);
    for (int i = 0; i < 100; i++)
        give_back(&bert);
}
END_TEST

START_TEST(a_freed_slot_is_reserved_for_who_waits_for_it)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    ck_assert_ptr_eq(give_back(&anna), bert.pool);
    ck_assert_int_eq(limits_database_count(limits, "shop"), 2);
    ck_assert(!atomic_load(&bert.pool->is_blocked));
    give_back(&anna);
    give_back(&bert);
}
END_TEST

START_TEST(who_asked_first_is_served_first)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    reserve(&anna);
    ck_assert_ptr_eq(give_back(&anna), bert.pool);
    ck_assert_ptr_eq(give_back(&anna), anna.pool);
    give_back(&anna);
    give_back(&bert);
}
END_TEST

START_TEST(asking_again_keeps_the_place_in_line)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    reserve(&anna);
    reserve(&bert);
    ck_assert_ptr_eq(give_back(&anna), bert.pool);
    ck_assert_ptr_eq(give_back(&anna), anna.pool);
    give_back(&anna);
    ck_assert_ptr_null(give_back(&bert));
}
END_TEST

START_TEST(who_does_not_use_a_reservation_wakes_the_next)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    reserve(&anna);
    ck_assert_ptr_eq(give_back(&anna), bert.pool);
    ck_assert_ptr_eq(give_back(&bert), anna.pool);
    give_back(&anna);
    give_back(&anna);
}
END_TEST

START_TEST(one_that_another_limit_blocks_does_not_hold_up_the_others)
{
    for (int i = 0; i < 3; i++)
        reserve(&farm);
    fake_pool_finish(&anna);
    fake_pool_init(&anna, limits,
                   &(struct fake_pool_options){
                       .max_db_connections = 2, .max_user_connections = 3, .workers = 2});
    reserve(&bert);
    reserve(&bert);
    ck_assert_int_eq(reserve(&anna), LIMITS_BLOCKED); /* by the database and by her own limit */
    ck_assert_int_eq(reserve(&bert), LIMITS_BLOCKED);
    ck_assert_ptr_eq(give_back(&bert), bert.pool);
    limits_forget(limits, anna.pool);
    give_back(&bert);
    give_back(&bert);
    for (int i = 0; i < 3; i++)
        give_back(&farm);
}
END_TEST

START_TEST(the_victim_is_who_has_been_idle_for_longest)
{
    struct pool_member old = {.pool = anna.pool}, young = {.pool = anna.pool};

    reserve(&anna);
    reserve(&anna);
    make_idle(anna.pool, 0, &young, 200);
    make_idle(anna.pool, 1, &old, 100);
    ck_assert_int_eq(reserve(&bert), LIMITS_BLOCKED);
    ck_assert_ptr_eq(victim, anna.pool);
    ck_assert_int_eq(victim_worker, 1);
    pool_release_reference(victim);
    limits_forget(limits, bert.pool);
    give_back(&anna);
    give_back(&anna);
}
END_TEST

START_TEST(there_is_no_victim_while_all_are_busy)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    ck_assert_ptr_null(victim);
    limits_forget(limits, bert.pool);
    give_back(&anna);
    give_back(&anna);
}
END_TEST

START_TEST(a_pool_is_not_its_own_victim)
{
    struct pool_member member = {.pool = anna.pool};

    reserve(&anna);
    reserve(&anna);
    make_idle(anna.pool, 0, &member, 100);
    reserve(&anna);
    ck_assert_ptr_null(victim);
    limits_forget(limits, anna.pool);
    give_back(&anna);
    give_back(&anna);
}
END_TEST

START_TEST(a_member_that_goes_idle_is_called_back_for_who_is_blocked)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    ck_assert(limits_wants_back(limits, anna.pool));
    give_back(&anna);
    give_back(&anna);
    give_back(&bert);
}
END_TEST

START_TEST(no_more_are_called_back_than_are_needed)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    ck_assert(limits_wants_back(limits, anna.pool));
    ck_assert(!limits_wants_back(limits, anna.pool));
    give_back(&anna);
    give_back(&anna);
    give_back(&bert);
}
END_TEST

START_TEST(nothing_is_called_back_while_nobody_is_blocked)
{
    reserve(&anna);
    reserve(&anna);
    ck_assert(!limits_wants_back(limits, anna.pool));
    give_back(&anna);
    give_back(&anna);
}
END_TEST

START_TEST(nothing_is_called_back_for_a_pool_of_other_limits)
{
    for (int i = 0; i < 3; i++)
        reserve(&farm);
    reserve(&bert);
    reserve(&farm);
    ck_assert(!limits_wants_back(limits, bert.pool));
    limits_forget(limits, farm.pool);
    for (int i = 0; i < 3; i++)
        give_back(&farm);
    give_back(&bert);
}
END_TEST

START_TEST(a_call_back_is_over_when_the_slot_came)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    limits_wants_back(limits, anna.pool);
    give_back(&anna); /* bert's */
    reserve(&bert);
    ck_assert(limits_wants_back(limits, anna.pool));
    limits_forget(limits, bert.pool);
    give_back(&anna);
    give_back(&bert);
}
END_TEST

START_TEST(a_pool_that_is_forgotten_gets_nothing)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    limits_forget(limits, bert.pool);
    ck_assert_ptr_null(give_back(&anna));
    give_back(&anna);
}
END_TEST

START_TEST(a_pool_in_which_somebody_waits_is_not_forgotten)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    atomic_store(&bert.pool->waiting, 1);
    limits_forget(limits, bert.pool);
    ck_assert(atomic_load(&bert.pool->is_blocked));
    atomic_store(&bert.pool->waiting, 0);
    limits_forget(limits, bert.pool);
    give_back(&anna);
    give_back(&anna);
}
END_TEST

START_TEST(forgetting_one_that_is_not_blocked_does_nothing)
{
    limits_forget(limits, anna.pool);
    ck_assert_int_eq(atomic_load(&anna.pool->references), 1);
}
END_TEST

START_TEST(a_place_in_line_holds_a_reference)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    ck_assert_int_eq(atomic_load(&bert.pool->references), 2);
    limits_forget(limits, bert.pool);
    ck_assert_int_eq(atomic_load(&bert.pool->references), 1);
    give_back(&anna);
    give_back(&anna);
}
END_TEST

START_TEST(a_raised_limit_is_used_when_asked_again)
{
    reserve(&anna);
    reserve(&anna);
    reserve(&bert);
    fake_pool_limit(&bert, 3);
    ck_assert_int_eq(reserve(&bert), LIMITS_RESERVED);
    ck_assert(!atomic_load(&bert.pool->is_blocked));
    give_back(&anna);
    give_back(&anna);
    give_back(&bert);
}
END_TEST

START_TEST(a_lowered_limit_takes_nothing_away)
{
    reserve(&anna);
    reserve(&anna);
    fake_pool_limit(&anna, 1);
    ck_assert_int_eq(reserve(&anna), LIMITS_BLOCKED);
    ck_assert_int_eq(limits_database_count(limits, "shop"), 2);
    ck_assert_ptr_null(give_back(&anna));
    limits_forget(limits, anna.pool);
    give_back(&anna);
}
END_TEST

START_TEST(standing_in_line_reserves_nothing)
{
    ck_assert_int_eq(limits_stand_in_line(limits, anna.pool), LIMITS_BLOCKED);
    ck_assert_int_eq(limits_database_count(limits, "shop"), 0);
    ck_assert(atomic_load(&anna.pool->is_blocked));
    limits_forget(limits, anna.pool);
}
END_TEST

Suite *suite_pool_limits(void);

Suite *suite_pool_limits(void)
{
    Suite *suite = suite_create("pool/limits");
    TCase *tests = tcase_create("limits");

    tcase_add_checked_fixture(tests, prepare, clean_up);
    tcase_add_test(tests, a_slot_is_counted_for_its_database_and_its_user);
    tcase_add_test(tests, pools_of_one_user_are_counted_together);
    tcase_add_test(tests, a_name_that_never_asked_counts_nothing);
    tcase_add_test(tests, a_slot_that_was_given_back_is_free);
    tcase_add_test(tests, the_database_has_no_more_than_its_limit);
    tcase_add_test(tests, the_user_has_no_more_than_its_limit);
    tcase_add_test(tests, no_limit_means_no_limit);
    tcase_add_test(tests, a_freed_slot_is_reserved_for_who_waits_for_it);
    tcase_add_test(tests, who_asked_first_is_served_first);
    tcase_add_test(tests, asking_again_keeps_the_place_in_line);
    tcase_add_test(tests, who_does_not_use_a_reservation_wakes_the_next);
    tcase_add_test(tests, one_that_another_limit_blocks_does_not_hold_up_the_others);
    tcase_add_test(tests, the_victim_is_who_has_been_idle_for_longest);
    tcase_add_test(tests, there_is_no_victim_while_all_are_busy);
    tcase_add_test(tests, a_pool_is_not_its_own_victim);
    tcase_add_test(tests, a_member_that_goes_idle_is_called_back_for_who_is_blocked);
    tcase_add_test(tests, no_more_are_called_back_than_are_needed);
    tcase_add_test(tests, nothing_is_called_back_while_nobody_is_blocked);
    tcase_add_test(tests, nothing_is_called_back_for_a_pool_of_other_limits);
    tcase_add_test(tests, a_call_back_is_over_when_the_slot_came);
    tcase_add_test(tests, a_pool_that_is_forgotten_gets_nothing);
    tcase_add_test(tests, a_pool_in_which_somebody_waits_is_not_forgotten);
    tcase_add_test(tests, forgetting_one_that_is_not_blocked_does_nothing);
    tcase_add_test(tests, a_place_in_line_holds_a_reference);
    tcase_add_test(tests, a_raised_limit_is_used_when_asked_again);
    tcase_add_test(tests, a_lowered_limit_takes_nothing_away);
    tcase_add_test(tests, standing_in_line_reserves_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
