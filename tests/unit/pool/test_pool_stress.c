/* Many threads follow the pool's advice at once, with mailboxes of their own in place of loops.
 *
 * The work comes in rounds: each client makes a few requests and then rests until all have made
 * theirs. So the last waiters of a round have no later traffic that could hide a lost wake-up: the
 * round would not end, and the watchdog says so. Nobody looks at the pools from time to time.
 */
#include "stress_stations.h"

/* ---- clients ---- */

static void finish_request(struct client *client)
{
    client->requests_left--;
    atomic_fetch_sub(&client->station->stress->requests, 1);
    atomic_fetch_add(&client->station->stress->progress, 1);
}

static void use(struct client *client, struct pool_member *member)
{
    client->server = server_of(member);
    ck_assert_int_eq(atomic_fetch_add(&client->server->holders, 1), 0);
    ck_assert_ptr_eq(client->server->shared, client->shared);
    client->turns_left = rand_r(&client->station->seed) % 4;
}

static void part(struct client *client)
{
    struct fake_server *server = client->server;

    client->server = NULL;
    ck_assert_int_eq(atomic_fetch_sub(&server->holders, 1), 1);
    if (happens(client->station, DYING, client->station->stress->scale.dying_one_in))
        close_server(client->station, server);
    else
        release(client->station, server);
}

static void granted(struct pool_waiter *waiter, struct pool_member *member)
{
    struct client *client = client_of(waiter);

    pool_waiter_done(waiter);
    ck_assert(client->is_waiting);
    ck_assert_int_eq(member->worker, client->station->worker);
    client->is_waiting = false;
    use(client, member);
    if (client->has_left) {
        client->has_left = false;
        part(client);
        finish_request(client);
    }
}

static void refused(struct pool_waiter *waiter, const struct error *why)
{
    struct client *client = client_of(waiter);

    pool_waiter_done(waiter);
    ck_assert(client->is_waiting);
    ck_assert_str_eq(why->message, "the server is not there");
    client->is_waiting = false;
    client->has_left = false;
    finish_request(client);
}

static void ask(struct client *client)
{
    struct station *station = client->station;
    struct pool_member *member;
    struct pool_advice advice;
    struct error error;

    switch (pool_acquire(client->shared->fake.pool, station->worker, &client->waiter, station->now,
                         &member, &advice, &error)) {
    case POOL_GOT:
        use(client, member);
        break;
    case POOL_WAIT:
        client->is_waiting = true;
        /* One that will not leave waits for ever. */
        client->turns_left = happens(station, LEAVING, 8) ? rand_r(&station->seed) % 30 : -1;
        follow(station, &advice);
        break;
    case POOL_REFUSED:
        finish_request(client);
        break;
    }
}

static void step_client(struct client *client)
{
    if (client->server != NULL) {
        if (client->turns_left-- > 0)
            return;
        part(client);
        finish_request(client);
    } else if (client->is_waiting) {
        if (client->turns_left-- != 0)
            return;
        if (pool_waiter_leave(&client->waiter)) {
            client->is_waiting = false;
            finish_request(client);
        } else {
            client->has_left = true;
        }
    } else if (client->requests_left > 0 && one_in(client->station, 3)) {
        ask(client);
    }
}

/* ---- what befalls a station ---- */

static void lose_idle_members(struct station *station)
{
    struct stress *stress = station->stress;
    struct pool *pool = stress->pools[rand_r(&station->seed) % POOLS].fake.pool;
    struct pool_member *member = TAILQ_FIRST(&pool->shards[station->worker].idle);

    if (member != NULL && happens(station, DYING, 100))
        close_server(station, server_of(member));
}

/* Upkeep, after a failure: the pause of a pool may be over. */
static void retry(struct station *station)
{
    struct pool_advice advice;

    if ((station->stress->mishaps & FAILING) == 0 || station->now < station->retry_at)
        return;
    station->retry_at = station->now + 5 * USEC_PER_MSEC;
    for (int i = 0; i < POOLS; i++) {
        pool_reconsider(station->stress->pools[i].fake.pool, station->now, &advice);
        follow(station, &advice);
    }
}

static void resume(struct station *station)
{
    struct pool *pool = station->stress->pools[station->paused].fake.pool;
    struct pool_advice advice;

    atomic_store(&pool->is_paused, false);
    station->paused = -1;
    pool_reconsider(pool, station->now, &advice);
    follow(station, &advice);
}

