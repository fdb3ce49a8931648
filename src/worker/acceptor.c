#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "wire/build.h"
#include "worker_private.h"

#define LISTENERS_MAX 64
#define REST_TIME     (2 * USEC_PER_MSEC)
/* PgBouncer's. A flood of strangers fills it between two turns of the loop, and whoever finds it
 * full is heard a second later: so up to here it is as many as the system allows. */
#define BACKLOG_DEFAULT 128

struct acceptor {
    struct workers *workers;
    struct listener *listeners[LISTENERS_MAX];
    int count;
    uint64_t generation; /* of the configuration whose descriptors were shared out */
};

/* A socket on its way to its worker. */
struct handed_over {
    struct mail mail;
    struct workers *workers;
    struct worker *worker;
    struct address peer;
    struct moat_guest *guest;
    int fd;
};

/* The worker with the fewest clients, worker 0 last: its handshakes would delay every accept
 * (MECHANISMS §2.11). */
static struct worker *choose(struct workers *workers)
{
    struct worker *best = &workers->array[0];
    for (int i = workers->count - 1; i > 0; i--) {
        struct worker *worker = &workers->array[i];
        if (best == &workers->array[0] || atomic_load(&worker->placed) < atomic_load(&best->placed))
            best = worker;
    }
    return best;
}

static void take_over(struct worker *worker, int fd, const struct address *peer,
                      struct moat_guest *guest)
{
    client_accept(&worker->clients, fd, peer, &worker->clients.config->listener, guest);
}

static void deliver(struct mail *mail, struct loop *loop)
{
    struct handed_over *handed =
        (struct handed_over *)((char *)mail - offsetof(struct handed_over, mail));
    (void)loop;
    take_over(handed->worker, handed->fd, &handed->peer, handed->guest);
    memory_free(handed);
}

/* ---- who may come in ---- */

static struct moat_limits limits_now(struct acceptor *acceptor)
{
    struct workers *workers = acceptor->workers;
    const struct settings *settings = &workers->config->settings;
    int ceiling = workers->login_ceiling;

    return (struct moat_limits){
        .login_clients = ceiling > 0 && ceiling < settings->max_login_clients
                             ? ceiling
                             : settings->max_login_clients,
        .connections_per_prefix = settings->max_client_conn_per_ip,
        .logins_per_prefix = settings->login_rate_per_ip,
    };
}

/* Count and sample: one line a second for each cause. */
static void say_refused(const char *what, struct log_limit *limit, const struct address *peer)
{
    char text[ADDRESS_TEXT_MAX];
    uint32_t held_back;

    if (!log_allow(limit, 1, &held_back))
        return;
    address_text(peer, text, sizeof(text));
    log_warning(NULL, "%s (the last one: %s; %u lines held back)", what, text, held_back);
}

static void say_verdict(enum moat_verdict verdict, const struct address *peer)
{
    static struct log_limit limits[MOAT_VERDICTS];

    switch (verdict) {
    case MOAT_IN:
        break;
    case MOAT_REPLACES:
        say_refused("too many clients that have not logged in (max_login_clients): newcomers take "
                    "the place of others",
                    &limits[verdict], peer);
        break;
    case MOAT_FULL:
        say_refused("too many clients that have not logged in (max_login_clients): connection "
                    "closed",
                    &limits[verdict], peer);
        break;
    case MOAT_TOO_MANY:
        say_refused("too many connections from one address (max_client_conn_per_ip): connection "
                    "closed",
                    &limits[verdict], peer);
        break;
    case MOAT_TOO_OFTEN:
        say_refused("too many new connections from one address (login_rate_per_ip): connection "
                    "closed",
                    &limits[verdict], peer);
        break;
    case MOAT_NO_MEMORY:
    case MOAT_VERDICTS:
        break;
    }
}

/* One try to tell the client; PostgreSQL, too, answers so before it has read anything. */
static void tell_refused(int fd, enum moat_verdict verdict)
{
    uint8_t memory[256], scratch[1024];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct error error;

    if (verdict != MOAT_TOO_MANY && verdict != MOAT_TOO_OFTEN)
        return;
    error_set(&error, SQLSTATE_TOO_MANY_CONNECTIONS,
              verdict == MOAT_TOO_MANY
                  ? "too many connections from this address (max_client_conn_per_ip)"
                  : "too many new connections from this address (login_rate_per_ip)");
    build_error(&out, "FATAL", &error);
    (void)send(fd, out.data, out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT); /* what is unread makes close a reset */
}

