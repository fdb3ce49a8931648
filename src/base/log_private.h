/* log_private: the parts of base/log.
 *
 * log.c has the ring and the thread, log_text.c makes the text of a line, log_sinks.c writes lines
 * to where the settings say, log_syslog.c speaks to syslog(3). The last does not include
 * base/log.h: <syslog.h> has macros of the same names as our levels, and other values.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/* Room for a text of LOG_LINE_MAX with time, process and level in front and a line break behind, in
 * JSON too, where a byte may become two. It stays under PIPE_BUF, so that a line reaches a pipe
 * whole or not at all. */
#define LOG_OUTPUT_MAX 2560

/* Escapes control bytes and what is not UTF-8 from `from` into `to`; cut where it does not fit,
 * never inside an escape or a character. Returns the length; `to` gets a zero byte. */
size_t log_escape(char *to, size_t to_size, const char *from);

/* As the inside of a JSON string: what log_escape has made, valid UTF-8 without control bytes. Cut
 * where it does not fit, at a character. Returns the length; there is no zero byte. */
size_t log_put_json(char *to, size_t to_size, const char *text, size_t text_size);

/* A line of base/audit, whole. */
void log_send_audit(const char *text, size_t length);

/* One line of text with its subject, escaped. Returns its length. */
size_t log_make_text(char *to, size_t to_size, const char *subject, const char *format,
                     va_list arguments) __attribute__((format(printf, 4, 0)));

/* A line as COMPAT 8.1 has it, line break included. Returns its length. */
size_t log_make_line(char *to, size_t to_size, usec_t when, const char *level, const char *text);

/* The same as a JSON object: time (UTC, RFC 3339), level, pid, connection and subject (of lines
 * about a client or server), message. */
size_t log_make_json(char *to, size_t to_size, usec_t when, const char *level, const char *text);

/* Where lines go. Made by log_configure()'s thread, then used and freed by the log thread alone. */
struct log_sinks {
    int file;              /* -1: none */
    bool keeps_older_file; /* the new one could not be opened: take over the older sinks' */
    bool to_stderr, is_journal, is_json;
    bool stderr_is_stalled; /* found so last time: no more patience with it while others wait */
    bool to_syslog, has_opened_syslog;
    int facility;
    char ident[64]; /* openlog() keeps the pointer */
    bool audits_to_syslog;
    int audit_file;                                       /* -1: none */
    bool (*journal)(const char *ident, const char *text); /* NULL: none */
    /* For the thread that starts with these sinks: what was true before the first line. */
    unsigned generation;
    uint64_t dropped_before;
};

struct log_settings;
struct log_sinks *log_sinks_open(const struct log_settings *settings, int *file_error);
/* `older` may be NULL; it is closed but for what is taken over. */
void log_sinks_take_over(struct log_sinks *sinks, struct log_sinks *older);
void log_sinks_close(struct log_sinks *sinks); /* NULL is fine */

/* Writes one line everywhere; false when some place did not take it. Waits for a stalled stderr
 * until *deadline (0: for ever), which may change meanwhile. Log thread only. */
bool log_sinks_write(struct log_sinks *sinks, int level, usec_t when, const char *text,
                     const _Atomic usec_t *deadline);

/* A line of the audit, to where the settings say; false: it was not taken. Log thread only. */
bool log_sinks_write_audit(struct log_sinks *sinks, const char *text);

/* For the time without a thread: to stderr, blocking. */
void log_write_directly(int level, usec_t when, const char *text);

/* Priorities of syslog(3), which are journald's too. `level` is an enum log_level. */
int log_syslog_priority(int level);
int log_syslog_facility(const char *name); /* daemon where the name is unknown */
void log_syslog_open(const char *ident, int facility);
void log_syslog_close(void);
void log_syslog_write(int priority, const char *text);
/* To authpriv, as informational. */
void log_syslog_write_audit(const char *text);
