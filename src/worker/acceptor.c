#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "doors.h"
#include "wire/build.h"

#define REST_TIME (2 * USEC_PER_MSEC)

/* A socket on its way to its worker. */
struct handed_over {
    struct mail mail;
    struct workers *workers;
    struct worker *worker;
    struct client_arrival arrival;
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

static void deliver(struct mail *mail, struct loop *loop)
{
    struct handed_over *handed =
        (struct handed_over *)((char *)mail - offsetof(struct handed_over, mail));
    (void)loop;
    client_accept(&handed->worker->clients, &handed->arrival);
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
                                bool is_by_proxy, int worker)
{
    struct workers *workers = acceptor->workers;

    if (acceptor->generation != workers->config->generation) {
        acceptor->generation = workers->config->generation;
        descriptors_share(workers);
    }
    struct moat_limits limits = limits_now(acceptor);
    if (is_by_proxy) /* all of them come from there: they count when it is known where from */
        limits.connections_per_prefix = limits.logins_per_prefix = 0;
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

static struct door *door_of(struct acceptor *acceptor, const struct listener *listener)
{
    struct door *door = acceptor->doors;
    while (door->listener != listener)
        door++;
    return door;
}

/* One that was passed by the service manager may have no line of its own. */
static struct listener_entry *entry_of(const struct acceptor *acceptor, const struct door *door)
{
    const struct config *config = acceptor->workers->config;
    struct listener_entry *entry = config_listener(config, door->name);
    return listener_entry_acquire(entry ? entry : config->listeners[0]);
}

/* It was counted, and nobody could take it. */
static void turn_away(struct workers *workers, struct worker *worker,
                      const struct client_arrival *arrival)
{
    close(arrival->fd);
    client_counts_end_login(workers->shared.counts);
    moat_leave(workers->shared.moat, arrival->guest);
    atomic_fetch_sub(&arrival->listener_count->open, 1);
    listener_entry_release(arrival->listener);
    atomic_fetch_sub(&worker->placed, 1);
}

static void hand_over(struct workers *workers, struct worker *worker,
                      const struct client_arrival *arrival)
{
    if (worker->index == 0) {
        client_accept(&worker->clients, arrival);
        return;
    }
    struct handed_over *handed = memory_zalloc(sizeof(*handed));
    if (!handed) {
        turn_away(workers, worker, arrival);
        return;
    }
    *handed = (struct handed_over){
        .mail.deliver = deliver, .workers = workers, .worker = worker, .arrival = *arrival};
    loop_post(worker->loop, &handed->mail);
}

static bool is_trusted(const struct acceptor *acceptor, const struct address *peer)
{
    static struct log_limit limit;
    const struct address_list *trusted = acceptor->workers->config->proxy_trusted;
    if (trusted && address_list_allows(trusted, &peer->u))
        return true;
    say_refused("a connection to a listener with proxy_protocol from an address that is not in "
                "proxy_trusted: closed",
                &limit, peer);
    return false;
}

void acceptor_accepted(void *argument, int fd, const struct address *peer,
                       struct listener *listener)
{
    struct acceptor *acceptor = argument;
    struct workers *workers = acceptor->workers;
    struct worker *worker = choose(workers);
    struct door *door = door_of(acceptor, listener);
    struct listener_entry *entry = entry_of(acceptor, door);
    bool is_by_proxy = listener_is_proxied(entry, peer);
    atomic_fetch_add_explicit(&door->count->accepted, 1, memory_order_relaxed);
    struct moat_guest *guest = NULL;
    if (!is_by_proxy || is_trusted(acceptor, peer))
        guest = admit(acceptor, fd, peer, is_by_proxy, worker->index);
    rest_if_behind(acceptor, listener);
    if (!guest) {
        listener_entry_release(entry);
        close(fd);
        return;
    }
    (void)client_counts_begin_login(workers->shared.counts, 0);
    set_options(workers, fd, peer);
    atomic_fetch_add(&worker->placed, 1);
    atomic_fetch_add(&door->count->open, 1);
    const struct client_arrival arrival = {
        .fd = fd, .peer = *peer, .guest = guest, .listener = entry, .listener_count = door->count};
    hand_over(workers, worker, &arrival);
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
    if (doors_open(acceptor, error))
        return acceptor;
    acceptor_close(acceptor);
    return NULL;
}

void acceptor_each(const struct acceptor *acceptor,
                   void (*call)(const struct address *address, int fd, void *argument),
                   void *argument)
{
    for (int i = 0; i < acceptor->count; i++)
        call(listener_address(acceptor->doors[i].listener),
             listener_fd(acceptor->doors[i].listener), argument);
}

void acceptor_pause(struct acceptor *acceptor, bool paused)
{
    acceptor->is_paused = paused;
    for (int i = 0; i < acceptor->count; i++)
        (paused ? listener_pause : listener_resume)(acceptor->doors[i].listener);
}

void acceptor_close_tcp(struct acceptor *acceptor)
{
    int kept = 0;
    acceptor->is_closing = true;
    for (int i = 0; i < acceptor->count; i++) {
        if (address_is_local(listener_address(acceptor->doors[i].listener)))
            acceptor->doors[kept++] = acceptor->doors[i];
        else
            listener_close(acceptor->doors[i].listener);
    }
    acceptor->count = kept;
}

void acceptor_close(struct acceptor *acceptor)
{
    if (!acceptor)
        return;
    for (int i = 0; i < acceptor->count; i++)
        listener_close(acceptor->doors[i].listener);
    memory_free(acceptor);
}
