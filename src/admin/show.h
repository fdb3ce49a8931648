/* What the SHOW commands share: tables of columns, cells, and the session that waits for an answer.
 */
#pragma once
#include "admin/command.h"
#include "admin/console.h"
#include "extended.h"
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
#define COLUMN_BYTES(name)                                                                         \
    {                                                                                              \
        name, 17, -1                                                                               \
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
    struct extended extended;
    struct loop_task free_task;
};

/* orders: an operator's commands that concern databases. */
bool console_order_is_known(const char *word);
void console_suspend(struct console_session *session, const struct command *command,
                     const char *query);
void console_order(struct console_session *session, const struct command *command,
                   const char *query);

/* settings */
void console_reload(struct console_session *session, const struct command *command,
                    const char *query);
void console_set(struct console_session *session, const struct command *command, const char *query);
bool console_is_faked_setting(const char *name);

/* flush: FLUSH AUTH */
void console_flush(struct console_session *session, const struct command *command,
                   const char *query);

/* kill */
void console_kill_database(struct console_session *session, const char *database);
void console_kill_user(struct console_session *session, const struct command *command,
                       const char *query);
void console_kill_client(struct console_session *session, const struct command *command,
                         const char *query);

/* answers: each ends what one command is told. False (console_say): the client is closed. */
struct show;
bool console_say(struct console_session *session, const struct bytes *out);
void console_error(struct console_session *session, const char *sqlstate, const char *text);
void console_refuse(struct console_session *session, const struct error *error);
void console_tag(struct console_session *session, const char *tag);
/* `notice` may be NULL. */
void console_notice_tag(struct console_session *session, const char *notice, const char *tag);
void console_table(struct console_session *session, const struct show *show,
                   const struct report *report);

/* console */
void console_invalid(struct console_session *session, const char *query);
/* Runs one command: it is answered now, or the session waits. */
void console_run(struct console_session *session, const char *query);
/* Is it a command? False: refused, as a message of the extended protocol. */
bool console_check(struct console_session *session, const char *query);
/* The table that a command shows, or NULL. */
const struct show *console_show_of(const char *query);
/* Until its answer is there no further command is taken. */
void console_begin_wait(struct console_session *session);
/* It is there. False: the client is gone, and the session with it. */
bool console_end_wait(struct console_session *session);
/* Behind the answer: takes what was asked meanwhile. */
void console_go_on(struct console_session *session);
/* `done` of the reports that a session waits for: writes the table of session->show. */
void console_report_done(struct report *report, void *argument);
/* Fills session->wait: its end is answered with `tag`. */
void console_prepare_wait(struct console_session *session, const char *tag);
/* Waits for session->wait, and is answered with `tag`. */
void console_wait(struct console_session *session, const char *tag);

/* For who writes a row for each of something. */
struct table_writer {
    struct console_session *session;
    struct bytes *out;
    size_t columns;
};

/* A SHOW word: what it reports, and who writes the rows. */
struct show {
    const char *word;
    bool needs_report, needs_admin;
    enum report_kind kind;
    /* Of SHOW WHY: instead of the report's kind, it asks step by step, then calls console_table. */
    void (*ask)(struct console_session *session, const struct command *command);
    void (*write)(struct console_session *session, const struct report *report, struct bytes *out);
};

/* Each file's part of the list of words; ends with a NULL word. */
extern const struct show show_basic[], show_connections[], show_inside[], show_listeners[],
    show_own[], show_pools[], show_stats[];

void cell_text(struct bytes *out, const char *text); /* NULL: SQL NULL */
void cell_int(struct bytes *out, int64_t value);
void cell_unsigned(struct bytes *out, uint64_t value);
void cell_time(struct bytes *out, int64_t seconds); /* of 1970, local time; 0: SQL NULL */