/* NULL: refused. */
static struct moat_guest *admit(struct acceptor *acceptor, int fd, const struct address *peer,
                                int worker)
{
    struct workers *workers = acceptor->workers;

    if (acceptor->generation != workers->config->generation) {
        acceptor->generation = workers->config->generation;
        descriptors_share(workers);
    }
    const struct moat_limits limits = limits_now(acceptor);
    struct moat_answer answer =
        moat_enter(workers->shared.moat, peer, worker, &limits, loop_now(workers->array[0].loop));
    for (int i = 0; i < workers->count; i++)
        if (answer.told_workers >> i & 1)
            client_set_look_for_dropped(workers->client_sets[i]);
    say_verdict(answer.verdict, peer);
    if (answer.guest == NULL)
        tell_refused(fd, answer.verdict);
    return answer.guest;
}

static void set_options(struct workers *workers, int fd, const struct address *peer)
{
    const struct settings *settings = &workers->config->settings;
    const struct socket_options options = {
        .keepalive = settings->tcp_keepalive,
        .keepidle = settings->tcp_keepidle,
        .keepcnt = settings->tcp_keepcnt,
        .keepintvl = settings->tcp_keepintvl,
        .user_timeout_ms = settings->tcp_user_timeout,
        .buffer_bytes = settings->tcp_socket_buffer,
    };
    socket_apply_options(fd, peer, &options);
}

/* Workers that are busy closing are given the time for it. */
static void rest_if_behind(struct acceptor *acceptor, struct listener *listener)
{
    if (moat_is_behind(acceptor->workers->shared.moat))
        listener_rest(listener, REST_TIME);
}

static void accepted(void *argument, int fd, const struct address *peer, struct listener *listener)
{
    struct acceptor *acceptor = argument;
    struct workers *workers = acceptor->workers;
    struct worker *worker = choose(workers);
    struct moat_guest *guest = admit(acceptor, fd, peer, worker->index);
    rest_if_behind(acceptor, listener);
    if (!guest) {
        close(fd);
        return;
    }
    (void)client_counts_begin_login(workers->shared.counts, 0);
    set_options(workers, fd, peer);
    atomic_fetch_add(&worker->placed, 1);
    if (worker->index == 0) {
        take_over(worker, fd, peer, guest);
        return;
    }
    struct handed_over *handed = memory_zalloc(sizeof(*handed));
    if (!handed) {
        close(fd);
        client_counts_end_login(workers->shared.counts);
        moat_leave(workers->shared.moat, guest);
        atomic_fetch_sub(&worker->placed, 1);
        return;
    }
    *handed = (struct handed_over){.mail.deliver = deliver,
                                   .workers = workers,
                                   .worker = worker,
                                   .peer = *peer,
                                   .guest = guest,
                                   .fd = fd};
    loop_post(worker->loop, &handed->mail);
}

static bool open_one(struct acceptor *acceptor, const struct address *address, struct error *error)
{
    const struct settings *settings = &acceptor->workers->config->settings;
    const struct listener_settings how = {
        .backlog =
            settings->listen_backlog > BACKLOG_DEFAULT ? settings->listen_backlog : SOMAXCONN,
        .reuse_port = settings->so_reuseport != 0,
        .defer_accept = settings->tcp_defer_accept != 0,
        .unix_mode = settings->unix_socket_mode,
        .unix_group = settings->unix_socket_group,
    };
    char text[ADDRESS_TEXT_MAX];
    if (acceptor->count == LISTENERS_MAX)
        return error_set(error, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                         "more than %d addresses to listen on", LISTENERS_MAX);
    struct listener *listener =
        listener_open(acceptor->workers->array[0].loop, address, &how, accepted, acceptor, error);
    if (!listener)
        return false;
    acceptor->listeners[acceptor->count++] = listener;
    address_listen_text(address, text, sizeof(text));
    log_info(NULL, "listening on %s", text);
    return true;
}

/* One word of listen_addr. */
static bool open_word(struct acceptor *acceptor, const char *word, struct error *error)
{
    struct address addresses[16];
    char text[ADDRESS_TEXT_MAX];
    int count = listener_addresses(word, acceptor->workers->config->settings.listen_port, addresses,
                                   16, error);
    if (count <= 0)
        return false;
    for (int i = 0; i < count; i++) {
        struct error why;
        if (open_one(acceptor, &addresses[i], &why))
            continue;
        address_text(&addresses[i], text, sizeof(text));
        log_warning(NULL, "cannot listen on %s: %s", text, why.message);
    }
    return true;
}

