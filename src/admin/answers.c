/* What a console says: errors, tags, tables; by the simple protocol each command's answer ends with
 * ReadyForQuery, by the extended one a Sync is awaited. */
#include <stdio.h>
#include <string.h>

#include "show.h"

bool console_say(struct console_session *session, const struct bytes *out)
{
    struct client *client = session->client;
    if (bytes_ok(out) && stream_put(&client->stream, out->data, out->size))
        return true;
    client_close(client, "out of memory");
    return false;
}

/* The command is answered. */
static void end_answer(struct console_session *session, struct bytes *out)
{
    if (!session->extended.is_executing)
        build_ready_for_query(out, 'I');
    session->extended.is_executing = false;
    console_say(session, out);
}

void console_refuse(struct console_session *session, const struct error *error)
{
    uint8_t memory[2048];
    struct bytes out = bytes_over(memory, sizeof(memory));
    log_error(NULL, "%s", error->message);
    if (session->client->set->config->settings.log_pooler_errors)
        log_warning(&session->client->subject, "pooler error: %s", error->message);
    build_error(&out, "ERROR", error);
    if (session->extended.is_executing)
        session->extended.skips_to_sync = true;
    end_answer(session, &out);
}

void console_error(struct console_session *session, const char *sqlstate, const char *text)
{
    struct error error;
    error_set(&error, sqlstate, "%s", text);
    console_refuse(session, &error);
}

void console_tag(struct console_session *session, const char *tag)
{
    console_notice_tag(session, NULL, tag);
}

void console_notice_tag(struct console_session *session, const char *notice, const char *tag)
{
    uint8_t memory[2048];
    struct bytes out = bytes_over(memory, sizeof(memory));
    if (notice)
        build_notice(&out, SQLSTATE_SUCCESS, notice, NULL);
    build_command_complete(&out, tag);
    end_answer(session, &out);
}

void console_table(struct console_session *session, const struct show *show,
                   const struct report *report)
{
    struct bytes table, out;
    bytes_init(&table, SHOW_BYTES_MAX);
    bytes_init(&out, SHOW_BYTES_MAX);
    show->write(session, report, &table);
    if (!session->extended.is_executing) {
        build_command_complete(&table, "SHOW");
        end_answer(session, &table);
    } else if (bytes_ok(&table)) {
        if (extended_rows(session, bytes_span(&table), &out))
            build_command_complete(&out, "SHOW");
        end_answer(session, &out);
    } else {
        end_answer(session, &table);
    }
    bytes_finish(&table);
    bytes_finish(&out);
}
