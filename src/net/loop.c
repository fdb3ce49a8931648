#include "net/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/deadline.h"
#include "spans.h"

#define TLS_STAGING_SIZE 16384

struct loop_signal {
    struct loop *loop;
    struct event *event;
    void (*call)(int, void *);
    void *argument;
    SLIST_ENTRY(loop_signal) link;
};

struct loop_periodic {
    struct deadline deadline;
    usec_t period;
    void (*call)(void *);
    void *argument;
    SLIST_ENTRY(loop_periodic) link;
};

/* What nobody outside needs to see. */
struct loop_private {
    struct loop loop; /* first: loop_create returns its address */
    int timerfd;
    SLIST_HEAD(, loop_signal) signals;
    SLIST_HEAD(, loop_periodic) periodics;
    struct deadline_list periodic_deadlines;
};

static struct loop_private *private_of(struct loop *loop)
{
    return (struct loop_private *)loop;
}

static void on_mailbox(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    loop_wake(argument);
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    struct loop *loop = argument;

    (void)fd;
    (void)what;
    loop_wake(loop);
    loop->timer_at = 0;
}

static void on_periodic(struct deadline *deadline, struct deadline_list *list)
{
    struct loop_periodic *periodic = (struct loop_periodic *)deadline; /* its first field */

    deadline_set(list, deadline, loop_now(list->loop) + periodic->period);
    periodic->call(periodic->argument);
}

/* Bases that libevent need not lock (each is used by its own thread), that read no clock (the loop
 * does, and the timer is a timerfd), and whose back end is epoll whatever the environment says. */
static struct event_base *create_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config == NULL)
        return NULL;
    if (event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME |
                                          EVENT_BASE_FLAG_IGNORE_ENV) == 0)
        base = event_base_new_with_config(config);
    event_config_free(config);
    if (base != NULL) {
        int features = event_base_get_features(base);
        assert((features & EV_FEATURE_ET) != 0 && (features & EV_FEATURE_EARLY_CLOSE) != 0);
    }
    return base;
}

static struct event *add_event(struct loop *loop, int fd, event_callback_fn callback)
{
    struct event *event = event_new(loop->base, fd, EV_READ | EV_ET | EV_PERSIST, callback, loop);

    if (event != NULL && event_add(event, NULL) != 0) {
        event_free(event);
        return NULL;
    }
    return event;
}

static bool open_descriptors(struct loop_private *private)
{
    struct loop *loop = &private->loop;

    if (!mailbox_init(&loop->mailbox))
        return false;
    private->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (private->timerfd < 0)
        return false;
    errno = ENOMEM; /* what the following fail with, unless they say otherwise */
    loop->base = create_base();
    if (loop->base == NULL)
        return false;
    loop->mailbox_event = add_event(loop, loop->mailbox.eventfd, on_mailbox);
    loop->timer = add_event(loop, private->timerfd, on_timer);
    loop->tls_staging = memory_zalloc(TLS_STAGING_SIZE);
    return loop->mailbox_event != NULL && loop->timer != NULL && loop->tls_staging != NULL;
}

struct loop *loop_create(struct error *error)
{
    struct loop_private *private = memory_zalloc(sizeof(*private));

    if (private == NULL) {
        error_set(error, SQLSTATE_OUT_OF_MEMORY, "cannot make an event loop: out of memory");
        return NULL;
    }
    struct loop *loop = &private->loop;
    for (int phase = 0; phase < LOOP_PHASES; phase++)
        STAILQ_INIT(&loop->tasks[phase]);
    STAILQ_INIT(&loop->again);
    STAILQ_INIT(&loop->running);
    TAILQ_INIT(&loop->deadlines);
    private->timerfd = -1;
    loop->mailbox.eventfd = -1;
    loop->is_waiting = true;
    deadline_list_init(&private->periodic_deadlines, loop, on_periodic, loop);
    if (!open_descriptors(private)) {
        error_set(error, SQLSTATE_INTERNAL_ERROR, "cannot make an event loop: %s", strerror(errno));
        loop_destroy(loop);
        return NULL;
    }
    atomic_store(&loop->last_turn, clock_monotonic());
    return loop;
}

