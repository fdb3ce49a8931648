/* Connections for one client alone: src/pool/pool_wish.c, and what growth makes of wishes. */
#include "growth_fixture.h"

static struct pool_wish wish, later;

static void wish_for(struct fake_pool *fake, struct pool_wish *one)
{
    pool_wish_make(fake->pool, one, 0, NOW, NOW, &advice);
}

/* The promised place is used. */
static void open_for(struct pool_wish *one, struct pool_member *member)
{
    ck_assert_int_eq(advice.order, POOL_DEDICATE);
    ck_assert_int_eq(advice.worker, one->worker);
    struct pool *pool = advice.pool;
    ck_assert_ptr_eq(pool_wish_take(pool, one->worker), one);
    pool_dedicated_init(pool, member, one->worker, NOW);
    fake_drop(&advice);
}

static void prepare_small(void)
{
    prepare_with(2, 0);
}

static void prepare_one_for_all(void)
{
    prepare_with(2, 1);
}

START_TEST(a_wish_gets_a_place_of_its_own)
{
    wish_for(&anna, &wish);
    open_for(&wish, &members[0]);
    ck_assert_int_eq(anna.pool->size, 1);
    ck_assert_int_eq(anna.pool->dedicated, 1);
    ck_assert_int_eq(members[0].state, MEMBER_LENT);
    end(&members[0]);
    ck_assert_int_eq(anna.pool->size, 0);
    ck_assert_int_eq(anna.pool->dedicated, 0);
}
END_TEST

START_TEST(an_idle_member_is_no_answer_to_a_wish)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_rest(&members[0], NOW);
    wish_for(&anna, &wish);
    open_for(&wish, &members[1]);
}
END_TEST

START_TEST(in_a_full_pool_one_idle_member_is_closed_for_a_wish)
{
    for (int i = 0; i < 2; i++)
        fake_lend(anna.pool, 0, &members[i], NOW);
    for (int i = 0; i < 2; i++)
        fake_rest(&members[i], NOW);
    wish_for(&anna, &wish);
    claim_advice(POOL_EVICT, &anna);
    ck_assert_ptr_eq(pool_take_idle(anna.pool, 0), &members[0]);
    reconsider_at(&anna, NOW);
    claim_advice(POOL_NOTHING, NULL);
    pool_member_closed(anna.pool, &members[0], NOW, &advice);
    open_for(&wish, &members[2]);
    ck_assert_int_eq(anna.pool->size, 2);
}
END_TEST

START_TEST(in_a_busy_pool_the_next_member_that_is_free_is_closed_for_a_wish)
{
    struct pool_waiter *granted;
    const char *why;

    for (int i = 0; i < 2; i++)
        fake_lend(anna.pool, 0, &members[i], NOW);
    wish_for(&anna, &wish);
    claim_advice(POOL_NOTHING, NULL);
    ask(&anna, 3);
    claim_advice(POOL_NOTHING, NULL);
    ck_assert_int_eq(pool_release(anna.pool, 0, &members[0], NOW, &granted, &why), RELEASE_CLOSE);
    pool_member_closed(anna.pool, &members[0], NOW, &advice);
    open_for(&wish, &members[2]);
    ck_assert_int_eq(pool_release(anna.pool, 0, &members[1], NOW, &granted, &why), RELEASE_GRANT);
    ck_assert_ptr_eq(granted, &fakes[3].waiter);
}
END_TEST

START_TEST(wishes_have_places_in_the_order_of_asking)
{
    pool_wish_make(anna.pool, &later, 0, NOW + 1, NOW + 1, &advice);
    ck_assert_ptr_eq(pool_wish_take(anna.pool, 0), &later);
    fake_drop(&advice);
    fake_lend(anna.pool, 0, &members[0], NOW);
    pool_wish_make(anna.pool, &later, 0, NOW + 1, NOW + 1, &advice);
    claim_advice(POOL_NOTHING, NULL);
    wish_for(&anna, &wish);
    claim_advice(POOL_NOTHING, NULL);
    pool_dedicated_abandoned(anna.pool, &advice);
    fake_drop(&advice);
    reconsider_at(&anna, NOW);
    open_for(&wish, &members[1]);
    struct pool_advice left;
    pool_wish_leave(&later, NOW, &left);
    fake_drop(&left);
}
END_TEST

