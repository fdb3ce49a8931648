/* peers: the processes of one fleet, which know each other by the numbers in [peers] (COMPAT 3.3).
 *
 * A cancel request carries the number of the process that its client is logged in to; who gets it
 * and is not meant passes it on. Entries are immutable but for their counters, reference-counted,
 * and stay the same over a reload that does not change them. Any thread.
 */
#pragma once
#include <stdatomic.h>

#include "config/snapshot.h"

struct peer_entry {
    const char *hosts[CONFIG_HOSTS_MAX]; /* as of a database; the first is used */
    int id;                              /* 1 to PEER_ID_MAX */
    int port;
    int pool_size; /* connections to it at once; CONFIG_UNSET: default_pool_size; 0: no limit */
    /* Cancel requests that wait for a connection, those whose connection is being opened, and those
     * that have been sent and whose end is awaited; over all workers. For SHOW PEER_POOLS. */
    _Atomic int waiting, opening, sent;
    _Atomic int references;
};
#define PEER_ID_MAX 65535

/* The peer with this number, with a reference for the caller; NULL: there is none. */
struct peer_entry *config_find_peer(const struct config *config, int id);
struct peer_entry *peer_acquire(struct peer_entry *peer);
void peer_release(struct peer_entry *peer);
int config_peer_count(const struct config *config);
/* In the order of their numbers. */
void config_each_peer(const struct config *config, void (*call)(struct peer_entry *, void *),
                      void *argument);
/* A line of the log for each peer that `to` has no more. */
void peers_log_dropped(const struct config *from, const struct config *to);
/* How many connections to `peer` there may be; 0: no limit. */
int config_peer_pool_size(const struct config *config, const struct peer_entry *peer);
/* For connections to peers that offer TLS: encrypted, and nobody's certificate is looked at. NULL:
 * this process has no TLS for its clients. Borrowed, as long as `config` is. */
struct tls_context *config_peer_tls(const struct config *config);
