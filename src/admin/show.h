/* What the SHOW commands share: tables of columns, cells, and the session that waits for an answer.
 */
#pragma once
#include "admin/command.h"
#include "admin/console.h"
#include "wire/build.h"
#include "worker/control.h"
#include "worker/report.h"

/* Largest answer of one command. 100,000 clients take about 20 MiB. */
#define SHOW_BYTES_MAX (64 * 1024 * 1024)

/* Column types of COMPAT 5.3. */
#define COLUMN_TEXT(name)                                                                          \
    {                                                                                              \
        name, 25, -1                                                                               \
    }
#define COLUMN_INT(name)                                                                           \
    {                                                                                              \
        name, 23, 4                                                                                \
    }
#define COLUMN_BIGINT(name)                                                                        \
    {                                                                                              \
        name, 20, 8                                                                                \
    }
#define COLUMN_NUMERIC(name)                                                                       \
    {                                                                                              \
        name, 1700, -1                                                                             \
    }
#define COLUMN_COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct console_session {
    struct client *client; /* NULL: it is gone; the session goes with its last answer */
    struct workers *workers;
    bool is_waiting;         /* for a report or a reload */
    const struct show *show; /* what a report is for */
    struct reload_request reload;
    struct control_wait wait;
    const char *wait_tag;
};

/* orders: an operator's commands that concern databases. */
bool console_order_is_known(const char *word);
void console_order(struct console_session *session, const struct command *command);

/* console: answers. */
void console_error(struct console_session *session, const char *sqlstate, const char *text);
void console_tag(struct console_session *session, const char *tag);
void console_invalid(struct console_session *session, const char *query);
/* The wait's end is answered with `tag`; until then no further command is taken. */
void console_wait(struct console_session *session, const char *tag);

/* A SHOW word: what it reports, and who writes the rows. */
struct show {
    const char *word;
    bool needs_report;
    enum report_kind kind;
    void (*write)(struct console_session *session, const struct report *report, struct bytes *out);
};

/* Each file's part of the list of words; ends with a NULL word. */
extern const struct show show_basic[], show_connections[], show_pools[], show_stats[];

void cell_text(struct bytes *out, const char *text); /* NULL: SQL NULL */
void cell_int(struct bytes *out, int64_t value);
void cell_unsigned(struct bytes *out, uint64_t value);
void cell_time(struct bytes *out, int64_t seconds); /* of 1970, local time; 0: SQL NULL */
