#include <string.h>
#include <syslog.h>

#include "log_private.h"

int log_syslog_priority(int level)
{
    /* In the order of enum log_level, which cannot be named here: FATAL to NOISE. */
    static const int priorities[] = {LOG_CRIT, LOG_ERR,   LOG_WARNING,
                                     LOG_INFO, LOG_DEBUG, LOG_DEBUG};

    return priorities[level];
}

int log_syslog_facility(const char *name)
{
    static const struct {
        const char *name;
        int facility;
    } facilities[] = {
        {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"daemon", LOG_DAEMON},
        {"user", LOG_USER},     {"local0", LOG_LOCAL0},     {"local1", LOG_LOCAL1},
        {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},     {"local4", LOG_LOCAL4},
        {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},     {"local7", LOG_LOCAL7},
    };

    for (size_t i = 0; i < sizeof(facilities) / sizeof(facilities[0]); i++)
        if (strcasecmp(facilities[i].name, name) == 0)
            return facilities[i].facility;
    return LOG_DAEMON;
}

void log_syslog_open(const char *ident, int facility)
{
    openlog(ident, LOG_PID, facility);
}

void log_syslog_close(void)
{
    closelog();
}

void log_syslog_write(int priority, const char *text)
{
    syslog(priority, "%s", text);
}

void log_syslog_write_audit(const char *text)
{
    syslog(LOG_AUTHPRIV | LOG_INFO, "%s", text);
}
