/* stress_stations: threads that stand for workers, with letters in place of mail, and servers that
 * do what the pool advises. For test_pool_stress.c, which has their clients. */
#pragma once
#include <check.h>
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
    case POOL_DEDICATE: /* nobody wishes here */
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
