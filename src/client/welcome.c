/* From "authenticated" to the login answer: limits, database and pool, the move to a home worker,
 * the wait until a server of the pool has logged in once (COMPAT 9.3, MECHANISMS §2.5). */
#include <string.h>
#include <strings.h>

#include "base/random.h"
#include "client_private.h"
#include "wire/answer.h"
#include "wire/build.h"

/* All that clients asked for, and what a server says, which its login bounds. */
#define ANSWER_MAX                                                                                 \
    (PARAMETER_WANTED_MAX * (PARAMETER_VALUE_MAX + PARAMETER_NAME_MAX + 8) + 1024 * 1024)

/* ---- limits ---- */

static bool refuse_limit(struct client *client, const char *text)
{
    client_refuse_text(client, SQLSTATE_TOO_MANY_CONNECTIONS, text);
    return false;
}

static bool refuse_memory(struct client *client)
{
    client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    return false;
}

/* From here on it counts in max_client_conn; the console always has a place. */
static bool count_client(struct client *client)
{
    struct client_counts *counts = client->set->shared->counts;
    struct client *counted = client->carrier != NULL ? client->carrier : client;
    int limit = client->login->is_console ? 0 : client->set->config->settings.max_client_conn;
    int ceiling = atomic_load(&client->set->shared->client_ceiling);

    if (counted->is_counted) /* with an earlier request */
        return true;
    if (limit > 0 && ceiling > 0 && ceiling < limit)
        limit = ceiling;
    if (!client_counts_logged_in(counts, limit))
        return refuse_limit(client, "no more connections allowed (max_client_conn)");
    client_counts_end_login(counts);
    moat_logged_in(client->set->shared->moat, counted->guest);
    counted->is_counted = true;
    return true;
}

static bool count_names(struct client *client)
{
    struct client_counts *counts = client->set->shared->counts;
    struct effective effective;
    bool reached;

    const struct config_subject subject = {.database = client->database,
                                           .login_user = client->user,
                                           .listener = client->listener,
                                           .route_mode = &client->route_mode};
    config_effective(client->set->config, &subject, &effective);
    if (client->login->is_console) /* counted, and let in all the same */
        effective.max_db_client_connections = effective.max_user_client_connections = 0;
    client->database_count = client_count_database(counts, client->database_name,
                                                   effective.max_db_client_connections, &reached);
    if (client->database_count == NULL)
        return reached ? refuse_limit(client, "client connections exceeded "
                                              "(max_db_client_connections)")
                       : refuse_memory(client);
    client->user_count = client_count_user(counts, client->user_name,
                                           effective.max_user_client_connections, &reached);
    if (client->user_count == NULL)
        return reached ? refuse_limit(client, "client connections exceeded "
                                              "(max_user_client_connections)")
                       : refuse_memory(client);
    return true;
}

/* ---- database and pool ---- */

static bool find_database(struct client *client)
{
    const struct config *config = client->set->config;
    struct error error;

    if (atomic_load(&client->set->shared->shutdown) != SHUTDOWN_NO) {
        client_refuse_text(client, SQLSTATE_CANNOT_CONNECT_NOW, "pooler is shutting down");
        return false;
    }
    if (listener_has_database(client->listener, client->database_name))
        client->database = config_find_database(config, client->database_name);
    if (client->database == NULL) {
        notice_login_failed(client);
        error_set(&error, SQLSTATE_UNDEFINED_DATABASE, "no such database: %.63s",
                  client->database_name);
        client_refuse(client, &error);
        return false;
    }
    if (registry_is_disabled(client->set->shared->registry, client->database_name)) {
        error_set(&error, SQLSTATE_CANNOT_CONNECT_NOW, "database \"%.63s\" is disabled",
                  client->database_name);
        client_refuse(client, &error);
        return false;
    }
    if (listener_auth(client->listener, &config->settings) == AUTH_ANY &&
        client->database->user == NULL) {
        notice_text(client, LOG_ERROR, "auth_type=any requires forced user");
        client_refuse_text(client, SQLSTATE_INVALID_AUTHORIZATION, "bouncer config error");
        return false;
    }
    return true;
}

/* The worker where the client shall live. One that has output left to send stays where it is. */
static int choose_worker(struct client *client, struct pool *pool)
{
    if (client->carrier != NULL)
        return client->set->worker;
    int home = pool_choose_home(pool);
    if (home == client->set->worker)
        return home;
    stream_flush(&client->stream);
    return stream_is_flushed(&client->stream) ? home : client->set->worker;
}

static void await_welcome(struct client *client);

