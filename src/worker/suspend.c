/* SUSPEND (COMPAT 5.4): nothing is accepted any more and nothing read from clients; who ordered it
 * is answered when all that was to be sent is sent, or after suspend_timeout, which closes who does
 * not take it. RESUME lets all go on. Decided on worker 0, which asks every worker in rounds. */
#include "base/memory.h"
#include "worker_private.h"

enum step { STEP_HOLD, STEP_LOOK, STEP_CLOSE, STEP_LET_GO };

struct suspend_part {
    struct mail mail;
    struct suspend *suspend;
    struct worker *worker;
    enum step step;
};

/* Worker 0's, but for the counters of a round. */
struct suspend {
    struct workers *workers;
    struct control_wait *wait; /* who is to be answered; NULL: nobody */
    usec_t deadline;           /* of the answer; 0: none */
    struct mail round_mail;
    bool is_asking; /* a round is under way */
    bool is_due;    /* what holds now has not been told to the workers */
    _Atomic int left, unsent;
    struct suspend_part parts[];
};

struct suspend *suspend_create(struct workers *workers)
{
    size_t count = (size_t)workers->count;
    struct suspend *suspend = memory_zalloc(sizeof(*suspend) + count * sizeof(suspend->parts[0]));
    if (suspend)
        suspend->workers = workers;
    return suspend;
}

void suspend_destroy(struct suspend *suspend)
{
    if (suspend && suspend->wait)
        suspend->wait->done(suspend->wait);
    memory_free(suspend);
}

static void answer(struct suspend *suspend)
{
    struct control_wait *wait = suspend->wait;
    suspend->wait = NULL;
    if (wait)
        control_wait_answer(wait);
}

static void round_is_over(struct mail *mail, struct loop *loop)
{
    struct suspend *suspend =
        (struct suspend *)((char *)mail - offsetof(struct suspend, round_mail));
    (void)loop;
    suspend->is_asking = false;
    if (atomic_load(&suspend->unsent) == 0 && !suspend->is_due)
        answer(suspend);
}

static void take_step(struct mail *mail, struct loop *loop)
{
    struct suspend_part *part =
        (struct suspend_part *)((char *)mail - offsetof(struct suspend_part, mail));
    struct suspend *suspend = part->suspend;
    struct worker *worker = part->worker;
    (void)loop;
    if (part->step == STEP_LET_GO) {
        client_set_let_go(&worker->clients);
    } else {
        bool close = part->step == STEP_CLOSE;
        if (part->step == STEP_HOLD)
            client_set_hold(&worker->clients);
        atomic_fetch_add(&suspend->unsent, client_set_unsent(&worker->clients, close) +
                                               server_set_unsent(&worker->servers, close));
    }
    if (atomic_fetch_sub(&suspend->left, 1) == 1) {
        suspend->round_mail.deliver = round_is_over;
        loop_post(suspend->workers->array[0].loop, &suspend->round_mail);
    }
}

static void begin_round(struct suspend *suspend, enum step step)
{
    struct workers *workers = suspend->workers;
    suspend->is_asking = true;
    atomic_store(&suspend->unsent, 0);
    atomic_store(&suspend->left, workers->count);
    for (int i = 0; i < workers->count; i++) {
        suspend->parts[i] = (struct suspend_part){.mail.deliver = take_step,
                                                  .suspend = suspend,
                                                  .worker = &workers->array[i],
                                                  .step = step};
        loop_post(workers->array[i].loop, &suspend->parts[i].mail);
    }
}

void suspend_look(struct workers *workers)
{
    struct suspend *suspend = workers->suspend;
    bool is_suspended = atomic_load(&workers->shared.is_suspended);
    if (is_suspended && client_count_of_database(workers->shared.counts, "pgbouncer") == 0) {
        log_info(NULL, "admin disappeared when suspended, doing RESUME");
        control_end_suspend(workers);
    }
    if (suspend->is_asking)
        return;
    if (suspend->is_due) {
        suspend->is_due = false;
        begin_round(suspend, is_suspended ? STEP_HOLD : STEP_LET_GO);
    } else if (suspend->wait) {
        usec_t now = loop_now(workers->array[0].loop);
        bool is_late = suspend->deadline > 0 && suspend->deadline <= now;
        begin_round(suspend, is_late ? STEP_CLOSE : STEP_LOOK);
    }
}

/* On its way to worker 0. */
struct suspend_order {
    struct mail mail;
    struct suspend *suspend;
    struct control_wait *wait; /* NULL: the end */
};

static void begin(struct suspend *suspend, struct control_wait *wait)
{
    usec_t timeout = suspend->workers->config->settings.suspend_timeout;
    suspend->wait = wait;
    suspend->deadline = timeout > 0 ? loop_now(suspend->workers->array[0].loop) + timeout : 0;
    acceptor_pause(suspend->workers->acceptor, true);
}

static void end(struct suspend *suspend)
{
    acceptor_pause(suspend->workers->acceptor, false);
    answer(suspend);
}

static void obey(struct mail *mail, struct loop *loop)
{
    struct suspend_order *order =
        (struct suspend_order *)((char *)mail - offsetof(struct suspend_order, mail));
    struct suspend *suspend = order->suspend;
    (void)loop;
    if (order->wait)
        begin(suspend, order->wait);
    else
        end(suspend);
    memory_free(order);
    suspend->is_due = true;
    suspend_look(suspend->workers);
}

static void send_order(struct workers *workers, struct suspend_order *order,
                       struct control_wait *wait)
{
    *order =
        (struct suspend_order){.mail.deliver = obey, .suspend = workers->suspend, .wait = wait};
    loop_post(workers->array[0].loop, &order->mail);
}

enum suspend_verdict control_suspend(struct workers *workers, struct control_wait *wait)
{
    struct suspend_order *order = memory_zalloc(sizeof(*order));
    if (!order)
        return SUSPEND_NO_MEMORY;
    if (atomic_exchange(&workers->shared.is_suspended, true)) {
        memory_free(order);
        return SUSPEND_ALREADY;
    }
    send_order(workers, order, wait);
    return SUSPEND_BEGUN;
}

bool control_end_suspend(struct workers *workers)
{
    struct suspend_order *order = memory_zalloc(sizeof(*order));
    if (!order || !atomic_exchange(&workers->shared.is_suspended, false)) {
        memory_free(order);
        return false;
    }
    send_order(workers, order, NULL);
    return true;
}
