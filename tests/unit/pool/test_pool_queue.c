/* Who waits, and who is served: src/pool/pool_queue.c through the doors of pool/pool.h. */
#include <check.h>

#include "support/pool_fakes.h"

/* `pool` has two homes, 1 and 2, of four workers. `single` has one home, 1. Each has a lent member
 * on worker 1, and no room for another. */
#define HOME     1
#define OTHER    2
#define STRANGE  3
#define NOW      1000000
#define LOCALITY 1000

static struct limits *limits;
static struct fake_pool fake, fake_single;
static struct pool *pool, *single;
static struct pool_member member, single_member;
static struct fake_waiter first, second, third;

static struct pool_member *got;
static struct pool_advice advice;
static struct error error;
static struct pool_waiter *granted;
static const char *why;

static void prepare(void)
{
    limits = limits_create();
    fake_pool_init(
        &fake, limits,
        &(struct fake_pool_options){.pool_size = 20, .workers = 4, .locality = LOCALITY});
    fake_pool_init(&fake_single, limits,
                   &(struct fake_pool_options){
                       .user = "bert", .pool_size = 1, .workers = 4, .locality = LOCALITY});
    pool = fake.pool;
    single = fake_single.pool;
    fake_lend(pool, HOME, &member, NOW);
    fake_lend(single, HOME, &single_member, NOW);
    atomic_store(&pool->published_limit, 1);
    fake_waiter_init(&first);
    fake_waiter_init(&second);
    fake_waiter_init(&third);
}

static void clean_up(void)
{
    struct fake_waiter *fakes[] = {&first, &second, &third};

    for (int i = 0; i < 3; i++) {
        if (!pool_waiter_leave(&fakes[i]->waiter))
            pool_waiter_done(&fakes[i]->waiter);
    }
    if (member.pool != NULL)
        fake_end(&member, NOW, POOL_NOTHING);
    if (single_member.pool != NULL)
        fake_end(&single_member, NOW, POOL_NOTHING);
    fake_pool_finish(&fake);
    fake_pool_finish(&fake_single);
    limits_destroy(limits);
}

static void wait_in(struct pool *where, struct fake_waiter *waiter, int worker, usec_t now)
{
    ck_assert_int_eq(pool_acquire(where, worker, &waiter->waiter, now, &got, &advice, &error),
                     POOL_WAIT);
}

static void wait_quietly(struct pool *where, struct fake_waiter *waiter, int worker, usec_t now)
{
    wait_in(where, waiter, worker, now);
    fake_drop(&advice);
}

static enum pool_release_verdict give_back(struct pool_member *which, usec_t now)
{
    return pool_release(which->pool, which->worker, which, now, &granted, &why);
}

/* ---- waiting ---- */

START_TEST(who_waits_is_queued_and_counted)
{
    wait_in(pool, &first, HOME, NOW);
    ck_assert_int_eq(atomic_load(&first.waiter.state), WAITER_QUEUED);
    ck_assert_int_eq(atomic_load(&pool->waiting), 1);
    ck_assert_int_eq(first.waiter.since, NOW);
    ck_assert_int_eq(first.waiter.worker, HOME);
}
END_TEST

START_TEST(in_a_pool_of_several_homes_waiters_are_known_to_all)
{
    wait_in(pool, &first, HOME, NOW);
    ck_assert_int_eq(atomic_load(&pool->remote_waiters), 1);
    ck_assert_int_eq(atomic_load(&pool->oldest_remote), NOW);
}
END_TEST

START_TEST(in_a_full_pool_of_one_home_waiters_stay_local)
{
    wait_in(single, &first, HOME, NOW);
    ck_assert_int_eq(atomic_load(&single->remote_waiters), 0);
    ck_assert_int_eq(single->shards[HOME].waiter_count, 1);
}
END_TEST