static bool open_tcp(struct acceptor *acceptor, struct error *error)
{
    const char *list = acceptor->workers->config->settings.listen_addr;
    char word[256];
    if (!list || !*list)
        return true;
    int before = acceptor->count;
    for (const char *at = list; *at;) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ", \t");
        if (size > 0 && size < sizeof(word)) {
            snprintf(word, sizeof(word), "%.*s", (int)size, at);
            if (!open_word(acceptor, word, error))
                return false;
        }
        at += size;
    }
    if (acceptor->count == before)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "failed to listen on any address in listen_addr list: %s", list);
    return true;
}

static bool open_unix(struct acceptor *acceptor, struct error *error)
{
    const struct settings *settings = &acceptor->workers->config->settings;
    struct address address;
    if (!settings->unix_socket_dir || !*settings->unix_socket_dir)
        return true;
    if (!address_from_socket_dir(&address, settings->unix_socket_dir, settings->listen_port, error))
        return error_prefix(error, "failed to create unix socket");
    return open_one(acceptor, &address, error);
}

/* Sockets that the service manager listens on (sd_listen_fds(3)): they stay open while pgweir is
 * restarted, so that nobody is refused. COMPAT 6.5. */
static bool adopt_sockets(struct acceptor *acceptor, int count, struct error *error)
{
    const struct settings *settings = &acceptor->workers->config->settings;
    char text[ADDRESS_TEXT_MAX];
    for (int i = 0; i < count; i++) {
        int fd = SERVICE_MANAGER_FIRST_SOCKET + i;
        if (acceptor->count == LISTENERS_MAX)
            return error_set(error, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                             "more than %d sockets passed from service manager", LISTENERS_MAX);
        log_info(NULL, "socket passed from service manager (fd %d)", fd);
        struct listener *listener =
            listener_adopt(acceptor->workers->array[0].loop, fd, accepted, acceptor, error);
        if (!listener)
            return false;
        acceptor->listeners[acceptor->count++] = listener;
        address_listen_text(listener_address(listener), text, sizeof(text));
        log_info(NULL, "listening on %s", text);
    }
    if (settings->listen_addr && *settings->listen_addr)
        log_warning(NULL, "sockets passed from service manager, cf_listen_addr ignored");
    if (settings->unix_socket_dir && *settings->unix_socket_dir &&
        strcmp(settings->unix_socket_dir, "/tmp") != 0)
        log_warning(NULL, "sockets passed from service manager, cf_unix_socket_dir ignored");
    return true;
}

struct acceptor *acceptor_open(struct workers *workers, struct error *error)
{
    struct acceptor *acceptor = memory_zalloc(sizeof(*acceptor));
    if (!acceptor) {
        error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    acceptor->workers = workers;
    acceptor->generation = workers->config->generation;
    descriptors_share(workers);
    int passed = service_manager_sockets();
    bool ok = passed > 0 ? adopt_sockets(acceptor, passed, error)
                         : open_tcp(acceptor, error) && open_unix(acceptor, error);
    if (ok && acceptor->count == 0)
        ok = error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "nowhere to listen on");
    if (!ok) {
        acceptor_close(acceptor);
        return NULL;
    }
    return acceptor;
}

void acceptor_each(const struct acceptor *acceptor,
                   void (*call)(const struct address *address, int fd, void *argument),
                   void *argument)
{
    for (int i = 0; i < acceptor->count; i++)
        call(listener_address(acceptor->listeners[i]), listener_fd(acceptor->listeners[i]),
             argument);
}

void acceptor_pause(struct acceptor *acceptor, bool paused)
{
    for (int i = 0; i < acceptor->count; i++)
        (paused ? listener_pause : listener_resume)(acceptor->listeners[i]);
}

void acceptor_close_tcp(struct acceptor *acceptor)
{
    int kept = 0;
    for (int i = 0; i < acceptor->count; i++) {
        if (address_is_local(listener_address(acceptor->listeners[i])))
            acceptor->listeners[kept++] = acceptor->listeners[i];
        else
            listener_close(acceptor->listeners[i]);
    }
    acceptor->count = kept;
}

void acceptor_close(struct acceptor *acceptor)
{
    if (!acceptor)
        return;
    for (int i = 0; i < acceptor->count; i++)
        listener_close(acceptor->listeners[i]);
    memory_free(acceptor);
}
