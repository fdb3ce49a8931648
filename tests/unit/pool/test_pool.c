#include <check.h>

#include "pool/pool.h"
#include "support/pool_fakes.h"

/* One pool on four workers; worker 1 is its only home. */
#define HOME 1
#define NOW  1000000

static struct limits *limits;
static struct fake_pool fake;
static struct pool *pool;
static struct pool_member members[4];
static struct fake_waiter fakes[4];

static struct pool_member *got;
static struct pool_advice advice;
static struct error error;
static struct pool_waiter *granted;
static const char *why;

static void prepare_with(const struct fake_pool_options *options)
{
    limits = limits_create();
    fake_pool_init(&fake, limits, options);
    pool = fake.pool;
    for (int i = 0; i < 4; i++)
        fake_waiter_init(&fakes[i]);
}

static void prepare(void)
{
    prepare_with(&(struct fake_pool_options){.pool_size = 3, .workers = 4});
}

static void clean_up(void)
{
    for (int i = 0; i < 4; i++) {
        (void)pool_waiter_leave(&fakes[i].waiter);
        if (members[i].pool != NULL)
            fake_end(&members[i], NOW, POOL_NOTHING);
    }
    fake_pool_finish(&fake);
    limits_destroy(limits);
}

static enum pool_verdict ask(int waiter, int worker)
{
    return pool_acquire(pool, worker, &fakes[waiter].waiter, NOW, &got, &advice, &error);
}

static enum pool_release_verdict give_back(int member)
{
    return pool_release(pool, members[member].worker, &members[member], NOW, &granted, &why);
}

/* ---- the hit path ---- */

START_TEST(an_idle_member_is_had_at_once)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    ck_assert_int_eq(ask(0, HOME), POOL_GOT);
    ck_assert_ptr_eq(got, &members[0]);
    ck_assert_int_eq(advice.order, POOL_NOTHING);
}
END_TEST

START_TEST(who_got_one_does_not_wait)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    ask(0, HOME);
    ck_assert(!waiter_is_waiting(&fakes[0].waiter));
    ck_assert_int_eq(atomic_load(&pool->waiting), 0);
}
END_TEST

START_TEST(the_member_used_last_is_had_first)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_lend(pool, HOME, &members[1], NOW);
    fake_rest(&members[0], NOW);
    fake_rest(&members[1], NOW);
    ask(0, HOME);
    ck_assert_ptr_eq(got, &members[1]);
}
END_TEST

START_TEST(with_round_robin_the_member_idle_for_longest_is_had_first)
{
    clean_up();
    prepare_with(&(struct fake_pool_options){.pool_size = 3, .workers = 4, .round_robin = true});
    fake_lend(pool, HOME, &members[0], NOW);
    fake_lend(pool, HOME, &members[1], NOW);
    fake_rest(&members[0], NOW);
    fake_rest(&members[1], NOW);
    ask(0, HOME);
    ck_assert_ptr_eq(got, &members[0]);
}
END_TEST

START_TEST(the_idle_count_is_published)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    ck_assert_int_eq(atomic_load(&pool->shards[HOME].idle_count), 1);
    ask(0, HOME);
    ck_assert_int_eq(atomic_load(&pool->shards[HOME].idle_count), 0);
}
END_TEST

START_TEST(the_age_of_the_oldest_idle_member_is_published)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_lend(pool, HOME, &members[1], NOW);
    fake_rest(&members[0], NOW + 5);
    fake_rest(&members[1], NOW + 6);
    ck_assert_int_eq(atomic_load(&pool->shards[HOME].oldest_idle), NOW + 5);
    pool_unlist(pool, &members[0]);
    ck_assert_int_eq(atomic_load(&pool->shards[HOME].oldest_idle), NOW + 6);
    pool_unlist(pool, &members[1]);
    ck_assert_int_eq(atomic_load(&pool->shards[HOME].oldest_idle), 0);
}
END_TEST

/* ---- taking idle members away ---- */

START_TEST(the_longest_idle_member_is_taken_for_closing)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_lend(pool, HOME, &members[1], NOW);
    fake_rest(&members[0], NOW);
    fake_rest(&members[1], NOW);
    ck_assert_ptr_eq(pool_take_idle(pool, HOME), &members[0]);
    ck_assert_int_eq(members[0].state, MEMBER_LENT);
}
END_TEST

