/* loop: the machinery of one thread: base, clock, buffers, tasks, deadlines, mailbox.
 *
 * A turn (MECHANISMS §1.1): wait once in libevent, where callbacks only read and parse; run the
 * tasks that were put off to this turn (loop_again); then the end of the turn, always in this
 * order: mailbox, LOOP_GRANT tasks, LOOP_WRITE tasks (one gathered write per stream), deadlines,
 * LOOP_GRANT and LOOP_WRITE again while there are any (what deadlines and writes caused), LOOP_FREE
 * tasks. While anything is put off to the next turn the wait is 0. There is one timer per loop, for
 * the earliest deadline: a timerfd of our own that is set only when it must ring earlier than
 * before, because libevent's precise timer costs a system call each turn. The clock is read once
 * after the wait, by whatever callback of libevent comes first (loop_wake).
 *
 * A loop belongs to one thread. Only loop_post (mailbox.h), loop_stop and the atomics may be
 * touched by others.
 */
#pragma once
#include <sys/queue.h>

#include "base/clock.h"
#include "base/error.h"
#include "net/buffer.h"
#include "net/mailbox.h"

struct event_base;
struct event;
struct stream;

enum loop_phase { LOOP_GRANT, LOOP_WRITE, LOOP_FREE, LOOP_PHASES };

/* Something to do later in this turn, or in the next; embedded in its owner, zero-initialised.
 * Queued at most once. */
struct loop_task {
    void (*run)(struct loop_task *task);
    STAILQ_ENTRY(loop_task) link;
    bool is_queued;
};
STAILQ_HEAD(loop_tasks, loop_task);
struct deadline_list;
TAILQ_HEAD(deadline_lists, deadline_list);

struct loop {
    struct event_base *base;
    usec_t now; /* the turn's clock */
    struct loop_tasks tasks[LOOP_PHASES];
    struct loop_tasks again;   /* for the next turn */
    struct loop_tasks running; /* those that were put off to this one */
    struct buffer_list buffers;
    SLIST_HEAD(, buffer)
    spent; /* of streams that closed or moved while output of this turn pointed into them */
    struct arena arena; /* small bytes that live until the end of the turn */
    struct deadline_lists deadlines;
    struct mailbox mailbox;
    struct event *mailbox_event, *timer;
    usec_t timer_at; /* what the timer is set for; 0: not set */
    usec_t earliest; /* no deadline is due before; 0: there is none */
    bool is_waiting; /* in the wait, or after it with the clock not read yet */
    _Atomic bool must_stop;
    uint64_t turns;
    _Atomic int64_t last_turn;          /* monotonic usec: for the watchdog */
    uint8_t *tls_staging;               /* 16 KiB: spans are gathered here for one TLS record */
    struct stream_output *free_outputs; /* of net/stream */
    int free_output_count;
    struct stream *
        current; /* of net/stream: whose event is being called; NULL when it closed or left in it */
    int lent_streams;             /* of net/stream: whose input this turn's output points into */
    int handshake_steps;          /* of net/stream: in this turn */
    struct deadline_list *doubts; /* of net/stream */
    uint64_t idle_wakeups;        /* MECHANISMS §1.5 */
};

/* NULL: no memory, no descriptors, or a system without edge-triggered events. */
struct loop *loop_create(struct error *error);
void loop_destroy(struct loop *loop); /* NULL is fine; everything on it must be gone */

/* Turns until loop_stop. On the loop's thread. */
void loop_run(struct loop *loop);
/* Ends loop_run after the turn. Any thread. */
void loop_stop(struct loop *loop);

/* The turn's clock. */
static inline usec_t loop_now(const struct loop *loop)
{
    return loop->is_waiting ? clock_monotonic() : loop->now;
}
/* Every callback of libevent begins with this: the first one of a turn reads the clock. */
static inline void loop_wake(struct loop *loop)
{
    if (!loop->is_waiting)
        return;
    loop->is_waiting = false;
    loop->now = clock_monotonic();
}

/* Runs `task` at the end of this turn (or of the one that is at its end, if the phase is not over:
 * a task queued by a later phase runs before the turn ends). LOOP_FREE tasks run last. */
static inline void loop_defer(struct loop *loop, enum loop_phase phase, struct loop_task *task)
{
    if (task->is_queued)
        return;
    task->is_queued = true;
    STAILQ_INSERT_TAIL(&loop->tasks[phase], task, link);
}
/* Runs `task` early in the next turn, which does not wait. */
static inline void loop_again(struct loop *loop, struct loop_task *task)
{
    if (task->is_queued)
        return;
    task->is_queued = true;
    STAILQ_INSERT_TAIL(&loop->again, task, link);
}
/* Takes a task back, wherever it is queued (walks the lists: only for closing). */
void loop_cancel_task(struct loop *loop, struct loop_task *task);

/* Calls `call` on this loop's thread when `signal_number` arrives, and unblocks it there (it is to
 * be blocked before any thread starts). Worker 0 only; freed with the loop. */
bool loop_add_signal(struct loop *loop, int signal_number, void (*call)(int, void *),
                     void *argument);

/* Calls `call` every `period` (coarse); freed with the loop. */
bool loop_add_periodic(struct loop *loop, usec_t period, void (*call)(void *), void *argument);

/* "2.1.12-stable". */
const char *loop_library_version(void);
