/* systemd's notifications (sd_notify(3)); nothing where libsystemd is not built in. COMPAT 6.5. */
#include <stdio.h>
#include <stdlib.h>

#include "worker_private.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

int service_manager_sockets(char names[][SERVICE_MANAGER_NAME_MAX + 1], int max)
{
    char **list = NULL;
    int count = sd_listen_fds_with_names(1, &list);
    for (int i = 0; list && i < count; i++) {
        if (i < max)
            snprintf(names[i], SERVICE_MANAGER_NAME_MAX + 1, "%s", list[i]);
        free(list[i]); /* sd_listen_fds_with_names(3): malloc's */
    }
    free(list);
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
int service_manager_sockets(char names[][SERVICE_MANAGER_NAME_MAX + 1], int max)
{
    (void)names;
    (void)max;
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
