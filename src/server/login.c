/* A server's login: what it says until its first ReadyForQuery, and how it ends (COMPAT 9.3, 9.12;
 * MECHANISMS §6). */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "login_private.h"
#include "wire/answer.h"
#include "wire/build.h"
#include "wire/message.h"
#include "wire/sqlstate.h"

bool login_put(struct server_login *login, const struct bytes *out)
{
    if (bytes_ok(out) && stream_put(&login->server->stream, out->data, out->size))
        return true;
    return login_fail_text(login, POOL_FAILURE_PASSING, "out of memory");
}

/* What a client has passed on, and the server has accepted; else, where the configuration has none,
 * as its last client has proved it. */
static bool find_proven(struct server_login *login, struct user_entry *user)
{
    if (!user)
        return true;
    if (!user->is_passed_on)
        return auth_secret_set(&login->secret, user->secret.text);
    login->passed_on = user_acquire(user);
    return auth_secret_set_plain(&login->secret, user->secret.text);
}

/* The secret of the pool's user: the entry's, else that of auth_file, else its own. */
static bool find_secret(struct server_login *login)
{
    struct server *server = login->server;
    const struct database_entry *database = server->database;
    const char *name = server->member.pool->user_name;
    if (server->probe)
        return server_probe_secret(server->probe, &login->secret);
    if (database->password && database->user && strcmp(database->user, name) == 0)
        return auth_secret_set(&login->secret, database->password);
    struct user_entry *user = config_find_user(server->set->config, name);
    struct user_entry *proven = pool_proven_acquire(server->member.pool);
    bool has_secret = user && user->secret.text && !(proven && proven->is_passed_on);
    bool ok = has_secret ? auth_secret_set(&login->secret, user->secret.text)
                         : find_proven(login, proven);
    user_release(user);
    user_release(proven);
    return ok;
}

/* A password that the server takes no longer lets nobody in either. */
static void forget_passed_on(const struct server_login *login)
{
    const struct server *server = login->server;
    struct pool *pool = server->member.pool;
    const struct password_cache_subject subject = {
        .database = server->database->name,
        .login_name = pool->user_name,
        .server_name = pool->user_name,
        .method = "passthrough",
        .verifier = "",
        .password = login->secret.text,
    };
    pool_forget_proven(pool, login->passed_on);
    password_cache_drop(server->set->password_cache, &subject);
}

static void fail(struct server *server, enum pool_failure failure, const char *reason,
                 const struct error *error)
{
    if (server->probe) {
        server_probe_failed(server, failure);
        server_close(server, reason, error);
        return;
    }
    if (server->login && server->login->passed_on && server->login->server_said_no &&
        strcmp(error->sqlstate, SQLSTATE_INVALID_PASSWORD) == 0)
        forget_passed_on(server->login);

    struct server_set *set = server->set;
    struct pool *pool = pool_acquire_reference(server->member.pool);
    bool is_current =
        pool_member_is_current(&server->member); /* else it says nothing of what holds now */
    tally_add(&set->errors, error->sqlstate, reason);
    if (failure != POOL_FAILURE_LOGIN &&
        server->database->load_balance_hosts == LOAD_BALANCE_DISABLE)
        server_set_note(set, pool)->host++;
    server->login_was_refused = failure != POOL_FAILURE_PASSING;
    if (server->is_dedicated && failure != POOL_FAILURE_PASSING)
        is_current = false; /* says nothing of ordinary logins */
    if (is_current && pool_open_failed(pool, failure, error, loop_now(set->loop),
                                       set->config->settings.server_login_retry))
        server_set_refuse_all(set, pool, error);
    server_close(server, reason, error);
    pool_release_reference(pool);
}

void server_login_start(struct server *server)
{
    static const struct error no_memory = {SQLSTATE_OUT_OF_MEMORY, "out of memory", ""};
    usec_t limit = server->set->config->settings.server_connect_timeout;
    struct server_login *login = memory_zalloc(sizeof(*login));
    server->login = login;
    server->stream.is_closed = true; /* there is nothing to close before the first connect() */
    if (!login) {
        fail(server, POOL_FAILURE_PASSING, "out of memory", &no_memory);
        return;
    }
    login->server = server;
    bytes_init(&login->welcome, LOGIN_BYTES_MAX);
    if (limit > 0)
        deadline_set(&server->set->connect_deadlines, &server->deadline,
                     loop_now(server->set->loop) + limit);
    if (find_secret(login))
        login_connect_start(login);
    else
        login_fail_text(login, POOL_FAILURE_PASSING, "out of memory");
}

