/* Many threads follow the pool's advice at once, with mailboxes of their own in place of loops.
 *
 * The work comes in rounds: each client makes a few requests and then rests until all have made
 * theirs. So the last waiters of a round have no later traffic that could hide a lost wake-up: the
 * round would not end, and the watchdog says so. Nobody looks at the pools from time to time.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/pool_fakes.h"

#define STATIONS          8
#define CLIENTS           24 /* of each station */
#define POOLS             8
#define PROGRESS_DEADLINE (10 * USEC_PER_SEC)

/* A crowd keeps everything busy at once; a few, whose rounds are short and whose pools are new in
 * each, have nobody who would cover up for a waiter that was forgotten. */
struct scale {
    int stations, clients, requests, dying_one_in, orders_one_in;
    bool has_new_pools;
};
static const struct scale crowd = {STATIONS, CLIENTS, 6, 60, 2000, false};
static const struct scale few = {3, 4, 2, 5, 50, true};

enum mishaps {
    NO_MISHAPS,
    LEAVING = 1 << 0,  /* waiters leave */
    DYING = 1 << 1,    /* members end while lent, idle and on the way */
    FAILING = 1 << 2,  /* connections cannot be opened */
    ORDERING = 1 << 3, /* RECONNECT, PAUSE and RESUME */
};

struct station;
struct stress;

struct fake_server {
    struct pool_member member;
    struct shared_pool *shared;
    _Atomic int holders;
    int turns_left; /* until it has logged in */
    TAILQ_ENTRY(fake_server) link;
};
TAILQ_HEAD(fake_servers, fake_server);

enum letter_kind { LETTER_ADVICE, LETTER_MEMBER, LETTER_REFUSE };

struct letter {
    enum letter_kind kind;
    struct pool_advice advice;
    struct pool_waiter *waiter;
    struct pool_member *member;
    struct pool *pool;
    struct error why;
    STAILQ_ENTRY(letter) link;
};
STAILQ_HEAD(letters, letter);

struct shared_pool {
    struct fake_pool fake;
    int pool_size;
    _Atomic int alive; /* servers, as PostgreSQL would count them */
    struct shared_limit *limit;
};

struct shared_limit {
    int max;
    _Atomic int alive;
};

struct client {
    struct pool_waiter waiter;
    struct station *station;
    struct shared_pool *shared;
    struct fake_server *server;
    int requests_left, turns_left;
    bool is_waiting, has_left;
};

struct station {
    struct stress *stress;
    int worker;
    pthread_t thread;
    pthread_mutex_t mutex;
    struct letters letters;
    struct fake_servers opening;
    struct client clients[CLIENTS];
    unsigned seed;
    usec_t now, retry_at;
    int paused; /* pool that this station has paused; -1: none */
};

struct stress {
    struct scale scale;
    unsigned mishaps;
    int round;
    struct limits *limits;
    struct shared_pool pools[POOLS];
    struct shared_limit shared_limits[2];
    struct station stations[STATIONS];
    pthread_barrier_t barrier;
    _Atomic int requests;  /* not finished in this round */
    _Atomic int in_flight; /* letters, and servers that are being opened */
    _Atomic uint64_t progress;
    _Atomic bool is_over;
};

static void follow(struct station *station, const struct pool_advice *advice);
static void release(struct station *station, struct fake_server *server);

static bool one_in(struct station *station, int n)
{
    return rand_r(&station->seed) % n == 0;
}

static bool happens(struct station *station, enum mishaps mishap, int one_in_n)
{
    return (station->stress->mishaps & mishap) != 0 && one_in(station, one_in_n);
}

static struct fake_server *server_of(struct pool_member *member)
{
    return (struct fake_server *)((char *)member - offsetof(struct fake_server, member));
}

static struct client *client_of(struct pool_waiter *waiter)
{
    return (struct client *)((char *)waiter - offsetof(struct client, waiter));
}

static struct shared_pool *shared_of(struct stress *stress, const struct pool *pool)
{
    for (int i = 0; i < POOLS; i++) {
        if (stress->pools[i].fake.pool == pool)
            return &stress->pools[i];
    }
    abort();
}

/* ---- letters ---- */

static void post(struct station *from, int to, struct letter letter)
{
    struct station *station = &from->stress->stations[to];
    struct letter *copy = malloc(sizeof *copy);

    *copy = letter;
    atomic_fetch_add(&from->stress->in_flight, 1);
    pthread_mutex_lock(&station->mutex);
    STAILQ_INSERT_TAIL(&station->letters, copy, link);
    pthread_mutex_unlock(&station->mutex);
}

/* ---- servers ---- */

static void count_alive(struct shared_pool *shared, int difference)
{
    int alive = atomic_fetch_add(&shared->alive, difference) + difference;

    ck_assert_int_ge(alive, 0);
    if (shared->pool_size > 0)
        ck_assert_int_le(alive, shared->pool_size);
    if (shared->limit != NULL) {
        alive = atomic_fetch_add(&shared->limit->alive, difference) + difference;
        ck_assert_int_ge(alive, 0);
        ck_assert_int_le(alive, shared->limit->max);
    }
}

static void open_server(struct station *station, struct pool *pool)
{
    struct fake_server *server = calloc(1, sizeof *server);
    struct pool_advice advice;

    if (happens(station, FAILING, 50)) {
        free(server);
        pool_open_abandoned(pool, &advice);
        follow(station, &advice);
        pool_reconsider(pool, station->now, &advice);
        follow(station, &advice);
        return;
    }
    server->shared = shared_of(station->stress, pool);
    count_alive(server->shared, 1);
    pool_member_init(pool, &server->member, station->worker, station->now);
    server->turns_left = rand_r(&station->seed) % 20;
    atomic_fetch_add(&station->stress->in_flight, 1);
    TAILQ_INSERT_TAIL(&station->opening, server, link);
    pool_reconsider(pool, station->now, &advice);
    follow(station, &advice);
}

