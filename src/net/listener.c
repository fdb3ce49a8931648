#include "net/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "net/deadline.h"

#define BURST_MAX 64 /* accepted in one turn: the others on this loop have to live too */
#define REST_TIME (100 * USEC_PER_MSEC)

struct listener {
    struct loop *loop;
    struct event *event;
    int fd;
    struct address address;
    listener_accepted *accepted;
    void *argument;
    bool is_paused;    /* by the owner */
    bool is_resting;   /* no descriptors: tried again when `rest` is over */
    bool was_told;     /* of this shortage a line was written */
    bool is_own_file;  /* the Unix socket's file is ours to take away */
    bool is_accepting; /* in a burst: who closes meanwhile leaves the memory to it */
    bool is_closed;
    struct stat file; /* which one it was */
    struct deadline_list rests;
    struct deadline rest;
};

/* --- Accepting ------------------------------------------------------------------------------- */

static void watch(struct listener *listener)
{
    if (!listener->is_paused && !listener->is_resting)
        event_add(listener->event, NULL);
    else
        event_del(listener->event);
}

void listener_rest(struct listener *listener, usec_t time)
{
    listener->is_resting = true;
    watch(listener);
    deadline_set(&listener->rests, &listener->rest, loop_now(listener->loop) + time);
}

static void rest(struct listener *listener, int why)
{
    static struct log_limit limit;
    uint32_t held_back;

    if (!listener->was_told && log_allow(&limit, 1, &held_back))
        log_error(NULL, "accept() failed: %s", strerror(why));
    listener->was_told = true;
    listener_rest(listener, REST_TIME);
}

/* Of one connection that is gone already, or that a filter refused: the next may be well
 * (accept(2)). */
static bool concerns_one_connection(int why)
{
    switch (why) {
    case EINTR:
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

/* False: there is none now. */
static bool accept_one(struct listener *listener)
{
    struct address peer = {.size = sizeof(peer.u)};
    int fd = accept4(listener->fd, &peer.u.any, &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        listener->was_told = false;
        listener->accepted(listener->argument, fd, &peer, listener);
        return true;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return false;
    if (concerns_one_connection(errno))
        return true;
    rest(listener, errno);
    return false;
}

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    struct listener *listener = argument;

    (void)fd;
    (void)what;
    loop_wake(listener->loop);
    listener->is_accepting = true;
    for (int i = 0; i < BURST_MAX; i++)
        if (!accept_one(listener) || listener->is_closed || listener->is_paused ||
            listener->is_resting)
            break;
    listener->is_accepting = false;
    if (listener->is_closed)
        memory_free(listener);
}

static void rest_is_over(struct deadline *deadline, struct deadline_list *list)
{
    struct listener *listener = list->owner;

    (void)deadline;
    listener->is_resting = false;
    watch(listener);
}

void listener_pause(struct listener *listener)
{
    listener->is_paused = true;
    watch(listener);
}

void listener_resume(struct listener *listener)
{
    listener->is_paused = false;
    watch(listener);
}

/* --- Unix sockets ---------------------------------------------------------------------------- */

static bool is_file(const struct address *address)
{
    return address_is_local(address) && address->u.local.sun_path[0] != '\0';
}

static bool somebody_listens(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    /* EAGAIN: it listens, and its backlog is full. */
    bool is_there = connect(fd, &address->u.any, address->size) == 0 || errno == EAGAIN;
    close(fd);
    return is_there;
}

/* Makes way for our own file. False: somebody is there. */
static bool clear_way(const struct address *address, struct error *error)
{
    char lock[sizeof(address->u.local.sun_path) + sizeof(".lock")];
    struct stat there;

    if (somebody_listens(address))
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "unix socket is in use, cannot continue");
    if (!is_file(address))
        return true;
    const char *path = address->u.local.sun_path;
    snprintf(lock, sizeof(lock), "%s.lock", path);
    if (lstat(lock, &there) == 0) {
        const char *port = strrchr(path, '.');
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "unix port %s is in use",
                         port != NULL ? port + 1 : path);
    }
    if (lstat(path, &there) == 0 && S_ISSOCK(there.st_mode))
        unlink(path);
    return true;
}