void server_login_finish(struct server *server)
{
    struct server_login *login = server->login;
    if (!login)
        return;
    server->login = NULL;
    if (login->is_resolving)
        resolver_cancel(server->set->resolver, &login->request);
    auth_secret_finish(&login->secret);
    user_release(login->passed_on);
    scram_client_finish(&login->scram);
    bytes_finish(&login->welcome);
    memory_wipe(login, sizeof(*login));
    memory_free(login);
}

bool login_fail(struct server_login *login, enum pool_failure failure, const char *reason,
                const struct error *error)
{
    fail(login->server, failure, reason, error);
    return false;
}

bool login_fail_text(struct server_login *login, enum pool_failure failure, const char *text)
{
    struct error error;
    error_set(&error, SQLSTATE_CANNOT_CONNECT, "%s", text);
    return login_fail(login, failure, text, &error);
}

/* sslmode=allow: plain first; a server that wants TLS is tried again with it. */
static bool tries_tls_now(struct server_login *login, const struct error_response *error)
{
    struct server *server = login->server;
    if (login->wants_tls || !server->tls || tls_context_mode(server->tls) != TLS_ALLOW ||
        address_is_local(&server->address) || strncmp(error->sqlstate, "28", 2) != 0)
        return false;
    login->wants_tls = true;
    login->was_asked = false;
    stream_close(&server->stream);
    server_move_state(server, SERVER_CONNECTING);
    login_connect_again(login);
    return true;
}

/* A server that goes down or comes up passes by itself; others are refused for a while, or this
 * login alone is. */
static enum pool_failure failure_of(const char *sqlstate)
{
    if (sqlstate_is_starting_up(sqlstate) || strcmp(sqlstate, SQLSTATE_ADMIN_SHUTDOWN) == 0 ||
        strcmp(sqlstate, "57P02") == 0)
        return POOL_FAILURE_PASSING;
    return sqlstate_is_about_the_login(sqlstate) ? POOL_FAILURE_LOGIN : POOL_FAILURE_REFUSED;
}

static bool take_error(struct server_login *login, struct span body)
{
    struct error_response said;
    struct error error;
    char sqlstate[6];
    if (!error_response_read(body, &said))
        return login_fail_text(login, POOL_FAILURE_PASSING, "malformed error at login");
    bool is_fatal = strcmp(said.severity, "FATAL") == 0 || strcmp(said.severity, "PANIC") == 0;
    if (login->step == LOGIN_CONNECT_QUERY && !login->is_ready && !is_fatal) {
        log_error(NULL, "S: error while executing exec_on_query: %s: %s", said.severity,
                  said.message);
        return true;
    }
    if (tries_tls_now(login, &said))
        return false;
    login->server_said_no = true;
    if (!login->server->probe) /* a stranger may have caused it: said once, of its login */
        log_warning(NULL, "server login failed: %s %s", said.severity, said.message);
    snprintf(sqlstate, sizeof(sqlstate), "%s",
             strlen(said.sqlstate) == 5 ? said.sqlstate : "08P01");
    error_set(&error, sqlstate, "%s", said.message);
    return login_fail(login, failure_of(sqlstate), error.message, &error);
}

static bool take_parameter(struct server_login *login, struct span body)
{
    struct server *server = login->server;
    const char *name, *value;
    if (!parameter_status_read(body, &name, &value))
        return login_fail_text(login, POOL_FAILURE_PASSING, "broken ParameterStatus packet");
    int slot = parameter_slot(server->set->parameter_names, name);
    bytes_string(&login->welcome, name);
    bytes_string(&login->welcome, value);
    if (bytes_ok(&login->welcome) &&
        (slot < 0 || server_parameters_set(&server->parameters, slot, value)))
        return true;
    return login_fail_text(login, POOL_FAILURE_PASSING, "out of memory");
}

static bool take_key(struct server_login *login, struct span body)
{
    struct server *server = login->server;
    struct span key;
    if (!backend_key_data_read(body, &server->process, &key) ||
        key.size > sizeof(server->cancel_key))
        return login_fail_text(login, POOL_FAILURE_PASSING, "malformed BackendKeyData");
    memcpy(server->cancel_key, key.data, key.size);
    server->cancel_key_size = (uint32_t)key.size;
    return true;
}

static void log_new(struct server *server)
{
    char tls[128];
    struct address local;
    char text[ADDRESS_TEXT_MAX];
    if (!server->set->config->settings.log_connections || server->probe)
        return;
    if (address_is_local(&server->address) || !address_of_socket(&local, server->stream.fd)) {
        log_info(&server->subject, "new connection to server");
    } else {
        address_text(&local, text, sizeof(text));
        log_info(&server->subject, "new connection to server (from %s)", text);
    }
    stream_tls_text(&server->stream, tls, sizeof(tls));
    if (tls[0])
        log_info(&server->subject, "SSL established: %s", tls);
}

