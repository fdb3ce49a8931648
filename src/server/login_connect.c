/* From a pool's wish to a stream: which host, which address, TLS (COMPAT 9.9), the startup message.
 */
#include <stdio.h>
#include <string.h>

#include "login_private.h"
#include "wire/build.h"

static const struct stream_events connect_events;

static bool is_socket_dir(const char *host)
{
    return !host || host[0] == '/' || host[0] == '@';
}

/* The TLS mode that holds for this connection: never on a Unix socket. */
static enum tls_mode mode_of(const struct server *server)
{
    if (is_socket_dir(server->host) || !server->tls)
        return TLS_DISABLE;
    return tls_context_mode(server->tls);
}

static void connect_to(struct server_login *login, const struct address *address)
{
    struct server *server = login->server;
    const struct settings *settings = &server->set->config->settings;
    const struct socket_options options = {
        .keepalive = settings->tcp_keepalive,
        .keepidle = settings->tcp_keepidle,
        .keepcnt = settings->tcp_keepcnt,
        .keepintvl = settings->tcp_keepintvl,
        .user_timeout_ms = settings->tcp_user_timeout,
        .buffer_bytes = settings->tcp_socket_buffer,
    };
    struct error error;
    char text[ADDRESS_TEXT_MAX];
    server->address = *address;
    address_text(address, text, sizeof(text));
    snprintf(server->subject.prefix, sizeof(server->subject.prefix), "S-%p: %s/%s@%s",
             (void *)server, server->database->name, server->member.pool->user_name, text);
    if (stream_connect(&server->stream, server->set->loop, address, &options, &connect_events,
                       &error))
        return;
    log_warning(&server->subject, "sbuf_connect failed to connect to %s: %s", text, error.message);
    login_fail_text(login, POOL_FAILURE_PASSING, "connect failed");
}

static void resolved(struct resolver_request *request, const struct address *addresses, int count,
                     const struct error *error)
{
    struct server_login *login =
        (struct server_login *)((char *)request - offsetof(struct server_login, request));
    login->is_resolving = false;
    if (count > 0) {
        connect_to(login, &addresses[login->server->id % (uint64_t)count]);
        return;
    }
    log_warning(&login->server->subject, "DNS lookup failed: %s: %s", login->server->host,
                error->message);
    login_fail_text(login, POOL_FAILURE_PASSING, "server DNS lookup failed");
}

static void choose_host(struct server *server)
{
    const struct database_entry *database = server->database;
    uint64_t turn = server->set->opened;
    if (database->load_balance_hosts == LOAD_BALANCE_DISABLE)
        turn = server->set->failed_logins;
    server->host = database->hosts[turn % (uint64_t)database->host_count];
}

void login_connect_start(struct server_login *login)
{
    struct server *server = login->server;
    struct server_set *set = server->set;
    struct address address;
    struct error error;
    choose_host(server);
    login->step = LOGIN_CONNECT;
    enum tls_mode mode = mode_of(server);
    login->wants_tls = login->wants_tls || mode >= TLS_PREFER;
    if (is_socket_dir(server->host)) {
        const char *dir = server->host ? server->host : set->config->settings.unix_socket_dir;
        if (!dir || !*dir) {
            log_error(NULL, "unix socket dir not configured: %s", server->database->name);
            login_fail_text(login, POOL_FAILURE_PASSING, "cannot connect");
        } else if (!address_from_socket_dir(&address, dir, server->database->port, &error)) {
            login_fail(login, POOL_FAILURE_PASSING, "connect failed", &error);
        } else {
            connect_to(login, &address);
        }
        return;
    }
    if (address_from_literal(&address, server->host, server->database->port)) {
        connect_to(login, &address);
        return;
    }
    login->is_resolving = true;
    login->request.answer = resolved;
    resolver_lookup(set->resolver, set->loop, server->host, server->database->port,
                    &login->request);
}

void login_send_startup(struct server_login *login)
{
    struct server *server = login->server;
    const struct database_entry *database = server->database;
    struct startup_parameter parameters[8];
    size_t count = 0;
    struct bytes out;
    const struct startup_parameter all[] = {
        {"user", server->member.pool->user_name},
        {"database", database->dbname},
        {"client_encoding", database->client_encoding},
        {"datestyle", database->datestyle},
        {"timezone", database->timezone},
        {"application_name", database->application_name},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i].value)
            parameters[count++] = all[i];
    bytes_init(&out, STARTUP_PACKET_MAX);
    build_startup(&out, PROTOCOL_3_0, parameters, count);
    server_move_state(server, SERVER_LOGIN);
    login->step = LOGIN_AUTHENTICATE;
    login_put(login, &out);
    bytes_finish(&out);
}

static void send_ssl_request(struct server_login *login)
{
    uint8_t memory[8];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_ssl_request(&out);
    login->step = LOGIN_SSL_ANSWER;
    login_put(login, &out);
}

/* connect() is done, or the TLS handshake. */
static void ready(struct stream *stream)
{
    struct server_login *login = server_of_stream(stream)->login;
    if (login->step == LOGIN_CONNECT && login->wants_tls)
        send_ssl_request(login);
    else
        login_send_startup(login);
}

static void take_ssl_answer(struct server_login *login)
{
    struct server *server = login->server;
    struct span input = stream_input(&server->stream);
    struct error error;
    if (input.data == NULL || input.size == 0)
        return;
    uint8_t answer = input.data[0];
    if (input.size > 1) {
        login_fail_text(login, POOL_FAILURE_PASSING,
                        "received unencrypted data after SSL response");
        return;
    }
    stream_consume(&server->stream, 1);
    if (answer == 'S') {
        login->step = LOGIN_TLS;
        if (!stream_start_tls_connect(&server->stream, server->tls, server->host, NULL, &error))
            login_fail(login, POOL_FAILURE_PASSING, "TLS failed", &error);
    } else if (answer != 'N') {
        login_fail_text(login, POOL_FAILURE_PASSING, "bad sslreq answer");
    } else if (mode_of(server) >= TLS_REQUIRE) {
        login_fail_text(login, POOL_FAILURE_PASSING, "server refused SSL");
    } else {
        login_send_startup(login);
    }
}

static void connect_input(struct stream *stream)
{
    struct server_login *login = server_of_stream(stream)->login;
    if (login->step == LOGIN_SSL_ANSWER)
        take_ssl_answer(login);
    else if (login->step != LOGIN_CONNECT && login->step != LOGIN_TLS)
        login_input(login);
}

static void connect_closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    struct server *server = server_of_stream(stream);
    struct server_login *login = server->login;
    (void)end;
    server->end_was_seen = true;
    if (login->step == LOGIN_CONNECT)
        log_warning(&server->subject, "sbuf_connect failed to connect: %s", why->message);
    else
        log_warning(&server->subject, "server went away in login: %s", why->message);
    login_fail_text(login, POOL_FAILURE_PASSING,
                    login->step == LOGIN_CONNECT ? "connect failed" : "server conn crashed?");
}

static const struct stream_events connect_events = {
    .input = connect_input,
    .closed = connect_closed,
    .ready = ready,
};