START_TEST(there_is_nothing_to_take_on_a_worker_without_idle_members)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    ck_assert_ptr_null(pool_take_idle(pool, 0));
}
END_TEST

START_TEST(a_member_that_is_taken_off_the_list_is_not_had)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    pool_unlist(pool, &members[0]);
    ck_assert_int_eq(ask(0, HOME), POOL_WAIT);
    fake_drop(&advice);
    pool_open_abandoned(pool, &advice);
}
END_TEST

START_TEST(taking_off_the_list_twice_is_fine)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    pool_unlist(pool, &members[0]);
    pool_unlist(pool, &members[0]);
    ck_assert_int_eq(atomic_load(&pool->shards[HOME].idle_count), 0);
}
END_TEST

START_TEST(a_member_that_ends_while_idle_is_off_the_list)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    fake_end(&members[0], NOW, POOL_NOTHING);
    ck_assert_int_eq(atomic_load(&pool->shards[HOME].idle_count), 0);
    ck_assert_int_eq(pool->size, 0);
}
END_TEST

START_TEST(nothing_is_given_when_nobody_waits)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    ck_assert_ptr_null(pool_give(pool, HOME));
    ck_assert_int_eq(members[0].state, MEMBER_IDLE);
}
END_TEST

START_TEST(an_idle_member_is_given_to_who_waits_elsewhere)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    ask(0, 2);
    ck_assert_int_eq(advice.order, POOL_ASK);
    ck_assert_int_eq(advice.worker, HOME);
    fake_drop(&advice);
    ck_assert_ptr_eq(pool_give(pool, HOME), &members[0]);
    ck_assert_int_eq(give_back(0), RELEASE_MOVE);
    ck_assert_ptr_eq(granted, &fakes[0].waiter);
    pool_waiter_done(granted);
}
END_TEST

/* ---- members that must close ---- */

START_TEST(a_member_of_an_old_epoch_is_closed_at_release)
{
    fake_lend(pool, HOME, &members[0], NOW);
    pool_raise_epoch(pool);
    ck_assert_int_eq(give_back(0), RELEASE_CLOSE);
    ck_assert_str_eq(why, "close_needed");
}
END_TEST

START_TEST(an_idle_member_of_an_old_epoch_is_not_had)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    pool_raise_epoch(pool);
    ck_assert_int_eq(ask(0, HOME), POOL_WAIT);
    fake_drop(&advice);
}
END_TEST

START_TEST(with_round_robin_a_member_of_an_old_epoch_is_passed_over)
{
    clean_up();
    prepare_with(&(struct fake_pool_options){.pool_size = 3, .workers = 4, .round_robin = true});
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    pool_raise_epoch(pool);
    pool_unlist(pool, &members[0]);
    fake_lend(pool, HOME, &members[1], NOW);
    fake_rest(&members[1], NOW);
    TAILQ_REMOVE(&pool->shards[HOME].idle, &members[1], idle_link);
    TAILQ_INSERT_TAIL(&pool->shards[HOME].idle, &members[0], idle_link);
    TAILQ_INSERT_HEAD(&pool->shards[HOME].idle, &members[1], idle_link);
    members[0].state = MEMBER_IDLE;
    atomic_store(&pool->shards[HOME].idle_count, 2);
    ck_assert_int_eq(ask(0, HOME), POOL_GOT);
    ck_assert_ptr_eq(got, &members[1]);
}
END_TEST

/* Else a full pool of old members would keep everybody waiting until upkeep comes by. */
START_TEST(who_finds_only_members_of_an_old_epoch_has_one_of_them_closed)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    pool_raise_epoch(pool);
    ask(0, HOME);
    ck_assert_int_eq(advice.order, POOL_ASK);
    ck_assert_int_eq(advice.worker, HOME);
    fake_drop(&advice);
    ck_assert_ptr_eq(pool_give(pool, HOME), &members[0]);
    ck_assert_int_eq(give_back(0), RELEASE_CLOSE);
    pool_member_closed(pool, &members[0], NOW, &advice);
    ck_assert_int_eq(advice.order, POOL_OPEN);
    fake_open(&members[0], &advice, NOW);
}
END_TEST

START_TEST(that_holds_in_a_full_pool_too)
{
    for (int i = 0; i < 3; i++)
        fake_lend(pool, HOME, &members[i], NOW);
    for (int i = 0; i < 3; i++)
        fake_rest(&members[i], NOW);
    pool_raise_epoch(pool);
    ask(0, HOME);
    ck_assert_int_eq(advice.order, POOL_ASK);
    fake_drop(&advice);
}
END_TEST

