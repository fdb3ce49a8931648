#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "net/deadline.h"
#include "net/loop.h"

Suite *suite_net_loop(void);

static struct {
    struct loop *loop;
    char order[64]; /* what ran, as letters */
    int count;
} test;

/* Writes its letter; then queues `then`, and stops the loop if it is the last. */
struct step {
    struct loop_task task; /* first */
    struct mail mail;
    struct deadline deadline;
    char letter;
    bool is_last, then_again;
    enum loop_phase then_phase;
    struct step *then;
    uint64_t turn;
};

static void run_step(struct step *step)
{
    size_t length = strlen(test.order);

    if (length + 1 < sizeof(test.order))
        test.order[length] = step->letter;
    step->turn = test.loop->turns;
    if (step->then != NULL && step->then_again)
        loop_again(test.loop, &step->then->task);
    else if (step->then != NULL)
        loop_defer(test.loop, step->then_phase, &step->then->task);
    if (step->is_last)
        loop_stop(test.loop);
}

static void run_task(struct loop_task *task)
{
    run_step((struct step *)task);
}

static void deliver(struct mail *mail, struct loop *loop)
{
    (void)loop;
    run_step((struct step *)((char *)mail - offsetof(struct step, mail)));
}

static void expire(struct deadline *deadline, struct deadline_list *list)
{
    (void)list;
    run_step((struct step *)((char *)deadline - offsetof(struct step, deadline)));
}

static struct step step_of(char letter)
{
    return (struct step){.task = {.run = run_task}, .mail = {.deliver = deliver}, .letter = letter};
}

static void set_up(void)
{
    struct error error;

    memset(&test, 0, sizeof(test));
    test.loop = loop_create(&error);
    ck_assert_ptr_nonnull(test.loop);
}

static void tear_down(void)
{
    loop_destroy(test.loop);
}

START_TEST(the_end_of_a_turn_keeps_its_order)
{
    struct step mail = step_of('m'), grant = step_of('g'), writing = step_of('w'),
                late = step_of('d'), freeing = step_of('f'), again = step_of('a');
    struct deadline_list list;

    deadline_list_init(&list, test.loop, expire, NULL);
    deadline_set(&list, &late.deadline, 1);
    freeing.is_last = true;
    loop_defer(test.loop, LOOP_FREE, &freeing.task);
    loop_defer(test.loop, LOOP_WRITE, &writing.task);
    loop_defer(test.loop, LOOP_GRANT, &grant.task);
    loop_again(test.loop, &again.task);
    loop_post(test.loop, &mail.mail);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "amgwdf");
    deadline_list_finish(&list);
}
END_TEST

START_TEST(what_deadlines_cause_is_granted_and_written_in_the_same_turn)
{
    struct step late = step_of('d'), grant = step_of('g'), writing = step_of('w'),
                freeing = step_of('f');
    struct deadline_list list;

    deadline_list_init(&list, test.loop, expire, NULL);
    deadline_set(&list, &late.deadline, 1);
    late.then = &grant;
    late.then_phase = LOOP_GRANT;
    grant.then = &writing;
    grant.then_phase = LOOP_WRITE;
    writing.then = &freeing;
    writing.then_phase = LOOP_FREE;
    freeing.is_last = true;
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "dgwf");
    ck_assert_uint_eq(freeing.turn, late.turn);
    deadline_list_finish(&list);
}
END_TEST

START_TEST(a_grant_caused_by_a_write_runs_before_the_turn_ends)
{
    struct step writing = step_of('w'), grant = step_of('g');

    writing.then = &grant;
    writing.then_phase = LOOP_GRANT;
    grant.is_last = true;
    struct step begin = step_of('b');
    begin.then = &writing;
    begin.then_phase = LOOP_WRITE;
    loop_again(test.loop, &begin.task);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "bwg");
    ck_assert_uint_eq(grant.turn, writing.turn);
}
END_TEST

START_TEST(again_runs_in_the_next_turn_which_does_not_wait)
{
    struct step first = step_of('1'), second = step_of('2');

    first.then = &second;
    first.then_again = true;
    second.is_last = true;
    loop_again(test.loop, &first.task);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "12");
    ck_assert_uint_eq(second.turn, first.turn + 1);
}
END_TEST

START_TEST(a_task_is_queued_once)
{
    struct step step = step_of('x');

    step.is_last = true;
    loop_again(test.loop, &step.task);
    loop_again(test.loop, &step.task);
    loop_defer(test.loop, LOOP_WRITE, &step.task);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "x");
}
END_TEST