START_TEST(a_wish_that_has_left_gives_its_place_back)
{
    wish_for(&anna, &wish);
    ck_assert_int_eq(advice.order, POOL_DEDICATE);
    struct pool_advice left;
    pool_wish_leave(&wish, NOW, &left);
    ck_assert_int_eq(left.order, POOL_NOTHING);
    ck_assert_ptr_null(pool_wish_take(anna.pool, 0));
    pool_dedicated_abandoned(anna.pool, &left);
    ck_assert_int_eq(left.order, POOL_NOTHING);
    fake_drop(&advice);
    ck_assert_int_eq(anna.pool->size, 0);
    ck_assert_int_eq(atomic_load(&anna.pool->published_size), 0);
}
END_TEST

START_TEST(a_paused_pool_opens_nothing_for_a_wish)
{
    atomic_store(&anna.pool->is_paused, true);
    wish_for(&anna, &wish);
    claim_advice(POOL_NOTHING, NULL);
    atomic_store(&anna.pool->is_paused, false);
    reconsider_at(&anna, NOW);
    open_for(&wish, &members[0]);
}
END_TEST

START_TEST(under_a_full_limit_an_idle_member_of_its_own_pool_is_closed_for_a_wish)
{
    fake_lend(anna.pool, 0, &members[0], NOW);
    fake_rest(&members[0], NOW);
    wish_for(&anna, &wish);
    claim_advice(POOL_EVICT, &anna);
    ck_assert_ptr_eq(pool_take_idle(anna.pool, 0), &members[0]);
    pool_member_closed(anna.pool, &members[0], NOW, &advice);
    open_for(&wish, &members[1]);
}
END_TEST

START_TEST(under_a_full_limit_a_wish_waits_in_line)
{
    fake_lend(bert.pool, 0, &members[0], NOW);
    wish_for(&anna, &wish);
    claim_advice(POOL_NOTHING, NULL);
    pool_member_closed(bert.pool, &members[0], NOW, &advice);
    ck_assert_ptr_eq(advice.pool, anna.pool);
    open_for(&wish, &members[1]);
}
END_TEST

START_TEST(a_wish_that_leaves_stands_in_line_no_longer)
{
    fake_lend(bert.pool, 0, &members[0], NOW);
    wish_for(&anna, &wish);
    claim_advice(POOL_NOTHING, NULL);
    ck_assert(atomic_load(&anna.pool->is_blocked));
    pool_wish_leave(&wish, NOW, &advice);
    claim_advice(POOL_NOTHING, NULL);
    ck_assert(!atomic_load(&anna.pool->is_blocked));
}
END_TEST

Suite *suite_pool_pool_wish(void);

Suite *suite_pool_pool_wish(void)
{
    Suite *suite = suite_create("pool/pool_wish");
    TCase *tests = tcase_create("wishes"), *limited = tcase_create("under a limit");

    tcase_add_checked_fixture(tests, prepare_small, clean_up);
    tcase_add_test(tests, a_wish_gets_a_place_of_its_own);
    tcase_add_test(tests, an_idle_member_is_no_answer_to_a_wish);
    tcase_add_test(tests, in_a_full_pool_one_idle_member_is_closed_for_a_wish);
    tcase_add_test(tests, in_a_busy_pool_the_next_member_that_is_free_is_closed_for_a_wish);
    tcase_add_test(tests, wishes_have_places_in_the_order_of_asking);
    tcase_add_test(tests, a_wish_that_has_left_gives_its_place_back);
    tcase_add_test(tests, a_paused_pool_opens_nothing_for_a_wish);
    tcase_add_checked_fixture(limited, prepare_one_for_all, clean_up);
    tcase_add_test(limited, under_a_full_limit_an_idle_member_of_its_own_pool_is_closed_for_a_wish);
    tcase_add_test(limited, under_a_full_limit_a_wish_waits_in_line);
    tcase_add_test(limited, a_wish_that_leaves_stands_in_line_no_longer);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, limited);
    return suite;
}