static void give_orders(struct station *station)
{
    struct stress *stress = station->stress;
    /* No two stations give orders to the same pool: each resumes what it paused. */
    int number = (station->worker + stress->scale.stations * (stress->round % 4)) % POOLS;
    struct pool *pool = stress->pools[number].fake.pool;

    if (station->paused >= 0 && one_in(station, 10))
        resume(station);
    if (happens(station, ORDERING, stress->scale.orders_one_in))
        pool_raise_epoch(pool);
    if (station->paused < 0 && happens(station, ORDERING, 4 * stress->scale.orders_one_in)) {
        station->paused = number;
        atomic_store(&pool->is_paused, true);
    }
}

/* Counted as in flight: the round must not end between an advice and the letter with it. */
static void suffer(struct station *station)
{
    atomic_fetch_add(&station->stress->in_flight, 1);
    if (atomic_load(&station->stress->requests) > 0) {
        lose_idle_members(station);
        give_orders(station);
        retry(station);
    }
    atomic_fetch_sub(&station->stress->in_flight, 1);
}

static void turn(struct station *station)
{
    station->now = clock_monotonic();
    read_letters(station);
    step_opening(station);
    for (int i = 0; i < station->stress->scale.clients; i++)
        step_client(&station->clients[i]);
    suffer(station);
    sched_yield();
}

/* ---- rounds ---- */

static void claim_all_at_rest(struct stress *stress)
{
    for (int i = 0; i < POOLS; i++) {
        struct pool *pool = stress->pools[i].fake.pool;

        ck_assert_int_eq(atomic_load(&pool->waiting), 0);
        ck_assert_int_eq(atomic_load(&pool->remote_waiters), 0);
        ck_assert(TAILQ_EMPTY(&pool->remote));
        ck_assert_int_eq(pool->opening, 0);
        ck_assert_int_eq(pool->size, atomic_load(&stress->pools[i].alive));
    }
}

static bool is_home(const struct shared_pool *shared, int worker)
{
    return (atomic_load(&shared->fake.pool->placement) & worker_bit(worker)) != 0;
}

/* A few clients meet in two pools that share a database, a crowd in all. Most live on a home of
 * their pool, as in the daemon; in every other round some do not. */
static struct shared_pool *choose_pool(struct station *station)
{
    struct stress *stress = station->stress;
    struct shared_pool *shared = NULL;

    for (int tries = 0; tries < POOLS; tries++) {
        int chosen = rand_r(&station->seed) % POOLS;

        if (stress->scale.has_new_pools && tries < POOLS / 2)
            chosen = 2 * (stress->round / 2 % (POOLS / 2)) + chosen % 2;
        shared = &stress->pools[chosen];
        if (is_home(shared, station->worker) || (stress->round % 2 == 0 && one_in(station, 3)))
            break;
    }
    return shared;
}

static void play_round(struct station *station)
{
    struct stress *stress = station->stress;

    for (int i = 0; i < stress->scale.clients; i++) {
        struct client *client = &station->clients[i];

        client->requests_left = stress->scale.requests;
        client->shared = choose_pool(station);
    }
    pthread_barrier_wait(&stress->barrier);
    while (atomic_load(&stress->requests) > 0 || atomic_load(&stress->in_flight) > 0)
        turn(station);
    if (station->paused >= 0)
        resume(station);
    pthread_barrier_wait(&stress->barrier);
}

static void close_all(struct station *station)
{
    struct pool_member *member;

    for (int i = 0; i < POOLS; i++) {
        while ((member = pool_take_idle(station->stress->pools[i].fake.pool, station->worker)) !=
               NULL)
            close_server(station, server_of(member));
    }
}

static void *run_station(void *argument)
{
    struct station *station = argument;

    for (;;) {
        pthread_barrier_wait(&station->stress->barrier);
        if (atomic_load(&station->stress->is_over))
            break;
        play_round(station);
    }
    close_all(station);
    return NULL;
}

