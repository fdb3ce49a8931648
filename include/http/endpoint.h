/* endpoint: metrics, health and the status page over HTTP (http_listen_addr, http_port).
 *
 * Lives on worker 0 beside the listening sockets of PostgreSQL clients: a listener, at most
 * ENDPOINT_CONNECTIONS_MAX connections with a deadline each, one request at a time on each of them.
 * What a page says comes from worker/report, by message; it is rendered on a helper thread, so that
 * a scrape of a thousand pools does not hold up a loop. Answers GET and HEAD of /metrics, /healthz,
 * /readyz, /status.json and /, also while the daemon drains (THREATS §4.6).
 *
 * Worker 0's thread.
 */
#pragma once
#include "base/error.h"
#include "worker/workers.h"

#define ENDPOINT_CONNECTIONS_MAX 32
#define ENDPOINT_TIME_LIMIT      (5 * USEC_PER_SEC)

struct endpoint;

/* Listens if http_port says so; *endpoint is NULL if not. False: it cannot (`error`). */
bool endpoint_open(struct workers *workers, struct endpoint **endpoint, struct error *error);
/* Closes the sockets; what helpers still hold is freed when they are done. NULL is fine. */
void endpoint_close(struct endpoint *endpoint);