START_TEST(a_member_is_current_until_the_epoch_is_raised)
{
    fake_lend(pool, HOME, &members[0], NOW);
    ck_assert(pool_member_is_current(&members[0]));
    pool_raise_epoch(pool);
    ck_assert(!pool_member_is_current(&members[0]));
}
END_TEST

START_TEST(a_paused_pool_closes_what_is_released)
{
    fake_lend(pool, HOME, &members[0], NOW);
    atomic_store(&pool->is_paused, true);
    ck_assert_int_eq(give_back(0), RELEASE_CLOSE);
    ck_assert_str_eq(why, "pause mode");
}
END_TEST

START_TEST(a_paused_pool_lets_wait_though_a_member_is_idle)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    atomic_store(&pool->is_paused, true);
    ck_assert_int_eq(ask(0, HOME), POOL_WAIT);
    ck_assert_int_eq(advice.order, POOL_NOTHING);
}
END_TEST

START_TEST(after_a_resume_the_idle_member_is_asked_for)
{
    fake_lend(pool, HOME, &members[0], NOW);
    fake_rest(&members[0], NOW);
    atomic_store(&pool->is_paused, true);
    ask(0, HOME);
    atomic_store(&pool->is_paused, false);
    pool_reconsider(pool, NOW, &advice);
    ck_assert_int_eq(advice.order, POOL_ASK);
    ck_assert_int_eq(advice.worker, HOME);
    fake_drop(&advice);
}
END_TEST

START_TEST(a_draining_pool_refuses)
{
    atomic_store(&pool->is_draining, true);
    ck_assert_int_eq(ask(0, HOME), POOL_REFUSED);
    ck_assert_str_eq(error.sqlstate, "57P01");
    ck_assert_str_eq(error.message, "server shutting down");
}
END_TEST

START_TEST(a_draining_pool_closes_what_is_released)
{
    fake_lend(pool, HOME, &members[0], NOW);
    atomic_store(&pool->is_draining, true);
    ck_assert_int_eq(give_back(0), RELEASE_CLOSE);
    ck_assert_str_eq(why, "server shutting down");
}
END_TEST

START_TEST(a_pool_that_was_made_smaller_closes_what_is_too_much)
{
    for (int i = 0; i < 3; i++)
        fake_lend(pool, HOME, &members[i], NOW);
    fake_pool_resize(&fake, 2);
    ck_assert_int_eq(give_back(0), RELEASE_CLOSE);
    ck_assert_str_eq(why, "too many servers in the pool");
}
END_TEST

START_TEST(a_pool_that_was_made_smaller_closes_no_more_than_is_too_much)
{
    for (int i = 0; i < 3; i++)
        fake_lend(pool, HOME, &members[i], NOW);
    fake_pool_resize(&fake, 2);
    ck_assert_int_eq(give_back(0), RELEASE_CLOSE);
    ck_assert_int_eq(give_back(1), RELEASE_IDLE);
    ck_assert_int_eq(give_back(2), RELEASE_IDLE);
}
END_TEST

START_TEST(an_unlimited_pool_has_never_too_many)
{
    fake_pool_resize(&fake, 0);
    for (int i = 0; i < 4; i++)
        fake_lend(pool, HOME, &members[i], NOW);
    ck_assert_int_eq(give_back(0), RELEASE_IDLE);
}
END_TEST

/* ---- homes ---- */

START_TEST(a_small_pool_has_one_home)
{
    ck_assert_uint_eq(atomic_load(&pool->homes), UINT64_C(1) << HOME);
}
END_TEST

START_TEST(a_pool_has_a_home_for_ten_servers)
{
    fake_pool_resize(&fake, 20);
    ck_assert_int_eq(__builtin_popcountll(atomic_load(&pool->placement)), 2);
}
END_TEST

START_TEST(there_are_no_more_homes_than_workers)
{
    fake_pool_resize(&fake, 1000);
    ck_assert_uint_eq(atomic_load(&pool->placement), 15);
}
END_TEST

START_TEST(an_unlimited_pool_is_at_home_everywhere)
{
    fake_pool_resize(&fake, 0);
    ck_assert_uint_eq(atomic_load(&pool->placement), 15);
}
END_TEST