static void free_event(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

void loop_destroy(struct loop *loop)
{
    if (loop == NULL)
        return;
    struct loop_private *private = private_of(loop);
    struct loop_signal *signal_entry;
    struct loop_periodic *periodic;

    while ((signal_entry = SLIST_FIRST(&private->signals)) != NULL) {
        SLIST_REMOVE_HEAD(&private->signals, link);
        event_free(signal_entry->event);
        memory_free(signal_entry);
    }
    deadline_list_finish(&private->periodic_deadlines);
    while ((periodic = SLIST_FIRST(&private->periodics)) != NULL) {
        SLIST_REMOVE_HEAD(&private->periodics, link);
        memory_free(periodic);
    }
    if (loop->doubts != NULL)
        deadline_list_finish(loop->doubts);
    memory_free(loop->doubts);
    free_event(loop->mailbox_event);
    free_event(loop->timer);
    if (loop->base != NULL)
        event_base_free(loop->base);
    mailbox_finish(&loop->mailbox);
    if (private->timerfd >= 0)
        close(private->timerfd);
    outputs_finish(&loop->free_outputs);
    buffer_list_finish(&loop->buffers);
    arena_finish(&loop->arena);
    if (loop->tls_staging != NULL)
        memory_wipe(loop->tls_staging, TLS_STAGING_SIZE);
    memory_free(loop->tls_staging);
    memory_free(private);
}

static void run_tasks(struct loop_tasks *tasks)
{
    struct loop_task *task;

    while ((task = STAILQ_FIRST(tasks)) != NULL) {
        STAILQ_REMOVE_HEAD(tasks, link);
        task->is_queued = false;
        task->run(task);
    }
}

static bool has_grants_or_writes(const struct loop *loop)
{
    return !STAILQ_EMPTY(&loop->tasks[LOOP_GRANT]) || !STAILQ_EMPTY(&loop->tasks[LOOP_WRITE]);
}

static void run_grants_and_writes(struct loop *loop)
{
    while (has_grants_or_writes(loop)) {
        run_tasks(&loop->tasks[LOOP_GRANT]);
        run_tasks(&loop->tasks[LOOP_WRITE]);
    }
}

static void set_timer(struct loop *loop)
{
    if (loop->earliest == 0 || (loop->timer_at != 0 && loop->timer_at <= loop->earliest))
        return;
    struct itimerspec when = {
        .it_value = {.tv_sec = loop->earliest / USEC_PER_SEC,
                     .tv_nsec = loop->earliest % USEC_PER_SEC * 1000},
    };
    if (timerfd_settime(private_of(loop)->timerfd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        loop->timer_at = loop->earliest;
}

static void end_turn(struct loop *loop)
{
    struct buffer *buffer;

    mailbox_deliver(&loop->mailbox, loop);
    run_grants_and_writes(loop);
    if (loop->earliest != 0 && loop->earliest <= loop->now) {
        deadlines_run(loop);
        run_grants_and_writes(loop);
    }
    while (!STAILQ_EMPTY(&loop->tasks[LOOP_FREE])) {
        run_tasks(&loop->tasks[LOOP_FREE]);
        run_grants_and_writes(loop);
    }
    while ((buffer = SLIST_FIRST(&loop->spent)) != NULL) {
        SLIST_REMOVE_HEAD(&loop->spent, link);
        buffer_return(&loop->buffers, buffer);
    }
    arena_reset(&loop->arena);
#ifdef PGWEIR_DEBUG_CHECKS
    assert(loop->lent_streams == 0);
    assert(loop->arena.used == 0);
    assert(!has_grants_or_writes(loop) && STAILQ_EMPTY(&loop->tasks[LOOP_FREE]));
    assert(STAILQ_EMPTY(&loop->running));
#endif
}

void loop_run(struct loop *loop)
{
    atomic_store(&loop->mailbox.is_closed, false);
    /* Who posted while nobody ran may not have rung. */
    if (atomic_load(&loop->mailbox.stack) != NULL)
        mailbox_wake(&loop->mailbox);
    while (!atomic_load_explicit(&loop->must_stop, memory_order_acquire)) {
        /* Taken before the wait: what is put off during this turn's callbacks belongs to the next.
         */
        STAILQ_CONCAT(&loop->running, &loop->again);
        int flags = STAILQ_EMPTY(&loop->running) ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK;
        loop->is_waiting = true;
        loop->handshake_steps = 0;
        loop->turns++;
        set_timer(loop);
        if (event_base_loop(loop->base, flags) < 0)
            abort(); /* epoll itself is broken: nothing would ever be noticed any more */
        loop_wake(loop);
        atomic_store_explicit(&loop->last_turn, loop->now, memory_order_relaxed);
        run_tasks(&loop->running);
        end_turn(loop);
    }
    loop->is_waiting = true;
    atomic_store(&loop->mailbox.is_closed, true);
    atomic_store(&loop->must_stop, false);
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->must_stop, true, memory_order_release);
    mailbox_wake(&loop->mailbox);
}

static bool take_from(struct loop_tasks *tasks, struct loop_task *task)
{
    struct loop_task *other;

    STAILQ_FOREACH (other, tasks, link) {
        if (other != task)
            continue;
        STAILQ_REMOVE(tasks, task, loop_task, link);
        task->is_queued = false;
        return true;
    }
    return false;
}

void loop_cancel_task(struct loop *loop, struct loop_task *task)
{
    if (!task->is_queued || take_from(&loop->running, task) || take_from(&loop->again, task))
        return;
    for (int phase = 0; phase < LOOP_PHASES; phase++)
        if (take_from(&loop->tasks[phase], task))
            return;
}

static void on_signal(evutil_socket_t signal_number, short what, void *argument)
{
    struct loop_signal *entry = argument;

    (void)what;
    loop_wake(entry->loop);
    entry->call((int)signal_number, entry->argument);
}

bool loop_add_signal(struct loop *loop, int signal_number, void (*call)(int, void *),
                     void *argument)
{
    struct loop_signal *entry = memory_zalloc(sizeof(*entry));
    sigset_t only;

    if (entry == NULL)
        return false;
    *entry = (struct loop_signal){.loop = loop, .call = call, .argument = argument};
    entry->event = evsignal_new(loop->base, signal_number, on_signal, entry);
    if (entry->event == NULL || evsignal_add(entry->event, NULL) != 0) {
        free_event(entry->event);
        memory_free(entry);
        return false;
    }
    SLIST_INSERT_HEAD(&private_of(loop)->signals, entry, link);
    sigemptyset(&only);
    sigaddset(&only, signal_number);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    return true;
}

bool loop_add_periodic(struct loop *loop, usec_t period, void (*call)(void *), void *argument)
{
    struct loop_periodic *periodic = memory_zalloc(sizeof(*periodic));

    if (periodic == NULL)
        return false;
    periodic->period = period;
    periodic->call = call;
    periodic->argument = argument;
    SLIST_INSERT_HEAD(&private_of(loop)->periodics, periodic, link);
    deadline_set(&private_of(loop)->periodic_deadlines, &periodic->deadline,
                 loop_now(loop) + period);
    return true;
}

const char *loop_library_version(void)
{
    return event_get_version();
}
