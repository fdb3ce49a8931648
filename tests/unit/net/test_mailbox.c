#include <check.h>
#include <pthread.h>
#include <stddef.h>

#include "net/loop.h"
#include "net/mailbox.h"

Suite *suite_net_mailbox(void);

#define SENDERS          4
#define MAILS_PER_SENDER 20000
#define ROUND_TRIPS      2000

struct numbered_mail {
    struct mail mail; /* first */
    int sender, number;
};

struct reception {
    struct loop *loop;
    int next[SENDERS]; /* the number that each sender's next mail must have */
    int count, out_of_order;
};

static struct reception reception;
static struct numbered_mail mails[SENDERS][MAILS_PER_SENDER];

static void receive(struct mail *mail, struct loop *loop)
{
    struct numbered_mail *numbered = (struct numbered_mail *)mail;

    if (numbered->number != reception.next[numbered->sender]++)
        reception.out_of_order++;
    if (++reception.count == SENDERS * MAILS_PER_SENDER)
        loop_stop(loop);
}

static void *send_all(void *argument)
{
    struct numbered_mail *own = argument;

    for (int i = 0; i < MAILS_PER_SENDER; i++)
        loop_post(reception.loop, &own[i].mail);
    return NULL;
}

START_TEST(mail_of_many_threads_arrives_complete_and_in_each_senders_order)
{
    pthread_t threads[SENDERS];

    reception = (struct reception){.loop = loop_create(NULL)};
    for (int sender = 0; sender < SENDERS; sender++) {
        for (int i = 0; i < MAILS_PER_SENDER; i++)
            mails[sender][i] = (struct numbered_mail){{.deliver = receive}, sender, i};
        pthread_create(&threads[sender], NULL, send_all, mails[sender]);
    }
    loop_run(reception.loop);
    for (int sender = 0; sender < SENDERS; sender++)
        pthread_join(threads[sender], NULL);
    ck_assert_int_eq(reception.count, SENDERS * MAILS_PER_SENDER);
    ck_assert_int_eq(reception.out_of_order, 0);
    loop_destroy(reception.loop);
}
END_TEST

/* One mail that travels between two loops: each time the receiver sleeps, so that a wake-up that is
 * lost hangs the test. */
struct ball {
    struct mail mail; /* first */
    struct loop *loops[2];
    int travels;
};

static void pass_back(struct mail *mail, struct loop *loop)
{
    struct ball *ball = (struct ball *)mail;

    if (++ball->travels >= ROUND_TRIPS) {
        loop_stop(ball->loops[0]);
        loop_stop(ball->loops[1]);
        return;
    }
    loop_post(ball->loops[loop == ball->loops[0] ? 1 : 0], mail);
}

static void *run_loop(void *argument)
{
    loop_run(argument);
    return NULL;
}

START_TEST(a_sleeping_loop_is_always_woken)
{
    struct ball ball = {.mail = {.deliver = pass_back},
                        .loops = {loop_create(NULL), loop_create(NULL)}};
    pthread_t threads[2];

    loop_post(ball.loops[0], &ball.mail);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, run_loop, ball.loops[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(ball.travels, ROUND_TRIPS);
    for (int i = 0; i < 2; i++)
        loop_destroy(ball.loops[i]);
}
END_TEST

static void post_again_or_stop(struct mail *mail, struct loop *loop)
{
    struct numbered_mail *numbered = (struct numbered_mail *)mail;

    reception.next[0] = (int)loop->turns;
    if (numbered->number++ == 0)
        reception.next[1] = (int)loop->turns;
    if (numbered->number == 2)
        loop_stop(loop);
    else
        loop_post(loop, mail);
}

START_TEST(mail_posted_while_delivering_waits_for_the_next_turn)
{
    struct numbered_mail mail = {.mail = {.deliver = post_again_or_stop}};
    struct loop *loop = loop_create(NULL);

    loop_post(loop, &mail.mail);
    loop_run(loop);
    ck_assert_int_gt(reception.next[0], reception.next[1]);
    loop_destroy(loop);
}
END_TEST

Suite *suite_net_mailbox(void)
{
    Suite *suite = suite_create("net/mailbox");
    TCase *cases = tcase_create("mailbox");

    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, mail_of_many_threads_arrives_complete_and_in_each_senders_order);
    tcase_add_test(cases, a_sleeping_loop_is_always_woken);
    tcase_add_test(cases, mail_posted_while_delivering_waits_for_the_next_turn);
    suite_add_tcase(suite, cases);
    return suite;
}