/* False: no group of that name or number. */
static bool group_id(const char *group, gid_t *id)
{
    char memory[16384], *end;
    struct group entry, *found = NULL;

    if (getgrnam_r(group, &entry, memory, sizeof(memory), &found) == 0 && found != NULL) {
        *id = found->gr_gid;
        return true;
    }
    errno = 0;
    unsigned long number = strtoul(group, &end, 10);
    *id = (gid_t)number;
    return errno == 0 && end != group && *end == '\0' && group[0] != '-' &&
           *id == number; /* not cut */
}

/* Nobody can connect before listen(), and bind() has made the file with no rights at all. */
static bool set_rights(struct listener *listener, const struct listener_settings *settings,
                       struct error *error)
{
    const char *path = listener->address.u.local.sun_path;
    const char *group = settings->unix_group;
    mode_t mode = settings->unix_mode >= 0 ? (mode_t)settings->unix_mode & 07777 : 0777;
    gid_t id;

    if (group != NULL && group[0] != '\0') {
        if (!group_id(group, &id))
            return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "group \"%s\" does not exist",
                             group);
        if (chown(path, (uid_t)-1, id) != 0)
            return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "chown(%s): %s", path,
                             strerror(errno));
    }
    if (chmod(path, mode) != 0 || stat(path, &listener->file) != 0)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "chmod(%s): %s", path, strerror(errno));
    return true;
}

static void remove_file(const struct listener *listener)
{
    const char *path = listener->address.u.local.sun_path;
    struct stat now;

    /* Somebody may have put his own there meanwhile. */
    if (listener->is_own_file && stat(path, &now) == 0 && now.st_dev == listener->file.st_dev &&
        now.st_ino == listener->file.st_ino)
        unlink(path);
}

/* --- Opening and closing --------------------------------------------------------------------- */

static bool call_failed(struct error *error, const char *call)
{
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s(): %s", call, strerror(errno));
}

