/* From the StartupMessage to "authenticated": who asks for what, and by which dialogue it is to be
 * proved (COMPAT 4, 9.1, 9.2). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "client_private.h"
#include "startup_parameters.h"
#include "wire/build.h"

#define USER_NAME_MAX 127
#define CONSOLE_NAME  "pgbouncer"

/* ---- events ---- */

static void input(struct stream *stream)
{
    struct client *client = client_of_stream(stream);

    if (client->state == CLIENT_LOGIN)
        login_methods_input(client);
}

static void closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    client_close(client_of_stream(stream), "client unexpected eof");
}

static const struct stream_events login_events = {
    .input = input,
    .closed = closed,
};

/* ---- the StartupMessage ---- */

static bool keep_names(struct client *client, const struct startup_choice *choice)
{
    client->user_name = memory_strdup(choice->user);
    client->database_name = memory_strdup(choice->database);
    if (client->user_name != NULL && client->database_name != NULL)
        return true;
    client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    return false;
}

static bool read_parameters(struct client *client, const struct startup_packet *packet,
                            struct startup_choice *choice)
{
    const struct client_set *set = client->set;
    struct startup_reading reading = {
        .names = set->shared->parameter_names,
        .ignored = set->config->settings.ignore_startup_parameters,
        .wanted = &client->wanted,
        .takes_endpoint = set->config->route_count > 0,
    };
    struct error error;

    /* Whether they may follow it is known when its database is; the console takes none. */
    const char *database = startup_parameter(&packet->message, "database");
    if (database == NULL || strcmp(database, CONSOLE_NAME) != 0)
        reading.others = &client->login->startup;
    if (startup_parameters_read(&packet->message, &reading, choice, &error)) {
        client->login->startup_in_options = choice->others_in_options;
        return true;
    }
    notice_refused_setting(client, choice);
    client_refuse(client, &error);
    return false;
}

/* application_name_add_host: "NAME - ADDRESS:PORT", of a Unix socket "unix(PID@HOST):PORT". False:
 * the client is closed. */
static bool add_host(struct client *client)
{
    const struct client_set *set = client->set;
    int slot = parameter_slot(set->shared->parameter_names, "application_name");
    const char *name = wanted_parameters_get(&client->wanted, slot);
    char host[256] = "", text[PARAMETER_VALUE_MAX];
    int64_t pid, uid;

    if (!set->config->settings.application_name_add_host)
        return true;
    if (client->stream.is_local && address_peer_credentials(client->stream.fd, &pid, &uid) &&
        gethostname(host, sizeof(host) - 1) == 0)
        snprintf(text, sizeof(text), "%.1024s - unix(%lld@%s):%d", name != NULL ? name : "app",
                 (long long)pid, host, set->config->settings.listen_port);
    else
        snprintf(text, sizeof(text), "%.1024s - %s", name != NULL ? name : "app",
                 client->login->address);
    if (wanted_parameters_set(&client->wanted, slot, text))
        return true;
    client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    return false;
}

static bool negotiate(struct client *client, const struct startup_choice *choice)
{
    struct bytes out;

    client->protocol = choice->protocol;
    if (!choice->must_negotiate)
        return true;
    bytes_init(&out, 2 * STARTUP_PACKET_MAX);
    build_negotiate_protocol(&out, choice->protocol, choice->unknown, choice->unknown_count);
    bool ok = bytes_ok(&out) && stream_put(&client->stream, out.data, out.size);
    bytes_finish(&out);
    if (!ok)
        client_close(client, "out of memory");
    return ok;
}

/* What can be said about names before anybody has proved anything. */
static bool accept_names(struct client *client, const struct startup_choice *choice)
{
    if (strlen(client->user_name) > USER_NAME_MAX) {
        notice_login_failed(client);
        client_refuse_text(client, SQLSTATE_INVALID_AUTHORIZATION, "username too long");
        return false;
    }
    if (choice->replication == REPLICATION_NO || client->login->is_console ||
        replication_begin(client, choice))
        return true;
    client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    return false;
}

/* ---- who it is ---- */

/* COMPAT 4.11: the user of the operating system that runs pgweir needs no password for the console.
 */
static bool is_own_user(const struct client *client)
{
    int64_t pid, uid;

    return client->stream.is_local && client->login->is_console &&
           strcmp(client->user_name, CONSOLE_NAME) == 0 &&
           listener_has_console(client->listener, true) &&
           address_peer_credentials(client->stream.fd, &pid, &uid) &&
           uid == (int64_t)client->set->shared->own_uid;
}

