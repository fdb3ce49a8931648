/* Signals are orders of the operator (COMPAT 6.4); they arrive on worker 0's loop. */
#include <signal.h>

#include "main_private.h"
#include "worker/control.h"

static bool is_shutting_down(struct workers *workers)
{
    return atomic_load(&workers->shared.shutdown) != SHUTDOWN_NO;
}

/* Neither half of a takeover goes on by itself. */
static bool is_in_suspend(struct workers *workers)
{
    if (!atomic_load(&workers->shared.is_suspended))
        return false;
    log_fatal("suspend was in progress, going down immediately");
    workers->has_failed = true;
    control_shutdown(workers, SHUTDOWN_NO, true);
    return true;
}

static void on_hup(int number, void *argument)
{
    (void)number;
    log_info(NULL, "got SIGHUP, re-reading config");
    control_reload_signal(argument);
}

static void on_term(int number, void *argument)
{
    struct workers *workers = argument;
    (void)number;
    if (is_in_suspend(workers))
        return;
    bool again = is_shutting_down(workers);
    log_info(NULL, again ? "got SIGTERM while shutting down, fast exit"
                         : "got SIGTERM, shutting down, waiting for all clients disconnect");
    control_shutdown(workers, SHUTDOWN_WAIT_FOR_CLIENTS, again);
}

static void on_int(int number, void *argument)
{
    struct workers *workers = argument;
    (void)number;
    if (is_in_suspend(workers))
        return;
    bool again = is_shutting_down(workers);
    log_info(NULL,
             again
                 ? "got SIGINT while shutting down, fast exit"
                 : "got SIGINT, shutting down, waiting for all servers connections to be released");
    control_shutdown(workers, SHUTDOWN_WAIT_FOR_SERVERS, again);
}

static void on_quit(int number, void *argument)
{
    (void)number;
    log_info(NULL, "got SIGQUIT, fast exit");
    control_shutdown(argument, SHUTDOWN_NO, true);
}

static void on_usr(int number, void *argument)
{
    if (number == SIGUSR1)
        control_pause_signal(argument);
    else
        control_resume_signal(argument);
}

static const struct {
    int number;
    void (*call)(int, void *);
} orders[] = {
    {SIGHUP, on_hup},   {SIGTERM, on_term}, {SIGINT, on_int},
    {SIGQUIT, on_quit}, {SIGUSR1, on_usr},  {SIGUSR2, on_usr},
};
#define ORDER_COUNT (sizeof(orders) / sizeof(orders[0]))

void signals_block(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ORDER_COUNT; i++)
        sigaddset(&set, orders[i].number);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

bool signals_install(struct workers *workers)
{
    for (size_t i = 0; i < ORDER_COUNT; i++)
        if (!loop_add_signal(workers->array[0].loop, orders[i].number, orders[i].call, workers))
            return false;
    return true;
}