/* The mutex is held by this very thread: taking it would hang. */
START_TEST(in_a_full_pool_of_one_home_waiting_and_granting_take_no_lock)
{
    pthread_mutex_lock(&single->mutex);
    wait_in(single, &first, HOME, NOW);
    wait_in(single, &second, HOME, NOW);
    ck_assert(pool_waiter_leave(&second.waiter));
    ck_assert_int_eq(give_back(&single_member, NOW), RELEASE_GRANT);
    pool_waiter_done(granted);
    ck_assert_int_eq(give_back(&single_member, NOW), RELEASE_IDLE);
    ck_assert_int_eq(pool_acquire(single, HOME, &first.waiter, NOW, &got, &advice, &error),
                     POOL_GOT);
    pthread_mutex_unlock(&single->mutex);
}
END_TEST

START_TEST(in_a_full_pool_nothing_is_advised)
{
    wait_in(pool, &first, HOME, NOW);
    ck_assert_int_eq(advice.order, POOL_NOTHING);
}
END_TEST

START_TEST(a_wait_that_begins_anew_has_a_new_time)
{
    wait_in(single, &first, HOME, NOW);
    pool_waiter_leave(&first.waiter);
    wait_in(single, &first, HOME, NOW + 7);
    ck_assert_int_eq(first.waiter.since, NOW + 7);
}
END_TEST

START_TEST(a_time_that_was_set_is_kept)
{
    first.waiter.since = NOW - 7;
    wait_in(single, &first, HOME, NOW);
    ck_assert_int_eq(first.waiter.since, NOW - 7);
}
END_TEST

START_TEST(the_time_can_still_be_read_when_the_wait_is_over)
{
    wait_in(single, &first, HOME, NOW);
    give_back(&single_member, NOW + 9);
    first.waiter.granted(&first.waiter, &single_member);
    ck_assert_int_eq(first.waiter.since, NOW);
}
END_TEST

/* ---- who is served ---- */

START_TEST(the_oldest_waiter_of_the_worker_is_served)
{
    wait_in(single, &first, HOME, NOW);
    wait_in(single, &second, HOME, NOW + 1);
    ck_assert_int_eq(give_back(&single_member, NOW + 2), RELEASE_GRANT);
    ck_assert_ptr_eq(granted, &first.waiter);
}
END_TEST

START_TEST(one_that_kept_its_place_is_served_before_those_behind_it)
{
    wait_in(single, &first, HOME, NOW);
    second.waiter.since = NOW - 1;
    wait_in(single, &second, HOME, NOW);
    give_back(&single_member, NOW + 2);
    ck_assert_ptr_eq(granted, &second.waiter);
}
END_TEST

START_TEST(who_is_granted_is_no_longer_counted)
{
    wait_in(pool, &first, HOME, NOW);
    give_back(&member, NOW);
    ck_assert_int_eq(atomic_load(&pool->waiting), 0);
    ck_assert_int_eq(atomic_load(&pool->remote_waiters), 0);
    ck_assert_int_eq(atomic_load(&pool->oldest_remote), INT64_MAX);
    ck_assert_int_eq(pool->shards[HOME].waiter_count, 0);
}
END_TEST

START_TEST(a_waiter_elsewhere_gets_what_nobody_here_waits_for)
{
    wait_in(pool, &first, OTHER, NOW);
    ck_assert_int_eq(give_back(&member, NOW), RELEASE_MOVE);
    ck_assert_ptr_eq(granted, &first.waiter);
    ck_assert_int_eq(member.state, MEMBER_MOVING);
    ck_assert_int_eq(member.worker, OTHER);
}
END_TEST

START_TEST(a_member_on_its_way_is_not_idle_anywhere)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    ck_assert_int_eq(atomic_load(&pool->shards[HOME].idle_count), 0);
    ck_assert_int_eq(atomic_load(&pool->shards[OTHER].idle_count), 0);
}
END_TEST

START_TEST(who_was_served_from_elsewhere_is_out_of_all_lists_when_done)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    pool_waiter_done(&first.waiter);
    ck_assert_int_eq(pool->shards[OTHER].waiter_count, 0);
    ck_assert(TAILQ_EMPTY(&pool->remote));
    ck_assert_int_eq(atomic_load(&first.waiter.state), WAITER_NONE);
}
END_TEST

