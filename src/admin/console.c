#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/audit.h"
#include "base/memory.h"
#include "config/options.h"
#include "show.h"
#include "wire/message.h"

#define QUERY_MAX 4096 /* a command; PgBouncer takes one pkt_buf */

/* -- what waits for other workers
 * ------------------------------------------------------------------------------------------- */

static void process(struct console_session *session);

static void free_session(struct console_session *session)
{
    extended_finish(&session->extended);
    memory_free(session);
}

static void run_free_task(struct loop_task *task)
{
    free_session(
        (struct console_session *)((char *)task - offsetof(struct console_session, free_task)));
}

void console_begin_wait(struct console_session *session)
{
    session->is_waiting = true;
    stream_pause(&session->client->stream);
}

bool console_end_wait(struct console_session *session)
{
    session->is_waiting = false;
    if (session->client)
        return true;
    free_session(session);
    return false;
}

void console_go_on(struct console_session *session)
{
    if (session->client && session->client->state != CLIENT_CLOSED) {
        stream_resume(&session->client->stream);
        process(session);
    }
}

void console_report_done(struct report *report, void *argument)
{
    struct console_session *session = argument;
    if (console_end_wait(session)) {
        if (report->failed)
            console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        else
            console_table(session, session->show, report);
        console_go_on(session);
    }
    report_destroy(report);
}

static void wait_done(struct control_wait *wait)
{
    struct console_session *session =
        (struct console_session *)((char *)wait - offsetof(struct console_session, wait));
    if (!console_end_wait(session))
        return;
    console_tag(session, session->wait_tag);
    console_go_on(session);
}

void console_prepare_wait(struct console_session *session, const char *tag)
{
    session->wait_tag = tag;
    session->wait.done = wait_done;
    session->wait.loop = session->client->set->loop;
}

void console_wait(struct console_session *session, const char *tag)
{
    console_begin_wait(session);
    console_prepare_wait(session, tag);
    control_wait(session->workers, &session->wait);
}

/* -- commands
 * ---------------------------------------------------------------------------------------------------------------
 */

static const struct show *find_show(const char *word)
{
    static const struct show *const parts[] = {show_basic,     show_connections, show_inside,
                                               show_listeners, show_own,         show_pools,
                                               show_stats};
    for (size_t i = 0; i < COLUMN_COUNT(parts); i++)
        for (const struct show *show = parts[i]; show->word; show++)
            if (strcasecmp(show->word, word) == 0)
                return show;
    return NULL;
}

void console_invalid(struct console_session *session, const char *query)
{
    char text[ERROR_MESSAGE_MAX];
    snprintf(text, sizeof(text), "invalid command '%s', use SHOW HELP;", query);
    console_error(session, SQLSTATE_PROTOCOL_VIOLATION, text);
}