/* On its new worker. */
static void arrive(struct mail *mail, struct loop *loop)
{
    struct client *client = (struct client *)((char *)mail - offsetof(struct client, mail));
    struct client_set *set = client->set;

    TAILQ_INSERT_TAIL(&set->clients, client, link);
    set->count++;
    if (client->login->deadline_at > 0 && !set->is_finished)
        deadline_set(&set->login_deadlines, &client->deadline, client->login->deadline_at);
    if (!stream_attach(&client->stream, loop))
        client_close(client, "out of memory");
    else if (set->is_finished)
        client_close(client, NULL);
    else
        await_welcome(client);
}

/* Its new worker has it from loop_post on. */
static void travel(struct client *client, int worker)
{
    struct client_set *set = client->set;
    struct client_set *home = set->siblings[worker];

    client_move_state(client, CLIENT_MOVING);
    client->login->deadline_at = deadline_is_set(&client->deadline) ? client->deadline.at : 0;
    deadline_clear(&client->deadline);
    stream_detach(&client->stream);
    TAILQ_REMOVE(&set->clients, client, link);
    set->count--;
    client->set = home;
    client->mail.deliver = arrive;
    loop_post(home->loop, &client->mail);
}

/* Servers of its pool log in with what it has proved. A password that was only remembered may have
 * been changed meanwhile: it takes the place of no other. */
static void pass_on(struct client *client, struct pool *pool)
{
    if (client->user->is_passed_on && !client->login->password_is_fresh)
        pool_offer_proven(pool, client->user);
    else
        pool_set_proven(pool, client->user);
}

/* Finds the pool and goes where it lives. */
static void go_home(struct client *client)
{
    struct client_set *set = client->set;
    const char *pool_user = client->server_user != NULL      ? client->server_user
                            : client->database->user != NULL ? client->database->user
                                                             : client->user_name;
    struct pool *pool =
        registry_pool(set->shared->registry, set->config, client->database, pool_user);

    if (pool == NULL) {
        client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "no memory for pool");
        return;
    }
    if (client->user != NULL && client->user->is_proven && client->database->user == NULL &&
        (client->server_user == NULL || client->user->secret.kind == AUTH_SECRET_PLAIN))
        pass_on(client, pool);
    int worker = choose_worker(client, pool);
    client->pool = pool;
    pool_client_arrived(pool, worker);
    if (worker == set->worker)
        await_welcome(client);
    else
        travel(client, worker);
}

/* ---- the login answer ---- */

static bool is_tracked(const struct parameter_names *names, int slot)
{
    return slot >= 0 && names->tracked[slot];
}

/* What the pool's first server said of `name`, or NULL. */
static const char *value_in(const struct pool_welcome *welcome, const char *name)
{
    struct cursor cursor = cursor_over(welcome->data, welcome->size);

    while (cursor_left(&cursor) > 0) {
        const char *said = cursor_string(&cursor);
        const char *value = cursor_string(&cursor);
        if (value != NULL && parameter_name_is(said, name))
            return value;
    }
    return NULL;
}

/* What the server said at its login; the client's own value where it asked for one. `all`: also the
 * settings that are tracked. */
static void say_as_server(struct client *client, const struct pool_welcome *welcome, bool all,
                          struct bytes *out)
{
    const struct parameter_names *names = client->set->shared->parameter_names;
    struct cursor cursor = cursor_over(welcome->data, welcome->size);

    while (cursor_left(&cursor) > 0) {
        const char *name = cursor_string(&cursor);
        const char *value = cursor_string(&cursor);
        if (value == NULL)
            return;
        int slot = parameter_slot(names, name);
        if (!all && is_tracked(names, slot))
            continue;
        const char *own = session_profile_get(client->profile, name);
        value = own ? own : value;
        build_parameter_status(out, name, value);
        if (slot >= 0)
            told_parameters_set(&client->told, slot, value);
    }
}

/* The client's own value where it asked for one. `welcome` may be NULL (the console): only those
 * then. */
static void say_tracked(struct client *client, const struct pool_welcome *welcome,
                        struct bytes *out)
{
    const struct parameter_names *names = client->set->shared->parameter_names;

    for (int slot = 0; slot < names->count; slot++) {
        const char *value;
        if (!is_tracked(names, slot))
            continue;
        value = wanted_parameters_get(&client->wanted, slot);
        if (value == NULL && welcome != NULL)
            value = value_in(welcome, names->names[slot]);
        if (value == NULL && welcome != NULL &&
            strcasecmp(names->names[slot], "application_name") == 0)
            value = ""; /* PostgreSQL's default: no other client's name may show */
        if (value == NULL)
            continue;
        /* What it did not ask for it wants as the pool's first server had it: another client's SET
         * must not show (PITFALLS row 9). */
        if (welcome != NULL && !wanted_parameters_set(&client->wanted, slot, value))
            out->failed = true;
        build_parameter_status(out, names->names[slot], value);
        told_parameters_set(&client->told, slot, value);
    }
}