START_TEST(a_waiter_here_is_preferred_while_others_have_not_waited_for_long)
{
    wait_in(pool, &first, OTHER, NOW);
    wait_in(pool, &second, HOME, NOW + 1);
    ck_assert_int_eq(give_back(&member, NOW + LOCALITY - 1), RELEASE_GRANT);
    ck_assert_ptr_eq(granted, &second.waiter);
}
END_TEST

START_TEST(a_waiter_elsewhere_is_not_kept_waiting_for_longer_than_locality)
{
    wait_in(pool, &first, OTHER, NOW);
    wait_in(pool, &second, HOME, NOW + 1);
    ck_assert_int_eq(give_back(&member, NOW + LOCALITY), RELEASE_MOVE);
    ck_assert_ptr_eq(granted, &first.waiter);
}
END_TEST

START_TEST(without_locality_the_order_is_strict)
{
    atomic_store(&pool->locality, 0);
    wait_in(pool, &first, OTHER, NOW);
    wait_in(pool, &second, HOME, NOW + 1);
    give_back(&member, NOW + 1);
    ck_assert_ptr_eq(granted, &first.waiter);
}
END_TEST

START_TEST(the_oldest_of_all_is_served_here_however_long_others_waited)
{
    wait_in(pool, &first, HOME, NOW);
    wait_in(pool, &second, OTHER, NOW + 1);
    give_back(&member, NOW + 10 * LOCALITY);
    ck_assert_ptr_eq(granted, &first.waiter);
}
END_TEST

START_TEST(the_oldest_of_several_workers_is_served_first)
{
    wait_in(pool, &first, STRANGE, NOW);
    wait_in(pool, &second, OTHER, NOW + 1);
    give_back(&member, NOW + 2);
    ck_assert_ptr_eq(granted, &first.waiter);
}
END_TEST

START_TEST(a_waiter_that_was_served_from_elsewhere_is_not_served_again_here)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    /* It has not heard of it, and its node is still in the list of its worker. */
    ck_assert_int_eq(pool->shards[OTHER].waiter_count, 1);
    ck_assert_int_eq(pool_release(pool, OTHER, &member, NOW, &granted, &why), RELEASE_IDLE);
    ck_assert_ptr_null(granted);
}
END_TEST

/* ---- leaving ---- */

START_TEST(a_waiter_that_closed_is_never_served)
{
    wait_in(pool, &first, HOME, NOW);
    ck_assert(pool_waiter_leave(&first.waiter));
    ck_assert_int_eq(give_back(&member, NOW), RELEASE_IDLE);
}
END_TEST

START_TEST(a_waiter_that_left_is_counted_nowhere)
{
    wait_in(pool, &first, OTHER, NOW);
    pool_waiter_leave(&first.waiter);
    ck_assert_int_eq(atomic_load(&pool->waiting), 0);
    ck_assert_int_eq(atomic_load(&pool->remote_waiters), 0);
    ck_assert_int_eq(pool->shards[OTHER].waiter_count, 0);
    ck_assert_int_eq(atomic_load(&pool->oldest_remote), INT64_MAX);
}
END_TEST

START_TEST(a_waiter_cannot_leave_when_a_member_is_on_its_way)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    ck_assert(!pool_waiter_leave(&first.waiter));
    ck_assert(waiter_is_waiting(&first.waiter));
}
END_TEST

START_TEST(leaving_without_waiting_is_fine)
{
    ck_assert(pool_waiter_leave(&first.waiter));
}
END_TEST

START_TEST(the_next_is_the_oldest_when_the_oldest_left)
{
    wait_in(pool, &first, OTHER, NOW);
    wait_in(pool, &second, STRANGE, NOW + 5);
    pool_waiter_leave(&first.waiter);
    ck_assert_int_eq(atomic_load(&pool->oldest_remote), NOW + 5);
}
END_TEST

/* ---- a member that died on its way ---- */

START_TEST(its_waiter_is_queued_again)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    pool_grant_failed(pool, &first.waiter, NOW + 5, &advice);
    ck_assert_int_eq(atomic_load(&first.waiter.state), WAITER_QUEUED);
    ck_assert_int_eq(atomic_load(&pool->waiting), 1);
    ck_assert_int_eq(atomic_load(&pool->remote_waiters), 1);
}
END_TEST