static bool start_connect_query(struct server_login *login)
{
    const char *query = login->server->database->connect_query;
    struct bytes out;
    bytes_init(&out, strlen(query) + 64);
    build_query(&out, query);
    login->step = LOGIN_CONNECT_QUERY;
    bool ok = login_put(login, &out);
    bytes_finish(&out);
    return ok;
}

/* It is one of the pool's now. Released at the turn's end: its FIN may be in the same batch of
 * events (MECHANISMS §1.1). */
static void succeed(struct server_login *login)
{
    struct server *server = login->server;
    struct server_set *set = server->set;
    struct pool_advice advice = {.order = POOL_NOTHING};
    if (server->probe) {
        server_probe_opened(server);
        return;
    }
    struct pool_welcome *welcome = pool_welcome_create(login->welcome.data, login->welcome.size);
    log_new(server);
    deadline_clear(&server->deadline);
    server_login_finish(server);
    ledger_init(&server->ledger);
    server->stream.events = &server_stream_events;
    if (server->is_dedicated)
        server_dedicated_opened(server, welcome);
    else
        pool_member_opened(server->member.pool, &server->member, welcome, &advice);
    server_move_state(server, SERVER_ACTIVE);
    loop_defer(set->loop, LOOP_GRANT, &server->release_task);
    server_follow(set, &advice);
}

static bool take_ready(struct server_login *login, struct span body)
{
    uint8_t status;
    if (login->is_ready || (login->step != LOGIN_GREETING && login->step != LOGIN_CONNECT_QUERY))
        return login_fail_text(login, POOL_FAILURE_REFUSED, "ReadyForQuery out of turn at login");
    if (!ready_for_query_read(body, &status) || status != 'I')
        return login_fail_text(login, POOL_FAILURE_REFUSED,
                               login->step == LOGIN_CONNECT_QUERY
                                   ? "connect_query left a transaction open"
                                   : "malformed ReadyForQuery at login");
    if (login->step == LOGIN_GREETING && login->server->database->connect_query &&
        !login->server->is_physical && !login->server->probe)
        return start_connect_query(login);
    login->is_ready = true;
    return true;
}

/* Rows and tags of connect_query are nobody's. */
static bool is_of_connect_query(const struct server_login *login, uint8_t type)
{
    return login->step == LOGIN_CONNECT_QUERY && !login->is_ready && type != 0 &&
           strchr("TDCI", type) != NULL;
}

/* False: the login has failed, or goes on over another connection. */
static bool take_message(struct server_login *login, const struct message *message)
{
    bool is_greeting = login->step == LOGIN_GREETING || login->step == LOGIN_CONNECT_QUERY;
    switch (message->type) {
    case 'R':
        return login_authentication(login, message->body);
    case 'E':
        return take_error(login, message->body);
    case 'N':
        return true;
    case 'S':
        if (is_greeting)
            return take_parameter(login, message->body);
        break;
    case 'K':
        if (login->step == LOGIN_GREETING && !login->is_ready)
            return take_key(login, message->body);
        break;
    case 'Z':
        return take_ready(login, message->body);
    case 'A':
        if (login->step == LOGIN_CONNECT_QUERY)
            return true;
        break;
    default:
        if (is_of_connect_query(login, message->type))
            return true;
        break;
    }
    return login_fail_text(login, POOL_FAILURE_REFUSED, "unexpected message at login");
}

void login_input(struct server_login *login)
{
    struct server *server = login->server;
    struct message message;
    for (;;) {
        struct span input = stream_input(&server->stream);
        switch (message_peek(input.data, input.size, LOGIN_MESSAGE_MAX, &message)) {
        case MESSAGE_NONE:
            /* Whatever came with the last ReadyForQuery was looked at: nothing is left for a
             * client. */
            if (login->is_ready && input.size == 0)
                succeed(login);
            return;
        case MESSAGE_PARTIAL:
            stream_want(&server->stream, message.size);
            return;
        case MESSAGE_BAD:
            login_fail_text(login, POOL_FAILURE_PASSING, "bad pkt header");
            return;
        case MESSAGE_WHOLE:
            break;
        }
        login->bytes += message.size;
        if (login->bytes > LOGIN_BYTES_MAX) {
            login_fail_text(login, POOL_FAILURE_PASSING, "too much said at login");
            return;
        }
        if (!take_message(login, &message))
            return;
        stream_consume(&server->stream, message.size);
        if (login->step == LOGIN_PBKDF2)
            return;
    }
}

void server_login_expired(struct server *server)
{
    login_fail_text(server->login, POOL_FAILURE_PASSING, "connect timeout");
}