START_TEST(pools_spread_over_the_workers)
{
    struct fake_pool other;

    fake_pool_init(&other, limits,
                   &(struct fake_pool_options){.pool_size = 3, .workers = 4, .number = 1});
    ck_assert_uint_eq(atomic_load(&other.pool->homes), UINT64_C(1) << 2);
    fake_pool_finish(&other);
}
END_TEST

START_TEST(a_growing_pool_keeps_its_homes)
{
    fake_pool_resize(&fake, 20);
    ck_assert_uint_ne(atomic_load(&pool->placement) & UINT64_C(1) << HOME, 0);
}
END_TEST

/* Members and waiters may be there still. */
START_TEST(a_shrinking_pool_still_counts_its_old_homes)
{
    fake_pool_resize(&fake, 20);
    fake_pool_resize(&fake, 3);
    ck_assert_uint_eq(atomic_load(&pool->placement), UINT64_C(1) << HOME);
    ck_assert_int_eq(__builtin_popcountll(atomic_load(&pool->homes)), 2);
}
END_TEST

START_TEST(a_client_is_put_where_the_fewest_live)
{
    fake_pool_resize(&fake, 20);
    pool_client_arrived(pool, 1);
    ck_assert_int_eq(pool_choose_home(pool), 2);
    pool_client_arrived(pool, 2);
    pool_client_arrived(pool, 2);
    ck_assert_int_eq(pool_choose_home(pool), 1);
    pool_client_left(pool, 2);
    pool_client_left(pool, 2);
    ck_assert_int_eq(pool_choose_home(pool), 2);
}
END_TEST

START_TEST(no_client_is_put_where_only_a_stranger_waited)
{
    ask(0, 3);
    fake_drop(&advice);
    ck_assert_int_eq(pool_choose_home(pool), HOME);
    pool_open_abandoned(pool, &advice);
}
END_TEST

/* ---- welcome ---- */

START_TEST(there_is_no_welcome_before_the_first_login)
{
    ck_assert_ptr_null(pool_welcome_acquire(pool));
}
END_TEST

static void log_in_with(int member, struct pool_welcome *welcome)
{
    ask(member, HOME);
    fake_open(&members[member], &advice, NOW);
    pool_member_opened(pool, &members[member], welcome, &advice);
    fake_drop(&advice);
    give_back(member);
    pool_waiter_done(&fakes[member].waiter);
}

START_TEST(the_first_servers_welcome_is_kept)
{
    struct pool_welcome *first = pool_welcome_create("a\0b", 4), *welcome;

    log_in_with(0, first);
    log_in_with(1, pool_welcome_create("c\0d", 4));
    welcome = pool_welcome_acquire(pool);
    ck_assert_ptr_eq(welcome, first);
    ck_assert_uint_eq(welcome->size, 4);
    pool_welcome_release(welcome);
}
END_TEST

START_TEST(a_new_epoch_forgets_the_welcome)
{
    log_in_with(0, pool_welcome_create("a\0b", 4));
    pool_raise_epoch(pool);
    ck_assert_ptr_null(pool_welcome_acquire(pool));
}
END_TEST

START_TEST(a_welcome_of_an_old_epoch_is_not_kept)
{
    ask(0, HOME);
    fake_open(&members[0], &advice, NOW);
    pool_raise_epoch(pool);
    pool_member_opened(pool, &members[0], pool_welcome_create("a\0b", 4), &advice);
    fake_drop(&advice);
    ck_assert_ptr_null(pool_welcome_acquire(pool));
}
END_TEST

START_TEST(a_welcome_outlives_its_epoch_while_somebody_has_it)
{
    struct pool_welcome *welcome;

    log_in_with(0, pool_welcome_create("a\0b", 4));
    welcome = pool_welcome_acquire(pool);
    pool_raise_epoch(pool);
    ck_assert_mem_eq(welcome->data, "a\0b", 4);
    pool_welcome_release(welcome);
}
END_TEST

/* ---- configuration ---- */

START_TEST(other_connection_settings_raise_the_epoch)
{
    struct database_entry *entry = &fake.database;
    struct database_entry other = *entry;

    other.connection_fingerprint = 7;
    atomic_store(&other.references, 2);
    pool_configure(pool, &fake.config, &other, NULL);
    ck_assert_uint_eq(atomic_load(&pool->epoch), 2);
    pool_configure(pool, &fake.config, database_acquire(entry), NULL);
}
END_TEST

START_TEST(the_same_connection_settings_keep_the_epoch)
{
    fake_pool_resize(&fake, 7);
    ck_assert_uint_eq(atomic_load(&pool->epoch), 1);
}
END_TEST

