#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "net/offload.h"
#include "stream_peer.h"

Suite *suite_net_offload(void);

static struct loop *loop;
static struct offload *offload;
static sem_t may_end, has_begun;

struct work {
    struct offload_job job; /* first */
    pthread_t ran_on;
    sigset_t blocked;
    int done;
    struct loop *done_on;
    struct work **order; /* where `done` notes itself */
};

static void run_at_once(struct offload_job *job)
{
    struct work *work = (struct work *)job;

    work->ran_on = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &work->blocked);
}

static void run_until_told(struct offload_job *job)
{
    (void)job;
    sem_post(&has_begun);
    sem_wait(&may_end);
}

static void note_done(struct offload_job *job, struct loop *on)
{
    struct work *work = (struct work *)job;

    work->done++;
    work->done_on = on;
}

static struct work work_that(void (*run)(struct offload_job *job))
{
    return (struct work){.job = {.run = run, .done = note_done}};
}

static void set_up(void)
{
    loop = loop_create(NULL);
    offload = offload_create();
    ck_assert(loop != NULL && offload != NULL);
    sem_init(&may_end, 0, 0);
    sem_init(&has_begun, 0, 0);
}

static void tear_down(void)
{
    offload_destroy(offload);
    loop_destroy(loop);
}

static bool submit(struct work *work, enum offload_kind kind)
{
    return offload_submit(offload, kind, &work->job, loop);
}

START_TEST(a_job_runs_elsewhere_and_is_done_here)
{
    struct work work = work_that(run_at_once);

    ck_assert(submit(&work, OFFLOAD_CONFIG));
    turn_until(loop, work.done == 1);
    ck_assert(!pthread_equal(work.ran_on, pthread_self()));
    ck_assert_ptr_eq(work.done_on, loop);
    ck_assert_int_eq(sigismember(&work.blocked, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&work.blocked, SIGHUP), 1);
}
END_TEST

START_TEST(a_job_can_be_submitted_again)
{
    struct work work = work_that(run_at_once);

    for (int i = 1; i <= 100; i++) {
        ck_assert(submit(&work, OFFLOAD_PBKDF2));
        turn_until(loop, work.done == i);
    }
}
END_TEST

START_TEST(a_job_that_hangs_does_not_stop_those_of_other_kinds)
{
    struct work hangs = work_that(run_until_told), work = work_that(run_at_once);

    ck_assert(submit(&hangs, OFFLOAD_DNS));
    sem_wait(&has_begun);
    ck_assert(submit(&work, OFFLOAD_CONFIG));
    turn_until(loop, work.done == 1);
    ck_assert_int_eq(hangs.done, 0);
    sem_post(&may_end);
    turn_until(loop, hangs.done == 1);
}
END_TEST

static const struct {
    enum offload_kind kind;
    int threads;
} crews[] = {{OFFLOAD_CONFIG, 1}, {OFFLOAD_PBKDF2, 2}, {OFFLOAD_DNS, 4}};

START_TEST(so_many_run_at_once_and_the_others_wait)
{
    struct work works[8];
    int threads = crews[_i].threads;
    int done = 0;

    for (int i = 0; i < 8; i++) {
        works[i] = work_that(run_until_told);
        ck_assert(submit(&works[i], crews[_i].kind));
    }
    for (int i = 0; i < threads; i++)
        sem_wait(&has_begun);
    ck_assert_int_ne(sem_trywait(&has_begun), 0);
    for (int i = 0; i < 8; i++)
        sem_post(&may_end);
    for (int i = 0; i < 8; i++) {
        turn_until(loop, works[i].done == 1);
        done += works[i].done;
    }
    ck_assert_int_eq(done, 8);
}
END_TEST

START_TEST(a_full_queue_refuses)
{
    static struct work works[OFFLOAD_QUEUE_MAX + 2];
    struct work *last = &works[OFFLOAD_QUEUE_MAX + 1];

    works[0] = work_that(run_until_told);
    ck_assert(submit(&works[0], OFFLOAD_CONFIG));
    sem_wait(&has_begun);
    for (int i = 1; i <= OFFLOAD_QUEUE_MAX; i++) {
        works[i] = work_that(run_at_once);
        ck_assert(submit(&works[i], OFFLOAD_CONFIG));
    }
    *last = work_that(run_at_once);
    ck_assert(!submit(last, OFFLOAD_CONFIG));
    sem_post(&may_end);
    turn_until(loop, works[OFFLOAD_QUEUE_MAX].done == 1);
    ck_assert(submit(last, OFFLOAD_CONFIG));
    turn_until(loop, last->done == 1);
}
END_TEST

static void let_it_end(void *argument)
{
    (void)argument;
    sem_post(&may_end);
}

static void *let_it_end_soon(void *argument)
{
    (void)argument;
    usec_t until = clock_monotonic() + 50 * USEC_PER_MSEC;
    while (clock_monotonic() < until)
        sched_yield();
    let_it_end(NULL);
    return NULL;
}

START_TEST(the_end_waits_for_what_runs_and_drops_the_rest)
{
    struct work runs = work_that(run_until_told), waits = work_that(run_at_once);
    pthread_t helper;

    ck_assert(submit(&runs, OFFLOAD_CONFIG));
    sem_wait(&has_begun);
    ck_assert(submit(&waits, OFFLOAD_CONFIG));
    pthread_create(&helper, NULL, let_it_end_soon, NULL);
    offload_destroy(offload);
    offload = NULL;
    pthread_join(helper, NULL);
    turns(loop, 3);
    ck_assert_int_eq(runs.done, 0);
    ck_assert_int_eq(waits.done, 0);
}
END_TEST

START_TEST(the_end_does_not_wait_for_ever)
{
    static struct work hangs; /* outlives the test's frame, as its thread does */
    usec_t began = clock_monotonic();

    hangs = work_that(run_until_told);
    ck_assert(submit(&hangs, OFFLOAD_DNS));
    sem_wait(&has_begun);
    offload_destroy(offload);
    offload = NULL;
    ck_assert_int_lt(clock_monotonic() - began, 3 * USEC_PER_SEC);
    sem_post(&may_end);
    turns(loop, 3);
    ck_assert_int_eq(hangs.done, 0);
}
END_TEST

Suite *suite_net_offload(void)
{
    Suite *suite = suite_create("net/offload");
    TCase *tests = tcase_create("all");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_job_runs_elsewhere_and_is_done_here);
    tcase_add_test(tests, a_job_can_be_submitted_again);
    tcase_add_test(tests, a_job_that_hangs_does_not_stop_those_of_other_kinds);
    tcase_add_loop_test(tests, so_many_run_at_once_and_the_others_wait, 0,
                        sizeof(crews) / sizeof(crews[0]));
    tcase_add_test(tests, a_full_queue_refuses);
    tcase_add_test(tests, the_end_waits_for_what_runs_and_drops_the_rest);
    tcase_add_test(tests, the_end_does_not_wait_for_ever);
    return suite;
}