static void run_show(struct console_session *session, const struct command *command,
                     const char *query)
{
    const struct show *show = find_show(command->argument);
    if (!show) {
        console_invalid(session, query);
        return;
    }
    if (show->needs_admin && !session->client->is_admin) {
        console_error(session, SQLSTATE_PROTOCOL_VIOLATION, "admin access needed");
        return;
    }
    if (show->ask) {
        session->show = show;
        show->ask(session, command);
        return;
    }
    if (!show->needs_report) {
        console_table(session, show, NULL);
        return;
    }
    session->show = show;
    console_begin_wait(session);
    if (!report_start(session->workers, session->client->set->loop, show->kind, console_report_done,
                      session)) {
        session->is_waiting = false;
        console_error(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        stream_resume(&session->client->stream);
    }
}

static void run_shutdown(struct console_session *session, const struct command *command,
                         const char *query)
{
    if (command->argument[0] == 0) {
        log_info(NULL, "SHUTDOWN command issued");
        control_shutdown(session->workers, SHUTDOWN_NO, true);
    } else if (strcasecmp(command->argument, "WAIT_FOR_SERVERS") == 0) {
        log_info(NULL, "SHUTDOWN WAIT_FOR_SERVERS command issued");
        console_tag(session, "SHUTDOWN");
        control_shutdown(session->workers, SHUTDOWN_WAIT_FOR_SERVERS, false);
    } else if (strcasecmp(command->argument, "WAIT_FOR_CLIENTS") == 0) {
        log_info(NULL, "SHUTDOWN WAIT_FOR_CLIENTS command issued");
        console_tag(session, "SHUTDOWN");
        control_shutdown(session->workers, SHUTDOWN_WAIT_FOR_CLIENTS, false);
    } else {
        console_invalid(session, query);
    }
}

/* What changes something: admin_users only. */
static const struct {
    const char *word;
    void (*run)(struct console_session *session, const struct command *command, const char *query);
} orders[] = {
    {"RELOAD", console_reload},           {"SET", console_set},
    {"SUSPEND", console_suspend},         {"SHUTDOWN", run_shutdown},
    {"KILL_CLIENT", console_kill_client}, {"FLUSH", console_flush},
};

/* NULL: there is no such command. */
static void (*find_order(const struct command *command))(struct console_session *,
                                                         const struct command *, const char *)
{
    bool takes_none = strcmp(command->word, "RELOAD") == 0 || strcmp(command->word, "SUSPEND") == 0;
    if (takes_none && command->argument[0])
        return NULL;
    if (strcmp(command->word, "FLUSH") == 0 && strcasecmp(command->argument, "AUTH") != 0)
        return NULL;
    if (command->is_kill_user)
        return console_kill_user;
    for (size_t i = 0; i < COLUMN_COUNT(orders); i++)
        if (strcmp(orders[i].word, command->word) == 0)
            return orders[i].run;
    return console_order_is_known(command->word) ? console_order : NULL;
}

/* What is secret cannot be SET: a value that was tried is left out all the same. */
static void audit_order(const struct client *client, const struct command *command)
{
    const struct config_option *option =
        command->is_set ? config_option_find(command->argument) : NULL;
    char host[ADDRESS_TEXT_MAX] = "";
    struct address address;
    struct audit_line line;

    if (!audit_enabled())
        return;
    if (address_of_peer(&address, client->stream.fd))
        address_text(&address, host, sizeof(host));
    audit_begin(&line, "console");
    audit_text(&line, "outcome", client->is_admin ? "accepted" : "refused");
    audit_text(&line, "user", client->user_name);
    audit_text(&line, "address", host);
    audit_text(&line, "order", command->word);
    audit_text(&line, "argument", command->argument[0] ? command->argument : NULL);
    if (command->value[0] && !(option && option->type == OPTION_SECRET))
        audit_text(&line, "value", command->value);
    audit_send(&line);
}

static void run_order(struct console_session *session, const struct command *command,
                      const char *query)
{
    void (*order)(struct console_session *, const struct command *, const char *) =
        find_order(command);
    if (order)
        audit_order(session->client, command);
    if (!order)
        console_invalid(session, query);
    else if (!session->client->is_admin)
        console_error(session, SQLSTATE_PROTOCOL_VIOLATION, "admin access needed");
    else
        order(session, command, query);
}

static bool is_show(const struct command *command)
{
    return strcmp(command->word, "SHOW") == 0 || strcmp(command->word, "SELECT") == 0;
}

/* False: refused. */
static bool parse(struct console_session *session, const char *query, struct command *command)
{
    switch (command_parse(query, command)) {
    case COMMAND_OK:
        return true;
    case COMMAND_INVALID:
        console_invalid(session, query);
        return false;
    case COMMAND_BAD_ARGUMENTS:
        console_error(session, SQLSTATE_PROTOCOL_VIOLATION, "bad arguments");
        return false;
    }
    return false;
}

void console_run(struct console_session *session, const char *query)
{
    struct command command;
    session->client->query_start = session->client->request_time =
        loop_now(session->client->set->loop);
    if (!parse(session, query, &command))
        return;
    if (is_show(&command))
        run_show(session, &command, query);
    else if (command.is_set && console_is_faked_setting(command.argument))
        console_notice_tag(session, "SET ignored", "SET");
    else
        run_order(session, &command, query);
}

bool console_check(struct console_session *session, const char *query)
{
    struct command command;
    session->extended.is_executing = true;
    if (!parse(session, query, &command))
        return false;
    if (is_show(&command) ? !find_show(command.argument) : !find_order(&command)) {
        console_invalid(session, query);
        return false;
    }
    session->extended.is_executing = false;
    return true;
}

const struct show *console_show_of(const char *query)
{
    struct command command;
    if (command_parse(query, &command) != COMMAND_OK || !is_show(&command))
        return NULL;
    return find_show(command.argument);
}

/* -- messages
 * ---------------------------------------------------------------------------------------------------------------
 */

static void refuse_packet(struct console_session *session, const struct message *message)
{
    char text[128];
    snprintf(text, sizeof(text), "unsupported packet type for admin console: %d", message->type);
    console_error(session, SQLSTATE_PROTOCOL_VIOLATION, text);
    if (session->client && session->client->state != CLIENT_CLOSED)
        client_refuse_text(session->client, SQLSTATE_PROTOCOL_VIOLATION, "bad packet");
}

static void take_query(struct console_session *session, struct span body)
{
    struct client *client = session->client;
    if (session->extended.skips_to_sync)
        return;
    if (client->set->config->settings.disable_pqexec)
        client_refuse_text(client, SQLSTATE_PROTOCOL_VIOLATION, "PQexec disallowed");
    else if (body.size == 0 || body.data[body.size - 1] != 0)
        client_refuse_text(client, SQLSTATE_PROTOCOL_VIOLATION, "incomplete pkt");
    else
        console_run(session, (const char *)body.data);
}

static bool is_ours(uint8_t type)
{
    return type == 'Q' || type == 'X' || extended_has(type);
}

/* False: nothing more can be taken now. */
static bool take_message(struct console_session *session, const struct message *message)
{
    struct client *client = session->client;
    uint8_t type = message->type, body[QUERY_MAX];
    size_t size = message->body.size;
    if (type == 'X') {
        client_close(client, "close req");
        return false;
    }
    if (!is_ours(type)) {
        refuse_packet(session, message);
        return false;
    }
    if (size > sizeof(body)) {
        client_refuse_text(client, SQLSTATE_PROTOCOL_VIOLATION, "incomplete pkt");
        return false;
    }
    if (size > 0)
        memcpy(body, message->body.data, size);
    stream_consume(&client->stream, message->size);
    if (type == 'Q')
        take_query(session, (struct span){body, size});
    else
        extended_take(session, type, (struct span){body, size});
    return true;
}

static void process(struct console_session *session)
{
    struct message message;
    while (session->client && session->client->state == CLIENT_CONSOLE && !session->is_waiting) {
        struct span input = stream_input(&session->client->stream);
        switch (message_peek(input.data, input.size, QUERY_MAX + MESSAGE_HEAD, &message)) {
        case MESSAGE_WHOLE:
            if (!take_message(session, &message))
                return;
            break;
        case MESSAGE_PARTIAL:
            if (is_ours(message.type))
                stream_want(&session->client->stream, message.size);
            else
                refuse_packet(session, &message);
            return;
        case MESSAGE_NONE:
            return;
        case MESSAGE_BAD:
            client_refuse_text(session->client, SQLSTATE_PROTOCOL_VIOLATION, "incomplete pkt");
            return;
        }
    }
}

static bool opened(struct client *client)
{
    struct console_session *session = memory_zalloc(sizeof(*session));
    if (!session)
        return false;
    session->client = client;
    session->free_task.run = run_free_task;
    session->workers = client->set->shared->console_argument;
    client->console = session;
    return true;
}

static void input(struct client *client)
{
    if (client->console)
        process(client->console);
}

static void closed(struct client *client)
{
    struct console_session *session = client->console;
    if (!session)
        return;
    client->console = NULL;
    session->client = NULL;
    if (!session->is_waiting) /* a function that answers may be at work on it */
        loop_defer(client->set->loop, LOOP_FREE, &session->free_task);
}

const struct console_ops *console_ops(void)
{
    static const struct console_ops ops = {.opened = opened, .input = input, .closed = closed};
    return &ops;
}
