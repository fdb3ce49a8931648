#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "worker_private.h"

#define LISTENERS_MAX 64

struct acceptor {
    struct workers *workers;
    struct listener *listeners[LISTENERS_MAX];
    int count;
};

/* A socket on its way to its worker. */
struct handed_over {
    struct mail mail;
    struct workers *workers;
    struct worker *worker;
    struct address peer;
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

static void take_over(struct worker *worker, int fd, const struct address *peer)
{
    client_accept(&worker->clients, fd, peer, &worker->clients.config->listener);
}

static void deliver(struct mail *mail, struct loop *loop)
{
    struct handed_over *handed =
        (struct handed_over *)((char *)mail - offsetof(struct handed_over, mail));
    (void)loop;
    take_over(handed->worker, handed->fd, &handed->peer);
    memory_free(handed);
}

static bool has_room(struct acceptor *acceptor)
{
    static struct log_limit limit;
    struct workers *workers = acceptor->workers;
    uint32_t held_back;
    if (client_counts_begin_login(workers->shared.counts,
                                  workers->config->settings.max_login_clients))
        return true;
    if (log_allow(&limit, 1, &held_back))
        log_warning(NULL,
                    "too many clients that have not logged in (max_login_clients): connection "
                    "closed (%u lines held back)",
                    held_back);
    return false;
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

static void accepted(void *argument, int fd, const struct address *peer, struct listener *listener)
{
    struct acceptor *acceptor = argument;
    struct workers *workers = acceptor->workers;
    (void)listener;
    if (!has_room(acceptor)) {
        close(fd);
        return;
    }
    set_options(workers, fd, peer);
    struct worker *worker = choose(workers);
    atomic_fetch_add(&worker->placed, 1);
    if (worker->index == 0) {
        take_over(worker, fd, peer);
        return;
    }
    struct handed_over *handed = memory_zalloc(sizeof(*handed));
    if (!handed) {
        close(fd);
        client_counts_end_login(workers->shared.counts);
        atomic_fetch_sub(&worker->placed, 1);
        return;
    }
    *handed = (struct handed_over){
        .mail.deliver = deliver, .workers = workers, .worker = worker, .peer = *peer, .fd = fd};
    loop_post(worker->loop, &handed->mail);
}

static bool open_one(struct acceptor *acceptor, const struct address *address, struct error *error)
{
    const struct settings *settings = &acceptor->workers->config->settings;
    const struct listener_settings how = {
        .backlog = settings->listen_backlog,
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

struct acceptor *acceptor_open(struct workers *workers, struct error *error)
{
    struct acceptor *acceptor = memory_zalloc(sizeof(*acceptor));
    if (!acceptor) {
        error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    acceptor->workers = workers;
    bool ok = open_tcp(acceptor, error) && open_unix(acceptor, error);
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