START_TEST(its_waiter_stands_at_its_old_place)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    wait_quietly(pool, &second, OTHER, NOW + 3);
    pool_grant_failed(pool, &first.waiter, NOW + 5, &advice);
    ck_assert_int_eq(atomic_load(&pool->oldest_remote), NOW);
    ck_assert_ptr_eq(TAILQ_FIRST(&pool->remote), &first.waiter);
    ck_assert_ptr_eq(TAILQ_FIRST(&pool->shards[OTHER].waiters), &first.waiter);
}
END_TEST

START_TEST(its_place_is_filled_for_the_waiter)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    pool_grant_failed(pool, &first.waiter, NOW + 5, &advice);
    pool_member_closed(pool, &member, NOW + 5, &advice);
    ck_assert_int_eq(advice.order, POOL_OPEN);
    ck_assert_int_eq(advice.worker, OTHER);
    fake_open(&member, &advice, NOW);
}
END_TEST

START_TEST(the_place_is_filled_when_its_end_was_told_first)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    fake_end(&member, NOW + 5, POOL_NOTHING);
    pool_grant_failed(pool, &first.waiter, NOW + 5, &advice);
    ck_assert_int_eq(advice.order, POOL_OPEN);
    fake_open(&member, &advice, NOW);
}
END_TEST

START_TEST(in_a_draining_pool_its_waiter_is_refused)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    atomic_store(&pool->is_draining, true);
    pool_grant_failed(pool, &first.waiter, NOW + 5, &advice);
    ck_assert_int_eq(first.refusals, 1);
    ck_assert_str_eq(first.why.sqlstate, "57P01");
    ck_assert_int_eq(atomic_load(&pool->waiting), 0);
}
END_TEST

/* ---- refusing ---- */

static void refuse(struct pool *where, int worker)
{
    error_set(&error, "3D000", "no such database");
    pool_refuse_waiters(where, worker, &error);
}

START_TEST(all_waiters_of_the_worker_are_refused)
{
    wait_in(pool, &first, HOME, NOW);
    wait_in(pool, &second, HOME, NOW);
    refuse(pool, HOME);
    ck_assert_int_eq(first.refusals, 1);
    ck_assert_int_eq(second.refusals, 1);
    ck_assert_str_eq(second.why.message, "no such database");
}
END_TEST

START_TEST(waiters_of_other_workers_wait_on)
{
    wait_in(pool, &first, OTHER, NOW);
    refuse(pool, HOME);
    ck_assert_int_eq(first.refusals, 0);
    ck_assert(waiter_is_queued(&first.waiter));
}
END_TEST

START_TEST(who_was_refused_is_counted_nowhere)
{
    wait_in(pool, &first, HOME, NOW);
    wait_in(single, &second, HOME, NOW);
    refuse(pool, HOME);
    refuse(single, HOME);
    ck_assert_int_eq(atomic_load(&pool->waiting), 0);
    ck_assert_int_eq(atomic_load(&pool->remote_waiters), 0);
    ck_assert_int_eq(atomic_load(&single->waiting), 0);
    ck_assert_int_eq(atomic_load(&single->shards[HOME].local_only), 0);
}
END_TEST

START_TEST(who_has_a_member_on_its_way_is_not_refused)
{
    wait_in(pool, &first, OTHER, NOW);
    give_back(&member, NOW);
    refuse(pool, OTHER);
    ck_assert_int_eq(first.refusals, 0);
    ck_assert_int_eq(atomic_load(&first.waiter.state), WAITER_GRANTED);
}
END_TEST

static void ask_again(struct pool_waiter *waiter, const struct error *reason)
{
    (void)reason;
    pool_waiter_done(waiter);
    first.refusals++;
    wait_in(single, &first, HOME, NOW);
}

START_TEST(who_asks_again_at_once_is_not_refused_again)
{
    first.waiter.refused = ask_again;
    wait_in(single, &first, HOME, NOW);
    refuse(single, HOME);
    ck_assert_int_eq(first.refusals, 1);
    ck_assert(waiter_is_queued(&first.waiter));
}
END_TEST

