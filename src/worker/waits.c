/* Who waits for servers to end: PAUSE and WAIT_CLOSE (COMPAT 5.4). By the pools' counters, never by
 * walking the workers' lists (MECHANISMS §2.8). */
#include "worker_private.h"

static struct control_wait *wait_of_mail(struct mail *mail)
{
    return (struct control_wait *)((char *)mail - offsetof(struct control_wait, mail));
}

static void tell(struct mail *mail, struct loop *loop)
{
    struct control_wait *wait = wait_of_mail(mail);
    (void)loop;
    wait->done(wait);
}

void control_wait_answer(struct control_wait *wait)
{
    wait->mail.deliver = tell;
    loop_post(wait->loop, &wait->mail);
}

static bool is_over(struct workers *workers, const struct control_wait *wait)
{
    struct registry *registry = workers->shared.registry;
    const char *database = wait->database[0] ? wait->database : NULL;
    if (registry_servers(registry, database, wait->outdated) == 0)
        return true;
    return !wait->outdated && !registry_is_paused(registry, database);
}

void waits_look(struct workers *workers, bool at_end)
{
    struct control_wait *wait, *next;
    for (wait = TAILQ_FIRST(&workers->waits); wait; wait = next) {
        next = TAILQ_NEXT(wait, link);
        if (!at_end && !is_over(workers, wait))
            continue;
        TAILQ_REMOVE(&workers->waits, wait, link);
        if (at_end)
            wait->done(wait);
        else
            control_wait_answer(wait);
    }
}

static void arrive(struct mail *mail, struct loop *loop)
{
    struct control_wait *wait = wait_of_mail(mail);
    (void)loop;
    TAILQ_INSERT_TAIL(&wait->workers->waits, wait, link);
    waits_look(wait->workers, false);
}

void control_wait(struct workers *workers, struct control_wait *wait)
{
    wait->workers = workers;
    wait->mail.deliver = arrive;
    loop_post(workers->array[0].loop, &wait->mail);
}

void control_pause_signal(struct workers *workers)
{
    if (atomic_load(&workers->shared.is_suspended) ||
        registry_pause(workers->shared.registry, NULL, true) != REGISTRY_DONE) {
        log_info(NULL, "got SIGUSR1, but already paused/suspended");
        return;
    }
    log_info(NULL, "got SIGUSR1, pausing all activity");
    control_sweep(workers);
}

void control_resume_signal(struct workers *workers)
{
    if (atomic_load(&workers->shared.shutdown) != SHUTDOWN_NO)
        log_info(NULL, "got SIGUSR2 while shutting down, ignoring");
    else if (control_end_suspend(workers))
        log_info(NULL, "got SIGUSR2, continuing from SUSPEND");
    else if (registry_pause(workers->shared.registry, NULL, false) != REGISTRY_DONE)
        log_info(NULL, "got SIGUSR2, but not paused/suspended");
    else
        log_info(NULL, "got SIGUSR2, continuing from PAUSE");
}
