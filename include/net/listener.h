/* listener: listening sockets. Worker 0's thread.
 *
 * Accepts in bursts, hands each socket on, and rests when descriptors run out: accepting pauses
 * (logged once) and resumes within 1 s once there are some again (PITFALLS row 38).
 */
#pragma once
#include "net/address.h"
#include "net/loop.h"

struct listener;

struct listener_settings {
    int backlog;
    bool reuse_port, defer_accept;
    int unix_mode;          /* -1: leave */
    const char *unix_group; /* NULL or "": leave */
};

/* Called for each accepted socket (non-blocking, close-on-exec); takes the descriptor over. */
typedef void listener_accepted(void *argument, int fd, const struct address *peer,
                               struct listener *listener);

/* Binds and listens. NULL: error, e.g. "bind(): Address already in use". A dead Unix socket file is
 * replaced; a living one is an error. */
struct listener *listener_open(struct loop *loop, const struct address *address,
                               const struct listener_settings *settings,
                               listener_accepted *accepted, void *argument, struct error *error);
/* The same for a socket that was passed in (service manager). */
struct listener *listener_adopt(struct loop *loop, int fd, listener_accepted *accepted,
                                void *argument, struct error *error);
const struct address *listener_address(const struct listener *listener);
int listener_fd(const struct listener
                    *listener); /* for SHOW FDS, and for options that accepted sockets inherit */
/* Accepts nobody for so long: the kernel keeps who comes. */
void listener_rest(struct listener *listener, usec_t time);
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);
void listener_close(struct listener *listener); /* unlinks its Unix socket file */

/* Resolves one word of listen_addr ("*" gives the IPv4 and IPv6 wildcards; a name all its
 * addresses). Blocking: at start only. Returns how many were written, at most `max`; 0: error. */
int listener_addresses(const char *word, int port, struct address *addresses, int max,
                       struct error *error);
