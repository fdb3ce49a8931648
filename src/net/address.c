#include "net/address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Where a setting is 0. The system's would notice a vanished peer after two hours, or after a
 * quarter of one with bytes under way. The last must be patient: it also ends a connection whose
 * peer is there but has not read for that long. */
#define KEEPIDLE_DEFAULT        60
#define KEEPINTVL_DEFAULT       10
#define KEEPCNT_DEFAULT         5
#define USER_TIMEOUT_MS_DEFAULT (10 * 60 * 1000)

#define SOCKET_PREFIX ".s.PGSQL."

bool address_is_local(const struct address *address)
{
    return address->u.any.sa_family == AF_UNIX;
}

bool address_is_same_host(const struct address *one, const struct address *other)
{
    if (one->u.any.sa_family != other->u.any.sa_family)
        return false;
    if (one->u.any.sa_family == AF_INET)
        return one->u.v4.sin_addr.s_addr == other->u.v4.sin_addr.s_addr;
    if (one->u.any.sa_family == AF_INET6)
        return memcmp(&one->u.v6.sin6_addr, &other->u.v6.sin6_addr, sizeof(struct in6_addr)) == 0 &&
               one->u.v6.sin6_scope_id == other->u.v6.sin6_scope_id;
    return one->size == other->size && memcmp(&one->u, &other->u, one->size) == 0;
}

bool address_is_loopback(const struct address *address)
{
    const struct in6_addr *v6 = &address->u.v6.sin6_addr;

    switch (address->u.any.sa_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        return ntohl(address->u.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(v6) ||
               (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == IN_LOOPBACKNET);
    default:
        return false;
    }
}

/* The path of a local address without the zero byte of abstract ones, or "". */
static const char *local_name(const struct address *address, size_t *size)
{
    const size_t before = offsetof(struct sockaddr_un, sun_path);
    const char *path = address->u.local.sun_path;

    *size = 0;
    if (address->size <= before)
        return "";
    if (path[0] == '\0') {
        *size = address->size - before - 1;
        return path + 1;
    }
    *size = strnlen(path, address->size - before);
    return path;
}

/* The port that the name of a PostgreSQL socket ends in; 0: it does not. */
static int local_port(const struct address *address)
{
    size_t size;
    const char *name = local_name(address, &size);
    char copy[sizeof(address->u.local.sun_path) + 1];

    memcpy(copy, name, size);
    copy[size] = '\0';
    const char *last = strrchr(copy, '/');
    last = last != NULL ? last + 1 : copy;
    if (strncmp(last, SOCKET_PREFIX, strlen(SOCKET_PREFIX)) != 0)
        return 0;
    char *end;
    long port = strtol(last + strlen(SOCKET_PREFIX), &end, 10);
    return *end == '\0' && port > 0 && port <= UINT16_MAX ? (int)port : 0;
}

void address_host_text(const struct address *address, char *text, size_t size)
{
    char number[INET6_ADDRSTRLEN];

    switch (address->u.any.sa_family) {
    case AF_UNIX:
        snprintf(text, size, "unix");
        return;
    case AF_INET:
        snprintf(text, size, "%s",
                 inet_ntop(AF_INET, &address->u.v4.sin_addr, number, sizeof(number)));
        return;
    case AF_INET6:
        snprintf(text, size, "%s",
                 inet_ntop(AF_INET6, &address->u.v6.sin6_addr, number, sizeof(number)));
        return;
    default:
        snprintf(text, size, "unknown");
    }
}

void address_text(const struct address *address, char *text, size_t size)
{
    char host[ADDRESS_TEXT_MAX];
    int port = address_is_local(address) ? local_port(address) : address_port(address);

    address_host_text(address, host, sizeof(host));
    if (address_is_local(address) && port == 0)
        snprintf(text, size, "%s", host);
    else if (address->u.any.sa_family == AF_INET6)
        snprintf(text, size, "[%s]:%d", host, port);
    else
        snprintf(text, size, "%s:%d", host, port);
}

void address_listen_text(const struct address *address, char *text, size_t size)
{
    size_t name_size;
    const char *name = local_name(address, &name_size);

    if (!address_is_local(address))
        address_text(address, text, size);
    else
        snprintf(text, size, "unix:%s%.*s", name == address->u.local.sun_path + 1 ? "@" : "",
                 (int)name_size, name);
}

int address_port(const struct address *address)
{
    switch (address->u.any.sa_family) {
    case AF_INET:
        return ntohs(address->u.v4.sin_port);
    case AF_INET6:
        return ntohs(address->u.v6.sin6_port);
    default:
        return 0;
    }
}

/* "fe80::1%eth0". False: no such interface, or too long. */
static bool v6_with_scope(struct sockaddr_in6 *v6, const char *literal)
{
    char number[INET6_ADDRSTRLEN];
    const char *scope = strchr(literal, '%');
    size_t size = scope != NULL ? (size_t)(scope - literal) : strlen(literal);

    if (size >= sizeof(number))
        return false;
    memcpy(number, literal, size);
    number[size] = '\0';
    if (inet_pton(AF_INET6, number, &v6->sin6_addr) != 1)
        return false;
    if (scope == NULL)
        return true;
    v6->sin6_scope_id = if_nametoindex(scope + 1);
    return v6->sin6_scope_id != 0;
}

bool address_from_literal(struct address *address, const char *literal, int port)
{
    *address = (struct address){0};
    if (inet_pton(AF_INET, literal, &address->u.v4.sin_addr) == 1) {
        address->u.v4.sin_family = AF_INET;
        address->u.v4.sin_port = htons((uint16_t)port);
        address->size = sizeof(address->u.v4);
        return true;
    }
    if (!v6_with_scope(&address->u.v6, literal))
        return false;
    address->u.v6.sin6_family = AF_INET6;
    address->u.v6.sin6_port = htons((uint16_t)port);
    address->size = sizeof(address->u.v6);
    return true;
}

bool address_from_socket_dir(struct address *address, const char *dir, int port,
                             struct error *error)
{
    struct sockaddr_un *local = &address->u.local;

    *address = (struct address){.u.local.sun_family = AF_UNIX};
    int size =
        snprintf(local->sun_path, sizeof(local->sun_path), "%s/" SOCKET_PREFIX "%d", dir, port);
    if (size < 0 || (size_t)size >= sizeof(local->sun_path))
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "Unix socket name is longer than %zu bytes: %s/" SOCKET_PREFIX "%d",
                         sizeof(local->sun_path) - 1, dir, port);
    address->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)size);
    if (local->sun_path[0] == '@')
        local->sun_path[0] = '\0'; /* an abstract name has no zero byte at its end */
    else
        address->size++;
    return true;
}

