#include "base/audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "log_private.h"

/* The end of an object, and a zero byte. */
#define TAIL_SIZE 2

/* Whole, or not at all. */
static void put(struct audit_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void put(struct audit_line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - TAIL_SIZE - line->size;
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(line->text + line->size, room, format, arguments);
    va_end(arguments);
    if (size > 0 && (size_t)size < room)
        line->size += (size_t)size;
}

void audit_begin(struct audit_line *line, const char *event)
{
    usec_t now = clock_realtime();
    time_t second = (time_t)(now / USEC_PER_SEC);
    char date[32];
    struct tm utc;

    line->size = 0;
    gmtime_r(&second, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    put(line, "{\"time\":\"%s.%06dZ\",\"pid\":%d,\"event\":\"%s\"", date, (int)(now % USEC_PER_SEC),
        (int)getpid(), event);
}

void audit_text(struct audit_line *line, const char *key, const char *value)
{
    char cut[AUDIT_TEXT_MAX + 1], escaped[4 * AUDIT_TEXT_MAX + 1], json[8 * AUDIT_TEXT_MAX + 1];

    if (value == NULL)
        return;
    snprintf(cut, sizeof(cut), "%s", value);
    size_t size = log_escape(escaped, sizeof(escaped), cut);
    size_t length = log_put_json(json, sizeof(json) - 1, escaped, size);
    json[length] = '\0';
    put(line, ",\"%s\":\"%s\"", key, json);
}

void audit_number(struct audit_line *line, const char *key, int64_t value)
{
    put(line, ",\"%s\":%" PRId64, key, value);
}

void audit_send(struct audit_line *line)
{
    line->text[line->size++] = '}';
    line->text[line->size] = '\0';
    log_send_audit(line->text, line->size);
}