/* False: no memory. */
static bool make_key(struct client *client)
{
    struct client_set *set = client->set;
    uint32_t size = client->protocol >= PROTOCOL_3_2 ? sizeof(client->cancel_key) : 8;
    struct client *other;

    do {
        random_bytes(client->cancel_key, size);
        client->cancel_key[0] = (uint8_t)((client->cancel_key[0] & CANCEL_KEY_RANDOM_BITS) |
                                          (set->worker & CANCEL_KEY_WORKER_BITS));
        if (set->config->settings.peer_id > 0)
            cancel_key_for_peers(client->cancel_key, set->config->settings.peer_id);
        HASH_FIND(hh, set->by_key, client->cancel_key, size, other);
    } while (other != NULL);
    HASH_ADD_KEYPTR(hh, set->by_key, client->cancel_key, size, client);
    if (!TABLE_ADDED(client))
        return false;
    client->cancel_key_size = size;
    return true;
}

static void begin_answer(struct client *client, struct bytes *out)
{
    bytes_init(out, ANSWER_MAX);
    bytes_put(out, client->login->prelude, client->login->prelude_size);
    build_authentication(out, AUTHENTICATION_OK, NULL, 0);
}

/* COMPAT 2, login_notify_message. */
static void put_notice(const struct client *client, struct bytes *out)
{
    const char *text = client->set->config->settings.login_notify_message;

    if (text != NULL && text[0] != '\0')
        build_notice(out, SQLSTATE_SUCCESS, text, NULL);
}

/* Sends it, and ends the login. False: the client is closed. */
static bool end_answer(struct client *client, struct bytes *out)
{
    bool ok = make_key(client);

    if (ok) {
        struct cursor key = cursor_over(client->cancel_key, client->cancel_key_size);
        uint32_t process = cursor_u32(&key);
        build_backend_key_data(out, process, key.at, cursor_left(&key));
        put_notice(client, out);
        build_ready_for_query(out, 'I');
        ok = bytes_ok(out) && stream_put(&client->stream, out->data, out->size);
    }
    bytes_finish_secret(out);
    if (!ok) {
        client_close(client, "failed to prepare welcome message");
        return false;
    }
    deadline_clear(&client->deadline);
    login_audit_accepted(client);
    stream_tls_secrets_are_over(&client->stream);
    login_finish(client);
    return true;
}

static void note_login(struct client *client)
{
    struct pool_stats *stats = pool_stats(client->pool, client->set->worker);
    usec_t took = loop_now(client->set->loop) - client->connect_time;
    stats->client_logins++;
    stats->login_time += (uint64_t)took;
    histogram_add(&stats->logins_took, took);
}

/* Takes the reference of `welcome` over. */
static void say_welcome(struct client *client, struct pool_welcome *welcome)
{
    struct bytes out;

    if (client->login->follows &&
        !wanted_parameters_copy(&client->startup_wanted, &client->wanted)) {
        pool_welcome_release(welcome);
        refuse_memory(client);
        return;
    }
    begin_answer(client, &out);
    say_as_server(client, welcome, false, &out);
    say_tracked(client, welcome, &out);
    pool_welcome_release(welcome);
    if (!end_answer(client, &out))
        return;
    note_login(client);
    requests_start(client);
    if (client->state == CLIENT_IDLE && !deadline_is_set(&client->deadline))
        attach_arm_idle(client);
}

void welcome_dedicated(struct client *client, struct pool_welcome *welcome)
{
    struct bytes out;

    begin_answer(client, &out);
    /* The client's settings were in its startup message: all is as the server says. */
    say_as_server(client, welcome, true, &out);
    pool_welcome_release(welcome);
    if (!end_answer(client, &out))
        return;
    note_login(client);
    requests_start(client);
}

/* ---- waiting for the pool's first server ---- */

/* The server was lent only as a sign that it is there. It goes on to the next who waits at the end
 * of the turn: at once, a thousand who wait for the same would be a thousand calls deep. */
static void pass_server_on(struct server *server)
{
    server_detach(server, false, "client disconnect while server was not ready");
}

static void granted(struct pool_waiter *waiter, struct pool_member *member)
{
    struct client *client = client_of_waiter(waiter);
    bool is_current = pool_member_is_current(member);

    pool_waiter_done(waiter);
    pass_server_on(server_of_member(member));
    if (client->state == CLIENT_CLOSED) {
        client_free_if_closed(client);
        return;
    }
    struct pool_welcome *welcome = pool_welcome_acquire(client->pool);
    if (welcome != NULL && startup_trial_passed(client))
        say_welcome(client, welcome);
    else if (welcome != NULL)
        pool_welcome_release(welcome);
    else if (is_current)
        client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "failed to prepare welcome message");
    else /* a RECONNECT came in between */
        await_welcome(client);
}

