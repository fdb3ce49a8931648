#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "log_private.h"

/* How often a wait for stderr looks whether the deadline has come. */
#define POLL_MSEC 50
/* How long other sinks wait for a stalled stderr before it is left behind. */
#define PATIENCE_USEC USEC_PER_SEC

static const char *const level_names[] = {"FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE"};

/* systemd.exec(5): JOURNAL_STREAM has device and inode of the stream that goes to the journal; a
 * stderr that was redirected since is another one. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[64];
    struct stat status;

    if (stream == NULL || fstat(STDERR_FILENO, &status) != 0)
        return false;
    snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, ours) == 0;
}

static bool is_named(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static int open_file(const char *path, mode_t mode)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, mode);
}

/* Without the place lines are lost, and counted. */
static void open_audit(struct log_sinks *sinks, const struct log_settings *settings)
{
    sinks->audit_file = -1;
    if (settings->audit == AUDIT_FILE && is_named(settings->audit_file)) {
        sinks->audit_file = open_file(settings->audit_file, 0600);
        if (sinks->audit_file < 0)
            log_error(NULL, "audit_log: cannot open \"%s\": %s", settings->audit_file,
                      strerror(errno));
    }
    sinks->audits_to_syslog = settings->audit == AUDIT_SYSLOG;
    if (settings->audit == AUDIT_JOURNAL)
        sinks->journal = settings->journal;
}

struct log_sinks *log_sinks_open(const struct log_settings *settings, int *file_error)
{
    struct log_sinks *sinks = memory_zalloc(sizeof(*sinks));

    *file_error = 0;
    if (sinks == NULL) {
        *file_error = ENOMEM;
        return NULL;
    }
    sinks->file = -1;
    if (is_named(settings->logfile)) {
        sinks->file = open_file(settings->logfile, 0640);
        if (sinks->file < 0)
            *file_error = errno;
    }
    open_audit(sinks, settings);
    sinks->keeps_older_file = *file_error != 0;
    sinks->to_stderr = !settings->quiet;
    sinks->is_journal = stderr_is_journal();
    sinks->is_json = settings->json;
    sinks->to_syslog = settings->syslog;
    sinks->facility =
        log_syslog_facility(is_named(settings->syslog_facility) ? settings->syslog_facility : "");
    snprintf(sinks->ident, sizeof(sinks->ident), "%s",
             is_named(settings->syslog_ident) ? settings->syslog_ident : "pgweir");
    return sinks;
}

void log_sinks_take_over(struct log_sinks *sinks, struct log_sinks *older)
{
    if (older != NULL && sinks->keeps_older_file) {
        sinks->file = older->file;
        older->file = -1;
    }
    log_sinks_close(older);
    sinks->has_opened_syslog = sinks->to_syslog || sinks->audits_to_syslog;
    if (sinks->has_opened_syslog)
        log_syslog_open(sinks->ident, sinks->facility);
}

void log_sinks_close(struct log_sinks *sinks)
{
    if (sinks == NULL)
        return;
    if (sinks->file >= 0)
        close(sinks->file);
    if (sinks->audit_file >= 0)
        close(sinks->audit_file);
    if (sinks->has_opened_syslog)
        log_syslog_close();
    memory_free(sinks);
}

/* Until stderr takes bytes: true. False: the deadline or, where others wait, our patience is over.
 */
static bool wait_for_stderr(struct log_sinks *sinks, const _Atomic usec_t *deadline)
{
    struct pollfd wanted = {.fd = STDERR_FILENO, .events = POLLOUT};
    bool others_wait = sinks->file >= 0 || sinks->to_syslog;
    usec_t start = clock_monotonic();

    for (;;) {
        int ready = poll(&wanted, 1, sinks->stderr_is_stalled && others_wait ? 0 : POLL_MSEC);
        if (ready > 0) {
            sinks->stderr_is_stalled = false;
            return true;
        }
        usec_t now = clock_monotonic(), end = atomic_load(deadline);
        if (end != 0 && end <= now)
            return false;
        if (others_wait && (sinks->stderr_is_stalled || now - start >= PATIENCE_USEC)) {
            sinks->stderr_is_stalled = true;
            return false;
        }
    }
}

static bool write_to_stderr(struct log_sinks *sinks, const char *line, size_t size,
                            const _Atomic usec_t *deadline)
{
    while (size > 0) {
        if (!wait_for_stderr(sinks, deadline))
            return false;
        ssize_t written = write(STDERR_FILENO, line, size);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (written > 0) {
            line += written;
            size -= (size_t)written;
        }
    }
    return true;
}

/* One write a line, so that lines of several processes in one file do not mix. */
static bool write_to_file(int file, const char *line, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, line, size);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            line += written;
            size -= (size_t)written;
        }
    }
    return true;
}

/* journald reads a priority in front of each line (sd-daemon(3)). */
static size_t put_priority(char *line, size_t size, bool is_journal, int level)
{
    if (!is_journal)
        return 0;
    return (size_t)snprintf(line, size, "<%d>", log_syslog_priority(level));
}

bool log_sinks_write(struct log_sinks *sinks, int level, usec_t when, const char *text,
                     const _Atomic usec_t *deadline)
{
    char line[LOG_OUTPUT_MAX];
    size_t mark = put_priority(line, sizeof(line), sinks->is_journal, level);
    size_t size = (sinks->is_json ? log_make_json : log_make_line)(line + mark, sizeof(line) - mark,
                                                                   when, level_names[level], text);
    bool taken = true;

    if (sinks->to_syslog && level <= LOG_LOG)
        log_syslog_write(log_syslog_priority(level), text);
    if (sinks->file >= 0)
        taken = write_to_file(sinks->file, line + mark, size);
    if (sinks->to_stderr)
        taken = write_to_stderr(sinks, line, mark + size, deadline) && taken;
    return taken;
}

bool log_sinks_write_audit(struct log_sinks *sinks, const char *text)
{
    char line[LOG_OUTPUT_MAX];

    if (sinks->audit_file >= 0) {
        int size = snprintf(line, sizeof(line), "%s\n", text);
        return write_to_file(sinks->audit_file, line, (size_t)size);
    }
    if (sinks->journal != NULL)
        return sinks->journal(sinks->ident, text);
    if (sinks->audits_to_syslog)
        log_syslog_write_audit(text);
    return sinks->audits_to_syslog;
}

void log_write_directly(int level, usec_t when, const char *text)
{
    char line[LOG_OUTPUT_MAX];
    size_t mark = put_priority(line, sizeof(line), stderr_is_journal(), level);
    size_t size = log_make_line(line + mark, sizeof(line) - mark, when, level_names[level], text);

    write_to_file(STDERR_FILENO, line, mark + size);
}