static void take_second_along(struct pool_waiter *waiter, const struct error *reason)
{
    (void)reason;
    pool_waiter_done(waiter);
    ck_assert(pool_waiter_leave(&second.waiter));
}

START_TEST(who_leaves_while_another_is_refused_is_not_refused)
{
    first.waiter.refused = take_second_along;
    wait_in(single, &first, HOME, NOW);
    wait_in(single, &second, HOME, NOW);
    refuse(single, HOME);
    ck_assert_int_eq(second.refusals, 0);
    ck_assert_int_eq(atomic_load(&second.waiter.state), WAITER_NONE);
}
END_TEST

/* ---- strangers: waiters on a worker that is not a home ---- */

START_TEST(a_stranger_is_served_from_the_home)
{
    wait_quietly(single, &first, STRANGE, NOW);
    ck_assert_int_eq(give_back(&single_member, NOW), RELEASE_MOVE);
    ck_assert_ptr_eq(granted, &first.waiter);
}
END_TEST

START_TEST(a_strangers_worker_counts_as_a_home_from_then_on)
{
    wait_quietly(single, &first, STRANGE, NOW);
    ck_assert_uint_eq(atomic_load(&single->homes), UINT64_C(1) << HOME | UINT64_C(1) << STRANGE);
}
END_TEST

START_TEST(a_stranger_has_those_registered_who_waited_alone)
{
    wait_in(single, &first, HOME, NOW);
    wait_in(single, &second, STRANGE, NOW + 1);
    ck_assert_int_eq(advice.order, POOL_ASK);
    ck_assert_int_eq(advice.worker, HOME);
    fake_drop(&advice);
    ck_assert_ptr_null(pool_give(single, HOME));
    ck_assert_int_eq(atomic_load(&single->remote_waiters), 2);
    ck_assert_int_eq(atomic_load(&single->oldest_remote), NOW);
}
END_TEST

START_TEST(one_who_waited_alone_is_then_served_from_elsewhere)
{
    wait_in(single, &first, HOME, NOW);
    wait_quietly(single, &second, STRANGE, NOW + 1);
    (void)pool_give(single, HOME);
    pool_waiter_leave(&second.waiter);
    ck_assert_int_eq(pool_release(single, STRANGE, &single_member, NOW, &granted, &why),
                     RELEASE_MOVE);
    ck_assert_ptr_eq(granted, &first.waiter);
}
END_TEST

START_TEST(a_release_at_home_registers_its_waiters_too)
{
    wait_in(single, &first, HOME, NOW + 1);
    second.waiter.since = NOW - 2 * LOCALITY;
    wait_quietly(single, &second, STRANGE, NOW + 1);
    ck_assert_int_eq(give_back(&single_member, NOW), RELEASE_MOVE);
    ck_assert_ptr_eq(granted, &second.waiter);
    ck_assert_int_eq(atomic_load(&single->remote_waiters), 1);
}
END_TEST

START_TEST(after_a_stranger_all_waiters_are_registered)
{
    wait_quietly(single, &first, STRANGE, NOW);
    pool_waiter_leave(&first.waiter);
    wait_in(single, &second, HOME, NOW);
    ck_assert_int_eq(atomic_load(&single->remote_waiters), 1);
}
END_TEST

START_TEST(a_member_that_became_idle_with_a_stranger_is_asked_for_from_home)
{
    wait_quietly(single, &first, STRANGE, NOW);
    give_back(&single_member, NOW);
    pool_waiter_done(&first.waiter);
    ck_assert_int_eq(give_back(&single_member, NOW), RELEASE_IDLE);
    wait_in(single, &second, HOME, NOW);
    ck_assert_int_eq(advice.order, POOL_ASK);
    ck_assert_int_eq(advice.worker, STRANGE);
    fake_drop(&advice);
}
END_TEST