static struct step *to_cancel;

static void cancel_other(struct loop_task *task)
{
    run_task(task);
    loop_cancel_task(test.loop, &to_cancel->task);
}

START_TEST(a_task_can_be_cancelled_by_the_one_before_it)
{
    struct step first = step_of('1'), second = step_of('2'), third = step_of('3');

    first.task.run = cancel_other;
    to_cancel = &second;
    third.is_last = true;
    loop_again(test.loop, &first.task);
    loop_again(test.loop, &second.task);
    loop_again(test.loop, &third.task);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "13");
    ck_assert(!second.task.is_queued);
}
END_TEST

START_TEST(a_task_of_each_list_can_be_cancelled)
{
    struct step steps[LOOP_PHASES], last = step_of('z');

    last.is_last = true;
    for (int phase = 0; phase < LOOP_PHASES; phase++) {
        steps[phase] = step_of('x');
        loop_defer(test.loop, (enum loop_phase)phase, &steps[phase].task);
        loop_cancel_task(test.loop, &steps[phase].task);
    }
    loop_again(test.loop, &last.task);
    loop_run(test.loop);
    ck_assert_str_eq(test.order, "z");
}
END_TEST

static void count_signal(int signal_number, void *argument)
{
    (void)argument;
    ck_assert_int_eq(signal_number, SIGUSR2);
    test.count++;
    loop_stop(test.loop);
}

START_TEST(a_blocked_signal_arrives_on_the_loop)
{
    sigset_t only;

    sigemptyset(&only);
    sigaddset(&only, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &only, NULL);
    ck_assert(loop_add_signal(test.loop, SIGUSR2, count_signal, NULL));
    kill(getpid(), SIGUSR2);
    loop_run(test.loop);
    ck_assert_int_eq(test.count, 1);
}
END_TEST

static void count_period(void *argument)
{
    ck_assert_ptr_eq(argument, &test);
    if (++test.count == 3)
        loop_stop(test.loop);
}

START_TEST(a_periodic_call_comes_again_and_again)
{
    usec_t before = clock_monotonic();

    ck_assert(loop_add_periodic(test.loop, 2 * USEC_PER_MSEC, count_period, &test));
    loop_run(test.loop);
    ck_assert_int_eq(test.count, 3);
    ck_assert_int_ge(clock_monotonic() - before, 6 * USEC_PER_MSEC);
}
END_TEST

static void *stop_from_outside(void *argument)
{
    loop_stop(argument);
    return NULL;
}

START_TEST(another_thread_stops_a_loop_that_waits)
{
    pthread_t thread;

    pthread_create(&thread, NULL, stop_from_outside, test.loop);
    loop_run(test.loop);
    pthread_join(thread, NULL);
    ck_assert(test.loop->mailbox.is_closed);
}
END_TEST

START_TEST(a_turn_reads_the_clock_and_leaves_its_mark_for_the_watchdog)
{
    struct step step = step_of('x');
    usec_t before = clock_monotonic();

    step.is_last = true;
    loop_again(test.loop, &step.task);
    loop_run(test.loop);
    ck_assert_int_ge(test.loop->now, before);
    ck_assert_int_eq(atomic_load(&test.loop->last_turn), test.loop->now);
}
END_TEST

START_TEST(destroying_nothing_is_fine)
{
    loop_destroy(NULL);
}
END_TEST

Suite *suite_net_loop(void)
{
    Suite *suite = suite_create("net/loop");
    TCase *cases = tcase_create("loop");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, the_end_of_a_turn_keeps_its_order);
    tcase_add_test(cases, what_deadlines_cause_is_granted_and_written_in_the_same_turn);
    tcase_add_test(cases, a_grant_caused_by_a_write_runs_before_the_turn_ends);
    tcase_add_test(cases, again_runs_in_the_next_turn_which_does_not_wait);
    tcase_add_test(cases, a_task_is_queued_once);
    tcase_add_test(cases, a_task_can_be_cancelled_by_the_one_before_it);
    tcase_add_test(cases, a_task_of_each_list_can_be_cancelled);
    tcase_add_test(cases, a_blocked_signal_arrives_on_the_loop);
    tcase_add_test(cases, a_periodic_call_comes_again_and_again);
    tcase_add_test(cases, another_thread_stops_a_loop_that_waits);
    tcase_add_test(cases, a_turn_reads_the_clock_and_leaves_its_mark_for_the_watchdog);
    tcase_add_test(cases, destroying_nothing_is_fine);
    suite_add_tcase(suite, cases);
    return suite;
}
