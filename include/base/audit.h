/* audit: what happened to whom, for those who must be able to show it later (THREATS §5.3): one
 * JSON object a line, beside the log and through its thread.
 *
 * A line is begun, gets its fields, and is sent: {"time":"...","event":"login",...}. Texts are
 * escaped and cut at AUDIT_TEXT_MAX bytes; what does not fit in LOG_LINE_MAX is left out. Never
 * blocks: a line that finds no room is lost and counted (audit_dropped), and the loss is said in
 * the audit itself. Nothing secret goes in. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

#define AUDIT_TEXT_MAX 128

struct audit_line {
    char text[LOG_LINE_MAX];
    size_t size;
};

bool audit_enabled(void); /* ask before work that only a line needs */
void audit_begin(struct audit_line *line, const char *event);
void audit_text(struct audit_line *line, const char *key, const char *value); /* NULL: left out */
void audit_number(struct audit_line *line, const char *key, int64_t value);
void audit_send(struct audit_line *line);
uint64_t audit_dropped(void);
