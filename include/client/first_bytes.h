/* first_bytes: from accept to the StartupMessage, on a port that may speak several protocols.
 *
 * The first bytes decide, behind TLS where it applies: a packet of PostgreSQL, TLS, HTTP. What the
 * client's listener does not speak is answered in its own language and closed. HTTP is handed over
 * by struct front_ops. All on the client's worker.
 */
#pragma once
#include <stdbool.h>

struct client;

/* What another room (gateway) does with a client that speaks HTTP; handed over by main. NULL there:
 * such clients are told that this is not built. */
struct front_ops {
    /* The unread input (stream_input) begins an HTTP request, and the listener speaks http or
     * websocket; TLS stands if it was asked for (stream_is_tls). The client is in state FRONT,
     * still counted among those in login, with its place in the moat and the deadline of its login;
     * from here on its stream's events, deadline and client->front are the caller's room's. It may
     * be closed (client_close) meanwhile. False: no memory; it is closed. */
    bool (*opened)(struct client *client);
    /* The client is closed: client->front, which was set, is freed. */
    void (*closed)(struct client *client);
};

/* Begins: installs the stream's events. */
void first_bytes_start(struct client *client);
/* The client, in state FRONT, has become a transport of PostgreSQL's protocol (WebSocket): its
 * stream carries that from here on, from a StartupMessage on. TLS is not begun inside.
 * client->front stays with it, and `closed` will be called. */
void first_bytes_inside(struct client *client);