void login_start(struct client *client, const struct startup_packet *packet)
{
    struct startup_choice choice;

    client_move_state(client, CLIENT_LOGIN);
    client->stream.events = &login_events;
    if (!read_parameters(client, packet, &choice) || !keep_names(client, &choice) ||
        !add_host(client))
        return;
    client->login->is_console = strcmp(client->database_name, CONSOLE_NAME) == 0;
    notice_subject(client, NULL, client->user_name);
    if (is_own_user(client)) {
        client->is_admin = true;
        if (client->set->config->settings.log_connections)
            log_info(&client->subject, "pgbouncer access from unix socket");
    }
    notice_login_attempt(client, &choice);
    if (!route_client(client, choice.endpoint))
        return;
    if (!accept_names(client, &choice) || !negotiate(client, &choice))
        return;
    stream_consume(&client->stream, packet->size); /* the texts of `choice` go with it */
    client->user = config_find_user(client->set->config, client->user_name);
    if (!client->is_admin && (!login_rules_look_at_address(client) || !login_rules_choose(client)))
        return;
    if (user_lookup_start(client) == USER_LOOKUP_DONE)
        login_user_found(client);
}

void login_user_found(struct client *client)
{
    if (client->login->step != LOGIN_STARTING) {
        login_methods_again(client);
        return;
    }
    if (!client->is_admin && !login_rules_enter(client))
        return;
    if (login_methods_start(client))
        login_methods_input(client);
}

/* ---- what came of it ---- */

/* True: it may use the console. */
static bool enter_console(struct client *client)
{
    const struct settings *settings = &client->set->config->settings;

    if (client->is_admin) /* by its UID */
        return true;
    if (!listener_has_console(client->listener, client->stream.is_local))
        return false;
    client->is_admin = name_list_has(settings->admin_users, client->user_name);
    client->is_stats_user = listener_auth(client->listener, settings) == AUTH_ANY ||
                            name_list_has(settings->stats_users, client->user_name);
    return client->is_admin || client->is_stats_user;
}

void login_succeeded(struct client *client)
{
    client->login->step = LOGIN_OVER;
    notice_subject(client, client->database_name, client->user_name);
    if (client->login->is_console && !enter_console(client))
        client_refuse_text(client, SQLSTATE_INVALID_AUTHORIZATION, "not allowed");
    else
        welcome_start(client);
}

/* How long the answer is held back. */
static usec_t count_failure(struct client *client)
{
    const struct settings *settings = &client->set->config->settings;
    const struct breaker_limits limits = {.base = settings->auth_failure_delay,
                                          .failures = settings->auth_breaker_failures,
                                          .delay = settings->auth_breaker_delay};
    struct address address;

    if (!client_address(client, &address))
        return 0; /* it has gone */
    struct breaker_verdict verdict =
        breaker_failed(client->set->shared->breaker, client->database_name, client->user_name,
                       &address, &limits, loop_now(client->set->loop));
    if (verdict.has_tripped)
        notice_breaker(client);
    return verdict.delay;
}

/* Never past the end of its time to log in. */
void login_failed(struct client *client, const char *text)
{
    struct client_set *set = client->set;
    usec_t delay = count_failure(client);
    usec_t at = loop_now(set->loop) + delay;

    if (delay == 0) {
        client_refuse_text(client, SQLSTATE_INVALID_PASSWORD, text);
        return;
    }
    if (client->deadline.list == &set->login_deadlines && client->deadline.at < at)
        at = client->deadline.at;
    client->login->step = LOGIN_FAILED;
    snprintf(client->login->failure, sizeof(client->login->failure), "%s", text);
    deadline_set(&set->refusal_deadlines, &client->deadline, at);
}

void login_refusal_due(struct deadline *deadline, struct deadline_list *list)
{
    struct client *client = client_of_deadline(deadline);

    (void)list;
    client_refuse_text(client, SQLSTATE_INVALID_PASSWORD, client->login->failure);
}

void login_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct client *client = client_of_deadline(deadline);

    (void)list;
    if (client->login != NULL && client->login->cancel != NULL)
        client_close(client, "cancel_wait_timeout");
    else if (client->state == CLIENT_WELCOME)
        client_refuse_text(client, SQLSTATE_CONNECTION_FAILURE,
                           "client_login_timeout (server down)");
    else
        client_refuse_text(client, SQLSTATE_PROTOCOL_VIOLATION, "client_login_timeout");
}

void login_finish(struct client *client)
{
    struct client_login *login = client->login;

    if (login == NULL)
        return;
    login_methods_finish(client);
    client->login = NULL;
    user_lookup_forget(login->lookup);
    if (login->cancel != NULL)
        cancel_leave(login->cancel);
    auth_secret_finish(&login->mock_secret);
    scram_server_finish(&login->scram);
    session_list_finish(&login->startup);
    session_list_finish(&login->asked);
    session_list_finish(&login->tried);
    memory_wipe(login, sizeof(*login));
    memory_free(login);
}
