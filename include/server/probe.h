/* probe: does a server let this name in with this password? (auth_type=passthrough, THREATS §2.3)
 *
 * One login over a connection of its own, which is in no pool of the registry and takes no place
 * of one, and which is closed when its answer is known. A password is right only if the server
 * asked for one (cleartext, md5, or SCRAM with the server's own proof), where nobody can listen,
 * let in by this one, and got as far as its first ReadyForQuery. A probe belongs to itself: who
 * asked may go, the answer comes all the same. All on the worker that began it.
 */
#pragma once
#include "server/server_set.h"

enum probe_verdict {
    PROBE_RIGHT,
    PROBE_WRONG,       /* the server does not let in by it; its words are for the log */
    PROBE_UNPROVED,    /* it proves nothing: the server did not ask, or must not be told */
    PROBE_REFUSED,     /* for another reason, in the server's words */
    PROBE_NOT_REACHED, /* no server could be asked: may be tried again */
};

/* Borrowed for the call; `pool` too (registry_probe_pool). */
struct probe_request {
    struct pool *pool;
    const char *password;
    /* Called once, perhaps before probe_start is back; `error` is borrowed, and means nothing with
     * PROBE_RIGHT. */
    void (*answer)(void *argument, enum probe_verdict verdict, const struct error *error);
    void *argument;
};
void probe_start(struct server_set *set, const struct probe_request *request);