START_TEST(the_settings_can_be_read)
{
    struct effective effective;
    struct database_entry *database = pool_database_acquire(pool);

    pool_effective(pool, &effective);
    ck_assert_int_eq(effective.pool_size, 3);
    ck_assert_ptr_eq(database, &fake.database);
    ck_assert_ptr_null(pool_user_acquire(pool));
    database_release(database);
}
END_TEST

Suite *suite_pool_pool(void);

Suite *suite_pool_pool(void)
{
    Suite *suite = suite_create("pool/pool");
    TCase *tests = tcase_create("pool");

    tcase_add_checked_fixture(tests, prepare, clean_up);
    tcase_add_test(tests, an_idle_member_is_had_at_once);
    tcase_add_test(tests, who_got_one_does_not_wait);
    tcase_add_test(tests, the_member_used_last_is_had_first);
    tcase_add_test(tests, with_round_robin_the_member_idle_for_longest_is_had_first);
    tcase_add_test(tests, the_idle_count_is_published);
    tcase_add_test(tests, the_age_of_the_oldest_idle_member_is_published);
    tcase_add_test(tests, the_longest_idle_member_is_taken_for_closing);
    tcase_add_test(tests, there_is_nothing_to_take_on_a_worker_without_idle_members);
    tcase_add_test(tests, a_member_that_is_taken_off_the_list_is_not_had);
    tcase_add_test(tests, taking_off_the_list_twice_is_fine);
    tcase_add_test(tests, a_member_that_ends_while_idle_is_off_the_list);
    tcase_add_test(tests, nothing_is_given_when_nobody_waits);
    tcase_add_test(tests, an_idle_member_is_given_to_who_waits_elsewhere);
    tcase_add_test(tests, a_member_of_an_old_epoch_is_closed_at_release);
    tcase_add_test(tests, an_idle_member_of_an_old_epoch_is_not_had);
    tcase_add_test(tests, with_round_robin_a_member_of_an_old_epoch_is_passed_over);
    tcase_add_test(tests, who_finds_only_members_of_an_old_epoch_has_one_of_them_closed);
    tcase_add_test(tests, that_holds_in_a_full_pool_too);
    tcase_add_test(tests, a_member_is_current_until_the_epoch_is_raised);
    tcase_add_test(tests, a_paused_pool_closes_what_is_released);
    tcase_add_test(tests, a_paused_pool_lets_wait_though_a_member_is_idle);
    tcase_add_test(tests, after_a_resume_the_idle_member_is_asked_for);
    tcase_add_test(tests, a_draining_pool_refuses);
    tcase_add_test(tests, a_draining_pool_closes_what_is_released);
    tcase_add_test(tests, a_pool_that_was_made_smaller_closes_what_is_too_much);
    tcase_add_test(tests, a_pool_that_was_made_smaller_closes_no_more_than_is_too_much);
    tcase_add_test(tests, an_unlimited_pool_has_never_too_many);
    tcase_add_test(tests, a_small_pool_has_one_home);
    tcase_add_test(tests, a_pool_has_a_home_for_ten_servers);
    tcase_add_test(tests, there_are_no_more_homes_than_workers);
    tcase_add_test(tests, an_unlimited_pool_is_at_home_everywhere);
    tcase_add_test(tests, pools_spread_over_the_workers);
    tcase_add_test(tests, a_growing_pool_keeps_its_homes);
    tcase_add_test(tests, a_shrinking_pool_still_counts_its_old_homes);
    tcase_add_test(tests, a_client_is_put_where_the_fewest_live);
    tcase_add_test(tests, no_client_is_put_where_only_a_stranger_waited);
    tcase_add_test(tests, there_is_no_welcome_before_the_first_login);
    tcase_add_test(tests, the_first_servers_welcome_is_kept);
    tcase_add_test(tests, a_new_epoch_forgets_the_welcome);
    tcase_add_test(tests, a_welcome_of_an_old_epoch_is_not_kept);
    tcase_add_test(tests, a_welcome_outlives_its_epoch_while_somebody_has_it);
    tcase_add_test(tests, other_connection_settings_raise_the_epoch);
    tcase_add_test(tests, the_same_connection_settings_keep_the_epoch);
    tcase_add_test(tests, the_settings_can_be_read);
    suite_add_tcase(suite, tests);
    return suite;
}
