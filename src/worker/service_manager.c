/* systemd's notifications (sd_notify(3)); nothing where libsystemd is not built in. COMPAT 6.5. */
#include "worker_private.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

int service_manager_sockets(void)
{
    int count = sd_listen_fds(1);
    return count > 0 ? count : 0;
}

void service_manager_ready(void)
{
    sd_notify(0, "READY=1");
}

void service_manager_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void service_manager_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic());
}

void service_manager_status(const char *text)
{
    sd_notifyf(0, "STATUS=%s", text);
}
#else
int service_manager_sockets(void)
{
    return 0;
}

void service_manager_ready(void) {}

void service_manager_stopping(void) {}

void service_manager_reloading(void) {}

void service_manager_status(const char *text)
{
    (void)text;
}
#endif
