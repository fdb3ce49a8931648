/* From a pool's wish to a stream: which host, which address, TLS (COMPAT 9.9), the startup message.
 */
#include <stdio.h>
#include <string.h>

#include "login_private.h"
#include "server/dedicated.h"
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

void server_socket_options(const struct server_set *set, struct socket_options *options)
{
    const struct settings *settings = &set->config->settings;
    *options = (struct socket_options){
        .keepalive = settings->tcp_keepalive,
        .keepidle = settings->tcp_keepidle,
        .keepcnt = settings->tcp_keepcnt,
        .keepintvl = settings->tcp_keepintvl,
        .user_timeout_ms = settings->tcp_user_timeout,
        .buffer_bytes = settings->tcp_socket_buffer,
    };
}

/* False: refused at once. */
static bool connect_to(struct server_login *login, const struct address *address)
{
    struct server *server = login->server;
    struct socket_options options;
    struct error error;
    char text[ADDRESS_TEXT_MAX];
    server_socket_options(server->set, &options);
    server->address = *address;
    login->step = LOGIN_CONNECT;
    address_text(address, text, sizeof(text));
    snprintf(server->subject.prefix, sizeof(server->subject.prefix), "S-%p: %s/%s@%s",
             (void *)server, server->database->name, server->member.pool->user_name, text);
    if (stream_connect(&server->stream, server->set->loop, address, &options, &connect_events,
                       &error))
        return true;
    log_warning(&server->subject, "sbuf_connect failed to connect to %s: %s", text, error.message);
    return false;
}

/* A name may have addresses at which nobody listens ("localhost" is ::1, too): each is tried once,
 * beginning with another each time. */
static void connect_next(struct server_login *login)
{
    while (login->addresses_left > 0) {
        const struct address *address = &login->addresses[login->address_next];
        login->address_next = (login->address_next + 1) % login->address_count;
        login->addresses_left--;
        if (connect_to(login, address))
            return;
    }
    login_fail_text(login, POOL_FAILURE_PASSING, "connect failed");
}

static void connect_to_all(struct server_login *login, const struct address *addresses, int count)
{
    struct server *server = login->server;
    unsigned turn = server_set_note(server->set, server->member.pool)->address++;
    login->address_count = login->addresses_left =
        count < RESOLVER_ADDRESSES_MAX ? count : RESOLVER_ADDRESSES_MAX;
    memcpy(login->addresses, addresses, (size_t)login->address_count * sizeof(*addresses));
    login->address_next = (int)(turn % (unsigned)login->address_count);
    connect_next(login);
}

void login_connect_again(struct server_login *login)
{
    const struct address address = login->server->address;
    login->addresses_left = 0;
    if (!connect_to(login, &address))
        login_fail_text(login, POOL_FAILURE_PASSING, "connect failed");
}

static void resolved(struct resolver_request *request, const struct address *addresses, int count,
                     const struct error *error)
{
    struct server_login *login =
        (struct server_login *)((char *)request - offsetof(struct server_login, request));
    login->is_resolving = false;
    if (count > 0) {
        connect_to_all(login, addresses, count);
        return;
    }
    log_warning(&login->server->subject, "%s", error->message);
    login_fail_text(login, POOL_FAILURE_PASSING, "server DNS lookup failed");
}

/* Each pool has a cursor of its own: another's logins, or failures, move nothing here. */
static void choose_host(struct server *server)
{
    const struct database_entry *database = server->database;
    struct server_pool_note *note = server_set_note(server->set, server->member.pool);
    unsigned turn = note->host;
    if (database->load_balance_hosts == LOAD_BALANCE_ROUND_ROBIN) {
        turn += (unsigned)server->set->worker;
        note->host++;
    }
    server->host = database->hosts[turn % (unsigned)database->host_count];
}

void login_connect_start(struct server_login *login)
{
    struct server *server = login->server;
    struct server_set *set = server->set;
    struct address address;
    struct error error;
    choose_host(server);
    login->wants_tls = mode_of(server) >= TLS_PREFER;
    if (is_socket_dir(server->host)) {
        const char *dir = server->host ? server->host : set->config->settings.unix_socket_dir;
        if (!dir || !*dir) {
            log_error(NULL, "unix socket dir not configured: %s", server->database->name);
            login_fail_text(login, POOL_FAILURE_PASSING, "cannot connect");
        } else if (!address_from_socket_dir(&address, dir, server->database->port, &error)) {
            login_fail(login, POOL_FAILURE_PASSING, "connect failed", &error);
        } else {
            connect_to_all(login, &address, 1);
        }
        return;
    }
    if (address_from_literal(&address, server->host, server->database->port)) {
        connect_to_all(login, &address, 1);
        return;
    }
    login->is_resolving = true;
    login->request.answer = resolved;
    resolver_lookup(set->resolver, set->loop, server->host, server->database->port,
                    &login->request);
}

/* Whatever roles and databases have set: what auth_query means must not depend on it (THREATS
 * §2.5). Functions of other schemas are called by their whole names. */
#define LOOKUP_SEARCH_PATH "pg_catalog, public"

void login_send_startup(struct server_login *login)
{
    struct server *server = login->server;
    const struct database_entry *database = server->database;
    bool is_lookup = server->member.pool->purpose == POOL_OF_LOOKUPS;
    struct startup_parameter parameters[8 + DEDICATED_PARAMETERS_MAX];
    const struct server_dedicated *dedicated = server->dedicated;
    size_t count = 0;
    struct bytes out;
    const struct startup_parameter all[] = {
        {"user", server->member.pool->user_name},
        {"database", database->dbname},
        {"client_encoding", database->client_encoding},
        {"datestyle", database->datestyle},
        {"timezone", database->timezone},
        {"application_name", database->application_name},
        {"search_path", is_lookup ? LOOKUP_SEARCH_PATH : NULL},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i].value)
            parameters[count++] = all[i];
    for (size_t i = 0; dedicated && i < dedicated->parameter_count; i++)
        parameters[count++] = dedicated->parameters[i];
    bytes_init(&out, 2 * STARTUP_PACKET_MAX);
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
    char text[ADDRESS_TEXT_MAX];
    (void)end;
    if (login->step == LOGIN_CONNECT) {
        address_text(&server->address, text, sizeof(text));
        log_warning(&server->subject, "sbuf_connect failed to connect to %s: %s", text,
                    why->message);
        stream_close(stream);
        connect_next(login);
        return;
    }
    server->end_was_seen = true;
    log_warning(&server->subject, "server went away in login: %s", why->message);
    login_fail_text(login, POOL_FAILURE_PASSING, "server conn crashed?");
}

static const struct stream_events connect_events = {
    .input = connect_input,
    .closed = connect_closed,
    .ready = ready,
};