static void set_option(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static bool bind_tcp(struct listener *listener, const struct listener_settings *settings,
                     struct error *error)
{
    const struct address *address = &listener->address;
    int one = 1;

    set_option(listener->fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (settings->reuse_port &&
        setsockopt(listener->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
        return call_failed(error, "setsockopt");
    if (address->u.any.sa_family == AF_INET6 &&
        setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0)
        return call_failed(error, "setsockopt");
    if (bind(listener->fd, &address->u.any, address->size) != 0)
        return call_failed(error, "bind");
    if (settings->defer_accept)
        set_option(listener->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
    return true;
}

static bool bind_local(struct listener *listener, const struct listener_settings *settings,
                       struct error *error)
{
    const struct address *address = &listener->address;

    if (!clear_way(address, error))
        return false;
    /* Linux gives the file the mode of the socket, less the umask: none until set_rights. */
    if (is_file(address) && fchmod(listener->fd, 0) != 0)
        return call_failed(error, "fchmod");
    if (bind(listener->fd, &address->u.any, address->size) != 0)
        return call_failed(error, "bind");
    if (!is_file(address))
        return true;
    listener->is_own_file = stat(address->u.local.sun_path, &listener->file) == 0;
    return set_rights(listener, settings, error);
}

static struct listener *create(struct loop *loop, int fd, listener_accepted *accepted,
                               void *argument, struct error *error)
{
    struct listener *listener = memory_zalloc(sizeof(*listener));

    if (listener != NULL)
        listener->event = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_readable, listener);
    if (listener == NULL || listener->event == NULL) {
        memory_free(listener);
        error_set(error, SQLSTATE_OUT_OF_MEMORY, "cannot listen: out of memory");
        return NULL;
    }
    listener->loop = loop;
    listener->fd = fd;
    listener->accepted = accepted;
    listener->argument = argument;
    deadline_list_init(&listener->rests, loop, rest_is_over, listener);
    return listener;
}

struct listener *listener_open(struct loop *loop, const struct address *address,
                               const struct listener_settings *settings,
                               listener_accepted *accepted, void *argument, struct error *error)
{
    bool is_local = address_is_local(address);
    int fd = socket(address->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        call_failed(error, "socket");
        return NULL;
    }
    struct listener *listener = create(loop, fd, accepted, argument, error);
    if (listener == NULL) {
        close(fd);
        return NULL;
    }
    listener->address = *address;
    if (!(is_local ? bind_local : bind_tcp)(listener, settings, error)) {
        listener_close(listener);
        return NULL;
    }
    if (!is_local)
        address_of_socket(&listener->address, fd); /* with the port that 0 has become */
    if (listen(fd, settings->backlog) != 0) {
        call_failed(error, "listen");
        listener_close(listener);
        return NULL;
    }
    watch(listener);
    return listener;
}

struct listener *listener_adopt(struct loop *loop, int fd, listener_accepted *accepted,
                                void *argument, struct error *error)
{
    int is_listening = 0;
    socklen_t size = sizeof(is_listening);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 || !is_listening) {
        error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                  "descriptor %d from the service manager is no listening socket", fd);
        return NULL;
    }
    struct listener *listener = create(loop, fd, accepted, argument, error);
    if (listener == NULL)
        return NULL;
    address_of_socket(&listener->address, fd);
    evutil_make_socket_nonblocking(fd);
    evutil_make_socket_closeonexec(fd);
    watch(listener);
    return listener;
}

const struct address *listener_address(const struct listener *listener)
{
    return &listener->address;
}

int listener_fd(const struct listener *listener)
{
    return listener->fd;
}

void listener_close(struct listener *listener)
{
    if (listener == NULL)
        return;
    remove_file(listener);
    deadline_list_finish(&listener->rests);
    event_free(listener->event);
    close(listener->fd);
    listener->is_closed = true;
    if (!listener->is_accepting)
        memory_free(listener);
}

/* --- Names of addresses ---------------------------------------------------------------------- */

static int add_address(struct address *addresses, int count, int max, const struct address *added)
{
    for (int i = 0; i < count; i++)
        if (addresses[i].size == added->size &&
            memcmp(&addresses[i].u, &added->u, added->size) == 0)
            return count;
    if (count < max)
        addresses[count++] = *added;
    return count;
}

static int resolve_word(const char *word, int port, struct address *addresses, int max,
                        struct error *error)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char service[16];
    int count = 0;

    snprintf(service, sizeof(service), "%d", port);
    int code = getaddrinfo(word, service, &hints, &list);
    if (code != 0) {
        error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "getaddrinfo('%s', '%d') = %s [%d]", word,
                  port, gai_strerror(code), code);
        return 0;
    }
    for (const struct addrinfo *entry = list; entry != NULL; entry = entry->ai_next) {
        struct address address = {.size = entry->ai_addrlen};
        if (entry->ai_addrlen > sizeof(address.u))
            continue;
        memcpy(&address.u, entry->ai_addr, entry->ai_addrlen);
        count = add_address(addresses, count, max, &address);
    }
    freeaddrinfo(list);
    if (count == 0)
        error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "'%s' has no address to listen on", word);
    return count;
}

int listener_addresses(const char *word, int port, struct address *addresses, int max,
                       struct error *error)
{
    struct address address;
    int count = 0;

    if (strcmp(word, "*") == 0) {
        if (address_from_literal(&address, "0.0.0.0", port))
            count = add_address(addresses, count, max, &address);
        if (address_from_literal(&address, "::", port))
            count = add_address(addresses, count, max, &address);
        return count;
    }
    if (address_from_literal(&address, word, port))
        return add_address(addresses, 0, max, &address);
    return resolve_word(word, port, addresses, max, error);
}