/* True: a server was there, and is on its way back. False: the client waits, or was refused. */
static bool ask_for_server(struct client *client)
{
    struct client_set *set = client->set;
    struct pool_member *member = NULL;
    struct pool_advice advice = {.order = POOL_NOTHING};
    struct error error;

    client->waiter.granted = granted;
    client->waiter.refused = attach_refused;
    switch (pool_acquire(client->pool, set->worker, &client->waiter, loop_now(set->loop), &member,
                         &advice, &error)) {
    case POOL_GOT:
        /* Nobody's: answers and notices that come meanwhile go to nobody. */
        if (server_attach(server_of_member(member), NULL, NULL, NULL, NULL))
            pass_server_on(server_of_member(member));
        return true;
    case POOL_WAIT:
        server_follow(set->servers, &advice); /* may fail at once, and end the client */
        return false;
    case POOL_REFUSED:
        client_refuse(client, &error);
        return false;
    }
    return false;
}

static void await_welcome(struct client *client)
{
    struct pool_welcome *welcome;

    client_move_state(client, CLIENT_WELCOME);
    if (client->replication != NULL) {
        replication_ask(client);
        return;
    }
    do
        welcome = pool_welcome_acquire(client->pool);
    while (welcome == NULL && ask_for_server(client));
    if (welcome == NULL)
        return;
    if (startup_trial_passed(client))
        say_welcome(client, welcome);
    else
        pool_welcome_release(welcome);
}

void welcome_go_on(struct client *client)
{
    await_welcome(client);
}

/* ---- the console ---- */

static void console_input(struct stream *stream)
{
    struct client *client = client_of_stream(stream);

    client->set->shared->console->input(client);
}

static void console_closed(struct stream *stream, enum stream_end end, const struct error *why)
{
    (void)end;
    (void)why;
    client_close(client_of_stream(stream), "client unexpected eof");
}

static const struct stream_events console_events = {
    .input = console_input,
    .closed = console_closed,
};

/* COMPAT 5.1, in this order. */
static void say_console_parameters(struct bytes *out)
{
    static const char *const pairs[][2] = {
        {"server_version", "1.25.2/bouncer"},
        {"client_encoding", "UTF8"},
        {"server_encoding", "UTF8"},
        {"DateStyle", "ISO"},
        {"TimeZone", "GMT"},
        {"standard_conforming_strings", "on"},
        {"is_superuser", "on"},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        build_parameter_status(out, pairs[i][0], pairs[i][1]);
}

static void enter_console(struct client *client)
{
    const struct console_ops *console = client->set->shared->console;
    struct bytes out;

    client->database = config_find_database(client->set->config, client->database_name);
    if (!count_names(client))
        return;
    client_move_state(client, CLIENT_CONSOLE);
    client->stream.events = &console_events;
    begin_answer(client, &out);
    say_console_parameters(&out);
    say_tracked(client, NULL, &out);
    if (!end_answer(client, &out))
        return;
    if (!console->opened(client))
        client_close(client, "out of memory");
    else if (stream_input(&client->stream).size > 0)
        console->input(client);
}

/* ---- settings of the startup packet ---- */

/* Those that are not tracked hold where session state follows its client; elsewhere they are
 * refused, as PgBouncer does. */
static bool settle_startup(struct client *client)
{
    struct client_login *login = client->login;
    struct effective effective;
    struct error error;

    if (client->replication != NULL) /* they go into the startup message of its own server */
        return true;
    const struct config_subject subject = {.database = client->database,
                                           .pool_user = client->user,
                                           .login_user = client->user,
                                           .listener = client->listener,
                                           .route_mode = &client->route_mode};
    config_effective(client->set->config, &subject, &effective);
    login->follows = effective.session_state == SESSION_STATE_FOLLOW;
    if (login->follows || login->startup.count == 0)
        return true;
    error_set(&error, SQLSTATE_PROTOCOL_VIOLATION, "unsupported startup parameter%s: %s",
              login->startup_in_options ? " in options" : "", login->startup.items[0].name);
    notice_text(client, LOG_WARNING, error.message);
    client_refuse(client, &error);
    return false;
}

/* ---- the door ---- */

void welcome_start(struct client *client)
{
    if (!count_client(client))
        return;
    if (client->login->is_console) {
        enter_console(client);
    } else if (find_database(client) && settle_startup(client) && count_names(client)) {
        login_methods_keep_key(client);
        go_home(client);
    }
}
