/* peer: cancel requests that are meant for another process of the fleet are passed on to it (COMPAT
 * 9.7): a connection each, over TLS where this process has TLS for its clients and the peer offers
 * it; held until the peer has ended it, at most cancel_wait_timeout. Not more at once than the
 * peer's pool_size, of which each worker has its share; others wait. That worker's thread.
 */
#pragma once
#include "config/peers.h"
#include "server/server_set.h"

#define PEER_KEY_MAX 32

struct peer_request {
    struct peer_entry *peer;   /* a reference, which is taken over */
    uint8_t key[PEER_KEY_MAX]; /* process id first, as the peer shall get it */
    uint32_t key_size;         /* 8 at least */
    /* Called once, in a later turn or this one: was the request sent? */
    void (*done)(void *argument, bool was_sent);
    void *argument;
};
void peer_forward(struct server_set *set, const struct peer_request *request);

/* For server_set. */
void peer_forward_init(struct server_set *set);
void peer_forward_finish(struct server_set *set); /* ends all; `done` is called for each */