bool address_of_peer(struct address *address, int fd)
{
    *address = (struct address){.size = sizeof(address->u)};
    return getpeername(fd, &address->u.any, &address->size) == 0;
}

bool address_of_socket(struct address *address, int fd)
{
    *address = (struct address){.size = sizeof(address->u)};
    return getsockname(fd, &address->u.any, &address->size) == 0;
}

bool address_peer_credentials(int fd, int64_t *pid, int64_t *uid)
{
    struct ucred peer;
    int domain;
    socklen_t size = sizeof(peer), domain_size = sizeof(domain);

    /* Sockets of other families answer SO_PEERCRED too, with nobody. */
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) != 0 || domain != AF_UNIX ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    *pid = peer.pid;
    *uid = peer.uid;
    return true;
}

static void set(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int or_default(int value, int otherwise)
{
    return value > 0 ? value : otherwise;
}

void socket_apply_options(int fd, const struct address *address,
                          const struct socket_options *options)
{
    int yes = 1;

    (void)ioctl(fd, FIONBIO, &yes);
    (void)ioctl(fd, FIOCLEX);
    if (address_is_local(address))
        return;
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
        or_default(options->user_timeout_ms, USER_TIMEOUT_MS_DEFAULT));
    if (options->keepalive) {
        set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set(fd, IPPROTO_TCP, TCP_KEEPIDLE, or_default(options->keepidle, KEEPIDLE_DEFAULT));
        set(fd, IPPROTO_TCP, TCP_KEEPINTVL, or_default(options->keepintvl, KEEPINTVL_DEFAULT));
        set(fd, IPPROTO_TCP, TCP_KEEPCNT, or_default(options->keepcnt, KEEPCNT_DEFAULT));
    }
    if (options->buffer_bytes > 0) {
        set(fd, SOL_SOCKET, SO_SNDBUF, options->buffer_bytes);
        set(fd, SOL_SOCKET, SO_RCVBUF, options->buffer_bytes);
    }
}
