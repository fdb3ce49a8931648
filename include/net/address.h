/* address: where a peer is, and how it is written down. Any thread; no state. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"

#define ADDRESS_TEXT_MAX 128

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } u;
    socklen_t size;
};

bool address_is_local(const struct address *address);                              /* AF_UNIX */
bool address_is_same_host(const struct address *one, const struct address *other); /* ports aside */
bool address_is_loopback(const struct address *address); /* 127/8, ::1, AF_UNIX */
/* "127.0.0.1", "::1", "unix"; without port. */
void address_host_text(const struct address *address, char *text, size_t size);
/* "127.0.0.1:6432", "[::1]:6432", "unix:6432"-like as COMPAT 8.1 */
void address_text(const struct address *address, char *text, size_t size);
/* As address_text, but local ones with their name: "unix:/dir/.s.PGSQL.6432",
 * "unix:@name/.s.PGSQL.6432". */
void address_listen_text(const struct address *address, char *text, size_t size);
int address_port(const struct address *address); /* 0 for local ones */
/* From a literal IPv4 or IPv6 address. False: not one. */
bool address_from_literal(struct address *address, const char *literal, int port);
/* "/dir" or "@name", and the port: DIR/.s.PGSQL.PORT. False: longer than the system allows. */
bool address_from_socket_dir(struct address *address, const char *dir, int port,
                             struct error *error);
bool address_of_peer(struct address *address, int fd);
bool address_of_socket(struct address *address, int fd);
/* The process and user at the other end of a Unix socket (SO_PEERCRED). False: not one. */
bool address_peer_credentials(int fd, int64_t *pid, int64_t *uid);

/* TCP options of one side; 0 means pgweir's own default where COMPAT 10 says so (MECHANISMS §6),
 * never the system's. */
struct socket_options {
    int keepalive, keepidle, keepcnt, keepintvl, user_timeout_ms, buffer_bytes;
};
/* Nonblocking, close-on-exec, TCP_NODELAY and the options. Local sockets: the first two. Failures
 * are not fatal. */
void socket_apply_options(int fd, const struct address *address,
                          const struct socket_options *options);
