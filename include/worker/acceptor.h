/* acceptor: listening sockets and placement. Worker 0's thread.
 *
 * Opens what the configuration names (COMPAT 6.3 for texts and what is fatal), accepts in bursts,
 * asks the moat (client/moat) who may come in, and hands each socket to the worker with the fewest
 * clients, worker 0 last (MECHANISMS §2.11).
 */
#pragma once
#include "worker/workers.h"

struct acceptor *
acceptor_open(struct workers *workers,
              struct error *error); /* NULL: nothing could be opened that must be */
/* Calls back for each listening socket. */
void acceptor_each(const struct acceptor *acceptor,
                   void (*call)(const struct address *address, int fd, void *argument),
                   void *argument);
/* The configuration has changed: sockets of [listeners] are opened and closed; clients stay. */
void acceptor_update(struct acceptor *acceptor);
/* A row for each listener of the configuration; NULL: no memory. The caller frees it. */
struct report_listener;
struct report_listener *acceptor_report(const struct acceptor *acceptor, size_t *count);
/* SUSPEND: who connects waits in the listen queue. */
void acceptor_pause(struct acceptor *acceptor, bool paused);
void acceptor_close_tcp(struct acceptor *acceptor); /* shutdown has begun */
void acceptor_close(struct acceptor *acceptor);     /* all, and frees; NULL is fine */
