/* log: lines for the operator, through a bounded ring to one thread.
 *
 * A line is "YYYY-MM-DD HH:MM:SS.mmm ZONE [PID] LEVEL TEXT", with "<PRIORITY>" in front where
 * stderr is the journal; syslog gets the text alone, and no DEBUG or NOISE. The text names its
 * subject first
 * ("C-0x...: database/user@address: "). log_write never blocks: it formats into a slot of a fixed
 * ring; when the ring is full the line is dropped and counted, and the count is written when there
 * is room again. A line is one line: control bytes and what is not UTF-8 are escaped (\n, \t, \r,
 * \xNN); it is cut at LOG_LINE_MAX. Of equal lines in a row the first LOG_REPEATS_SHOWN are written
 * and the others counted ("last message repeated N times"). A stderr that does not take bytes holds
 * up file and syslog for one second, then is left behind until it does. Before log_start() and
 * after log_stop() lines are written directly to stderr (not if it was to be quiet).
 *
 * Thread: log_write any; log_start, log_stop the main one, while no other thread logs. This module
 * owns the only file-scope variables that change after start-up.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Its macros have the names of our levels, and other values. */
#ifdef LOG_WARNING
#error "<syslog.h> and base/log.h cannot be included together"
#endif

#define LOG_LINE_MAX      1024
#define LOG_RING_LINES    1024
#define LOG_REPEATS_SHOWN 3

enum log_level { LOG_FATAL, LOG_ERROR, LOG_WARNING, LOG_LOG, LOG_DEBUG, LOG_NOISE };

/* What a line is about; embedded in client and server, who fill `prefix` (without the trailing
 * space). */
struct log_subject {
    char prefix[160];
};

/* Where the lines of base/audit go. */
enum log_audit { AUDIT_OFF, AUDIT_FILE, AUDIT_SYSLOG, AUDIT_JOURNAL };

struct log_settings {
    int verbose; /* 1: DEBUG lines too, 2: NOISE too */
    bool quiet;  /* nothing to stderr */
    /* NULL or empty: none. Opened for append, and again at each log_configure(). */
    const char *logfile;
    bool json; /* stderr and file: an object a line (syslog gets the text) */
    bool syslog;
    const char *syslog_ident, *syslog_facility;
    enum log_audit audit;
    const char *audit_file; /* with AUDIT_FILE; opened as logfile is */
    /* With AUDIT_JOURNAL; called by the log's thread. False: not taken. */
    bool (*journal)(const char *ident, const char *text);
};

/* Starts the thread. False when the log file cannot be opened (why is on stderr). */
bool log_start(const struct log_settings *settings);
/* Takes over new settings (copied) and reopens the log file; when it cannot be opened this is
 * logged, and the older file, if any, goes on being written. */
void log_configure(const struct log_settings *settings);
/* Writes what is in the ring, waiting at most one second for a stalled stderr, and ends the thread.
 */
void log_stop(void);

/* True when lines of this level are written: ask before work that only a log line needs. */
bool log_enabled(enum log_level level);
uint64_t log_dropped(void);

void log_write(enum log_level level, const struct log_subject *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_fatal(...)            log_write(LOG_FATAL, NULL, __VA_ARGS__)
#define log_error(subject, ...)   log_write(LOG_ERROR, subject, __VA_ARGS__)
#define log_warning(subject, ...) log_write(LOG_WARNING, subject, __VA_ARGS__)
#define log_info(subject, ...)    log_write(LOG_LOG, subject, __VA_ARGS__)
#define log_debug(subject, ...)                                                                    \
    do {                                                                                           \
        if (log_enabled(LOG_DEBUG))                                                                \
            log_write(LOG_DEBUG, subject, __VA_ARGS__);                                            \
    } while (0)

/* For lines that a stranger can cause: a token bucket, one static object per place. False: do not
 * write this one. What was held back is said with the next line that passes (returned in
 * *held_back). Any thread. */
struct log_limit {
    _Atomic int64_t window; /* second of the monotonic clock */
    _Atomic uint32_t used;
    _Atomic uint32_t held_back;
};
bool log_allow(struct log_limit *limit, uint32_t lines_per_second, uint32_t *held_back);
