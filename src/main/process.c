/* The process: its user, pid file, limits. COMPAT 6.1-6.3. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "main_private.h"

#define FILES_BESIDES 4096 /* for servers, and our own */

static bool become(const char *name)
{
    const struct passwd *user = getpwnam(name);
    if (!user) {
        log_fatal("could not find user '%s' to switch to", name);
        return false;
    }
    if (getuid() == user->pw_uid && geteuid() == user->pw_uid)
        return true;
    if (initgroups(name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0) {
        log_fatal("failed to change to user '%s': %s", name, strerror(errno));
        return false;
    }
    return true;
}

bool process_switch_user(const char *name)
{
    if (name && *name && !become(name))
        return false;
    if (getuid() != 0 && geteuid() != 0)
        return true;
    log_fatal(
        "PgBouncer should not run as root: name another user with -u, or with the setting user");
    return false;
}

/* The process named in the file; 0: none lives; -1: cannot tell. */
static long living_process(int fd)
{
    char text[32] = "";
    ssize_t size = read(fd, text, sizeof(text) - 1);
    char *end;
    long pid = size > 0 ? strtol(text, &end, 10) : 0;
    if (pid <= 0)
        return -1;
    return kill((pid_t)pid, 0) == 0 || errno != ESRCH ? pid : 0;
}

bool process_pidfile_check(const char *path)
{
    if (!path || !*path)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0) {
        log_fatal("could not open pidfile '%s': %s", path, strerror(errno));
        return false;
    }
    long pid = living_process(fd);
    close(fd);
    if (pid != 0) {
        log_fatal("pidfile '%s' exists, another instance running?", path);
        return false;
    }
    log_info(NULL, "stale pidfile, removing");
    if (unlink(path) == 0)
        return true;
    log_fatal("could not remove stale pidfile: %s", strerror(errno));
    return false;
}

bool process_pidfile_write(const char *path)
{
    if (!path || !*path)
        return true;
    char text[32];
    int size = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, text, (size_t)size) == size;
    if (!ok)
        log_fatal("could not write pidfile '%s': %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

void process_pidfile_remove(const char *path)
{
    if (path && *path)
        unlink(path);
}

bool process_daemonize(void)
{
    if (daemon(1, 0) == 0)
        return true;
    log_fatal("failed to daemonize: %s", strerror(errno));
    return false;
}

/* Up to what the system allows. */
static void raise_files(rlim_t wanted)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= wanted)
        return;
    files.rlim_cur = wanted < files.rlim_max ? wanted : files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

void process_hide_memory(bool hide)
{
    if (prctl(PR_SET_DUMPABLE, hide ? 0 : 1) != 0)
        log_warning(NULL, "PR_SET_DUMPABLE: %s", strerror(errno));
}

/* Memory holds secrets (THREATS §5.5). A change of the user has set both as the system likes. */
static void settle_cores(bool wanted)
{
    const struct rlimit none = {0, 0};

    if (!wanted)
        setrlimit(RLIMIT_CORE, &none);
    process_hide_memory(!wanted);
}

void process_limits(const struct config *config)
{
    struct rlimit files;
    const struct settings *settings = &config->settings;
    settle_cores(settings->core_dumps != 0);
    raise_files((rlim_t)settings->max_client_conn + (rlim_t)settings->max_login_clients +
                FILES_BESIDES);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    log_info(NULL,
             "kernel file descriptor limit: %lld (hard: %lld); max_client_conn: %d, max expected "
             "fd use: %d",
             (long long)files.rlim_cur, (long long)files.rlim_max, settings->max_client_conn,
             settings->max_client_conn + settings->max_login_clients + settings->default_pool_size +
                 32);
}