static void add_strangers(TCase *tests)
{
    tcase_add_test(tests, a_stranger_is_served_from_the_home);
    tcase_add_test(tests, a_strangers_worker_counts_as_a_home_from_then_on);
    tcase_add_test(tests, a_stranger_has_those_registered_who_waited_alone);
    tcase_add_test(tests, one_who_waited_alone_is_then_served_from_elsewhere);
    tcase_add_test(tests, a_release_at_home_registers_its_waiters_too);
    tcase_add_test(tests, after_a_stranger_all_waiters_are_registered);
    tcase_add_test(tests, a_member_that_became_idle_with_a_stranger_is_asked_for_from_home);
}

static void add_endings(TCase *tests)
{
    tcase_add_test(tests, a_waiter_that_closed_is_never_served);
    tcase_add_test(tests, a_waiter_that_left_is_counted_nowhere);
    tcase_add_test(tests, a_waiter_cannot_leave_when_a_member_is_on_its_way);
    tcase_add_test(tests, leaving_without_waiting_is_fine);
    tcase_add_test(tests, the_next_is_the_oldest_when_the_oldest_left);
    tcase_add_test(tests, its_waiter_is_queued_again);
    tcase_add_test(tests, its_waiter_stands_at_its_old_place);
    tcase_add_test(tests, its_place_is_filled_for_the_waiter);
    tcase_add_test(tests, the_place_is_filled_when_its_end_was_told_first);
    tcase_add_test(tests, in_a_draining_pool_its_waiter_is_refused);
    tcase_add_test(tests, all_waiters_of_the_worker_are_refused);
    tcase_add_test(tests, waiters_of_other_workers_wait_on);
    tcase_add_test(tests, who_was_refused_is_counted_nowhere);
    tcase_add_test(tests, who_has_a_member_on_its_way_is_not_refused);
    tcase_add_test(tests, who_asks_again_at_once_is_not_refused_again);
    tcase_add_test(tests, who_leaves_while_another_is_refused_is_not_refused);
}

Suite *suite_pool_pool_queue(void);

Suite *suite_pool_pool_queue(void)
{
    Suite *suite = suite_create("pool/pool_queue");
    TCase *tests = tcase_create("waiting");

    tcase_add_checked_fixture(tests, prepare, clean_up);
    tcase_add_test(tests, who_waits_is_queued_and_counted);
    tcase_add_test(tests, in_a_pool_of_several_homes_waiters_are_known_to_all);
    tcase_add_test(tests, in_a_full_pool_of_one_home_waiters_stay_local);
    tcase_add_test(tests, in_a_full_pool_of_one_home_waiting_and_granting_take_no_lock);
    tcase_add_test(tests, in_a_full_pool_nothing_is_advised);
    tcase_add_test(tests, a_wait_that_begins_anew_has_a_new_time);
    tcase_add_test(tests, a_time_that_was_set_is_kept);
    tcase_add_test(tests, the_time_can_still_be_read_when_the_wait_is_over);
    tcase_add_test(tests, the_oldest_waiter_of_the_worker_is_served);
    tcase_add_test(tests, one_that_kept_its_place_is_served_before_those_behind_it);
    tcase_add_test(tests, who_is_granted_is_no_longer_counted);
    tcase_add_test(tests, a_waiter_elsewhere_gets_what_nobody_here_waits_for);
    tcase_add_test(tests, a_member_on_its_way_is_not_idle_anywhere);
    tcase_add_test(tests, who_was_served_from_elsewhere_is_out_of_all_lists_when_done);
    tcase_add_test(tests, a_waiter_here_is_preferred_while_others_have_not_waited_for_long);
    tcase_add_test(tests, a_waiter_elsewhere_is_not_kept_waiting_for_longer_than_locality);
    tcase_add_test(tests, without_locality_the_order_is_strict);
    tcase_add_test(tests, the_oldest_of_all_is_served_here_however_long_others_waited);
    tcase_add_test(tests, the_oldest_of_several_workers_is_served_first);
    tcase_add_test(tests, a_waiter_that_was_served_from_elsewhere_is_not_served_again_here);
    add_endings(tests);
    add_strangers(tests);
    suite_add_tcase(suite, tests);
    return suite;
}