static void say_what_is_stuck(struct stress *stress)
{
    fprintf(stderr, "nothing moved for 10 seconds: %d requests left, %d letters and openings\n",
            atomic_load(&stress->requests), atomic_load(&stress->in_flight));
    for (int i = 0; i < POOLS; i++) {
        struct pool *pool = stress->pools[i].fake.pool;

        fprintf(stderr, "pool %d: size %d opening %d waiting %d remote %d blocked %d paused %d\n",
                i, pool->size, pool->opening, atomic_load(&pool->waiting),
                atomic_load(&pool->remote_waiters), atomic_load(&pool->is_blocked),
                atomic_load(&pool->is_paused));
    }
}

/* Reads what others write, but only when all has come to a stand. */
static void *watch(void *argument)
{
    struct stress *stress = argument;
    uint64_t last = 0;
    usec_t since = clock_monotonic();

    while (!atomic_load(&stress->is_over)) {
        uint64_t progress = atomic_load(&stress->progress);
        struct timespec pause = {0, 20 * 1000 * 1000};

        if (progress != last)
            since = clock_monotonic();
        last = progress;
        if (clock_monotonic() - since > PROGRESS_DEADLINE) {
            say_what_is_stuck(stress);
            abort();
        }
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void init_pools(struct stress *stress)
{
    /* Homes, limits and sizes of every kind; pools 4 to 7 compete for the places of two limits. */
    static const struct fake_pool_options options[POOLS] = {
        {.database = "one", .user = "a", .pool_size = 1, .locality = 1000},
        {.database = "one", .user = "b", .pool_size = 5, .locality = 1000},
        {.database = "two", .user = "c", .pool_size = 30, .locality = 100},
        {.database = "two", .user = "d", .pool_size = 40},
        {.database = "few", .user = "e", .max_db_connections = 5, .locality = 1000},
        {.database = "few", .user = "f", .pool_size = 3, .max_db_connections = 5},
        {.database = "less", .user = "e", .pool_size = 4, .max_db_connections = 3},
        {.database = "less", .user = "g", .max_db_connections = 3, .locality = 1000},
    };

    stress->limits = limits_create();
    stress->shared_limits[0].max = 5;
    stress->shared_limits[1].max = 3;
    for (int i = 0; i < POOLS; i++) {
        struct fake_pool_options own = options[i];

        own.workers = stress->scale.stations;
        own.number = i;
        stress->pools[i].pool_size = own.pool_size;
        if (own.max_db_connections > 0)
            stress->pools[i].limit = &stress->shared_limits[i >= 6];
        fake_pool_init(&stress->pools[i].fake, stress->limits, &own);
    }
}

static void init_station(struct stress *stress, int worker)
{
    struct station *station = &stress->stations[worker];

    station->stress = stress;
    station->worker = worker;
    station->seed = (unsigned)worker + 1;
    station->paused = -1;
    pthread_mutex_init(&station->mutex, NULL);
    STAILQ_INIT(&station->letters);
    TAILQ_INIT(&station->opening);
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &station->clients[i];

        client->station = station;
        client->waiter.granted = granted;
        client->waiter.refused = refused;
    }
}

static void finish(struct stress *stress)
{
    for (int i = 0; i < POOLS; i++) {
        struct pool_advice advice;

        pool_reconsider(stress->pools[i].fake.pool, clock_monotonic(), &advice);
        ck_assert_int_eq(advice.order, POOL_NOTHING);
    }
    for (int i = 0; i < POOLS; i++) {
        struct shared_pool *shared = &stress->pools[i];

        ck_assert_int_eq(shared->fake.pool->size, 0);
        ck_assert_int_eq(atomic_load(&shared->alive), 0);
        ck_assert_int_eq(limits_database_count(stress->limits, shared->fake.database.name), 0);
        ck_assert_int_eq(limits_user_count(stress->limits, shared->fake.pool->user_name), 0);
        fake_pool_finish(&shared->fake);
    }
    limits_destroy(stress->limits);
    stress->limits = NULL;
}

/* The main thread's, while all stations rest. */
static void renew_pools(struct stress *stress)
{
    if (!stress->scale.has_new_pools)
        return;
    for (int worker = 0; worker < stress->scale.stations; worker++)
        close_all(&stress->stations[worker]);
    finish(stress);
    init_pools(stress);
}

static void play(struct scale scale, unsigned mishaps)
{
    const char *text = getenv("POOL_STRESS_SECONDS");
    usec_t end = clock_monotonic() + (text != NULL ? atoi(text) * USEC_PER_SEC : USEC_PER_SEC / 2);
    struct stress *stress = calloc(1, sizeof *stress);
    pthread_t watchdog;

    stress->scale = scale;
    stress->mishaps = mishaps;
    init_pools(stress);
    pthread_barrier_init(&stress->barrier, NULL, (unsigned)scale.stations + 1);
    pthread_create(&watchdog, NULL, watch, stress);
    for (int i = 0; i < scale.stations; i++)
        init_station(stress, i);
    for (int i = 0; i < scale.stations; i++)
        pthread_create(&stress->stations[i].thread, NULL, run_station, &stress->stations[i]);
    for (;;) {
        atomic_store(&stress->is_over, clock_monotonic() >= end && stress->round > 0);
        atomic_store(&stress->requests, scale.stations * scale.clients * scale.requests);
        pthread_barrier_wait(&stress->barrier); /* it is known whether there is a round */
        if (atomic_load(&stress->is_over))
            break;
        pthread_barrier_wait(&stress->barrier); /* it begins */
        pthread_barrier_wait(&stress->barrier); /* all rest */
        claim_all_at_rest(stress);
        renew_pools(stress);
        stress->round++;
    }
    for (int i = 0; i < scale.stations; i++)
        pthread_join(stress->stations[i].thread, NULL);
    pthread_join(watchdog, NULL);
    pthread_barrier_destroy(&stress->barrier);
    if (text != NULL)
        fprintf(stderr, "%d rounds, %llu requests\n", stress->round,
                (unsigned long long)atomic_load(&stress->progress));
    finish(stress);
    free(stress);
}

START_TEST(each_of_a_few_waiters_is_served_without_upkeep)
{
    play(few, NO_MISHAPS);
}
END_TEST

START_TEST(every_waiter_of_a_crowd_is_served_without_upkeep)
{
    play(crowd, NO_MISHAPS);
}
END_TEST

START_TEST(each_of_a_few_waiters_is_served_while_others_leave)
{
    play(few, LEAVING);
}
END_TEST

START_TEST(every_waiter_of_a_crowd_is_served_while_others_leave)
{
    play(crowd, LEAVING);
}
END_TEST

START_TEST(each_of_a_few_waiters_is_served_while_members_die)
{
    play(few, LEAVING | DYING);
}
END_TEST

START_TEST(every_waiter_of_a_crowd_is_served_while_members_die)
{
    play(crowd, LEAVING | DYING);
}
END_TEST

START_TEST(each_of_a_few_waiters_is_served_through_reconnect_and_pause)
{
    play(few, LEAVING | DYING | ORDERING);
}
END_TEST

START_TEST(every_waiter_of_a_crowd_is_served_through_reconnect_and_pause)
{
    play(crowd, LEAVING | DYING | ORDERING);
}
END_TEST

START_TEST(each_of_a_few_waiters_is_served_or_told_while_logins_fail)
{
    play(few, LEAVING | DYING | ORDERING | FAILING);
}
END_TEST

START_TEST(every_waiter_of_a_crowd_is_served_or_told_while_logins_fail)
{
    play(crowd, LEAVING | DYING | ORDERING | FAILING);
}
END_TEST

Suite *suite_pool_pool_stress(void);

Suite *suite_pool_pool_stress(void)
{
    Suite *suite = suite_create("pool/pool_stress");
    TCase *tests = tcase_create("threads");

    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, each_of_a_few_waiters_is_served_without_upkeep);
    tcase_add_test(tests, every_waiter_of_a_crowd_is_served_without_upkeep);
    tcase_add_test(tests, each_of_a_few_waiters_is_served_while_others_leave);
    tcase_add_test(tests, every_waiter_of_a_crowd_is_served_while_others_leave);
    tcase_add_test(tests, each_of_a_few_waiters_is_served_while_members_die);
    tcase_add_test(tests, every_waiter_of_a_crowd_is_served_while_members_die);
    tcase_add_test(tests, each_of_a_few_waiters_is_served_through_reconnect_and_pause);
    tcase_add_test(tests, every_waiter_of_a_crowd_is_served_through_reconnect_and_pause);
    tcase_add_test(tests, each_of_a_few_waiters_is_served_or_told_while_logins_fail);
    tcase_add_test(tests, every_waiter_of_a_crowd_is_served_or_told_while_logins_fail);
    suite_add_tcase(suite, tests);
    return suite;
}