static void close_server(struct station *station, struct fake_server *server)
{
    struct pool_advice advice;

    ck_assert_int_eq(atomic_load(&server->holders), 0);
    count_alive(server->shared, -1);
    pool_member_closed(server->member.pool, &server->member, station->now, &advice);
    free(server);
    follow(station, &advice);
}

static void tell_waiters(struct station *station, struct pool *pool, const struct error *why)
{
    uint64_t homes = atomic_load(&pool->homes);

    for (int worker = 0; worker < station->stress->scale.stations; worker++) {
        if ((homes & worker_bit(worker)) == 0)
            continue;
        post(station, worker,
             (struct letter){LETTER_REFUSE, .pool = pool_acquire_reference(pool), .why = *why});
    }
}

static void fail_server(struct station *station, struct fake_server *server)
{
    struct pool *pool = server->member.pool;
    enum pool_failure failure = (enum pool_failure)(1 + rand_r(&station->seed) % 3);
    struct error why;

    error_set(&why, SQLSTATE_CANNOT_CONNECT, "the server is not there");
    if (pool_open_failed(pool, failure, &why, station->now, USEC_PER_MSEC))
        tell_waiters(station, pool, &why);
    close_server(station, server);
}

static void finish_opening(struct station *station, struct fake_server *server)
{
    struct pool_advice advice;

    if (happens(station, FAILING, 3)) {
        fail_server(station, server);
        return;
    }
    pool_member_opened(server->member.pool, &server->member, NULL, &advice);
    release(station, server);
    follow(station, &advice);
}

static void step_opening(struct station *station)
{
    struct fake_server *server = TAILQ_FIRST(&station->opening);

    while (server != NULL) {
        struct fake_server *next = TAILQ_NEXT(server, link);

        if (server->turns_left-- <= 0) {
            TAILQ_REMOVE(&station->opening, server, link);
            finish_opening(station, server);
            atomic_fetch_sub(&station->stress->in_flight, 1);
            next = TAILQ_FIRST(&station->opening); /* the list may have changed */
        }
        server = next;
    }
}

static void release(struct station *station, struct fake_server *server)
{
    struct pool_waiter *waiter;
    const char *why;

    switch (pool_release(server->member.pool, station->worker, &server->member, station->now,
                         &waiter, &why)) {
    case RELEASE_IDLE:
        break;
    case RELEASE_GRANT:
        waiter->granted(waiter, &server->member);
        break;
    case RELEASE_MOVE:
        post(station, waiter->worker,
             (struct letter){LETTER_MEMBER, .waiter = waiter, .member = &server->member});
        break;
    case RELEASE_CLOSE:
        ck_assert_ptr_nonnull(why);
        close_server(station, server);
        break;
    }
}

/* ---- advice ---- */

static void give(struct station *station, struct pool *pool)
{
    struct pool_member *member = pool_give(pool, station->worker);
    struct pool_advice advice;

    if (member != NULL) {
        release(station, server_of(member));
        return;
    }
    pool_reconsider(pool, station->now, &advice);
    follow(station, &advice);
}

static void follow_here(struct station *station, const struct pool_advice *advice)
{
    struct pool_member *member;

    switch (advice->order) {
    case POOL_NOTHING:
        return;
    case POOL_OPEN:
        open_server(station, advice->pool);
        break;
    case POOL_ASK:
        give(station, advice->pool);
        break;
    case POOL_EVICT:
        member = pool_take_idle(advice->pool, station->worker);
        if (member != NULL)
            close_server(station, server_of(member));
        break;
    }
    pool_release_reference(advice->pool);
}

/* By letter also to this station itself, so that nothing nests. */
static void follow(struct station *station, const struct pool_advice *advice)
{
    if (advice->order != POOL_NOTHING)
        post(station, advice->worker, (struct letter){LETTER_ADVICE, .advice = *advice});
}

static void arrive(struct station *station, struct pool_waiter *waiter, struct fake_server *server)
{
    struct pool_advice advice;

    if (pool_member_is_current(&server->member) &&
        !happens(station, DYING, station->stress->scale.dying_one_in)) {
        waiter->granted(waiter, &server->member);
        return;
    }
    pool_grant_failed(waiter->pool, waiter, station->now, &advice);
    follow(station, &advice);
    close_server(station, server);
}

static void deliver(struct station *station, struct letter *letter)
{
    switch (letter->kind) {
    case LETTER_ADVICE:
        follow_here(station, &letter->advice);
        break;
    case LETTER_MEMBER:
        arrive(station, letter->waiter, server_of(letter->member));
        break;
    case LETTER_REFUSE:
        pool_refuse_waiters(letter->pool, station->worker, &letter->why);
        pool_release_reference(letter->pool);
        break;
    }
    free(letter);
    atomic_fetch_sub(&station->stress->in_flight, 1);
}

static void read_letters(struct station *station)
{
    struct letters letters = STAILQ_HEAD_INITIALIZER(letters);
    struct letter *letter;

    pthread_mutex_lock(&station->mutex);
    STAILQ_CONCAT(&letters, &station->letters);
    pthread_mutex_unlock(&station->mutex);
    while ((letter = STAILQ_FIRST(&letters)) != NULL) {
        STAILQ_REMOVE_HEAD(&letters, link);
        deliver(station, letter);
    }
}

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
