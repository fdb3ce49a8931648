/* How descriptors are shared out where the system allows too few of them: those who have not logged
 * in get an eighth, servers a quarter, logged-in clients the rest. Where there are enough, the
 * settings alone decide. */
#include <sys/resource.h>

#include "worker_private.h"

/* Log, files, listeners, HTTP; and what each thread has of its own. */
#define OWN_DESCRIPTORS    96
#define THREAD_DESCRIPTORS 8

static long least(long a, long b)
{
    return a < b ? a : b;
}

void descriptors_share(struct workers *workers)
{
    const struct settings *settings = &workers->config->settings;
    long clients = settings->max_client_conn, strangers = settings->max_login_clients;
    struct rlimit limit;

    workers->login_ceiling = 0;
    atomic_store(&workers->shared.client_ceiling, 0);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX)
        return;
    long whole = (long)limit.rlim_cur - OWN_DESCRIPTORS - THREAD_DESCRIPTORS * workers->count;
    long servers = least(whole / 4, 4L * settings->default_pool_size);
    if (clients + strangers + servers <= whole)
        return;
    long login = least(strangers, whole / 8 > 8 ? whole / 8 : 8);
    long inside = least(clients, whole - login - servers > 1 ? whole - login - servers : 1);
    workers->login_ceiling = (int)login;
    atomic_store(&workers->shared.client_ceiling, (int)inside);
    log_warning(NULL,
                "the limit of %lld open files is too low for max_client_conn=%ld and "
                "max_login_clients=%ld: at most %ld clients are let in, and %ld may be logging in. "
                "HINT: raise LimitNOFILE of the service, or ulimit -n.",
                (long long)limit.rlim_cur, clients, strangers, inside, login);
}
