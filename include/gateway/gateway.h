/* gateway: SQL over HTTP, on listeners whose `protocols` name http (SERVERLESS §4, THREATS §4).
 *
 * Takes over clients whose first bytes are an HTTP request (client/first_bytes), reads their
 * requests one after another, and for each POST /sql opens a client within that connection: an
 * ordinary one, which speaks PostgreSQL's protocol over memory, logs in with the password of the
 * request's connection string, and has the pool, limits, statistics, log lines and rows of SHOW of
 * any other. What it is answered becomes JSON on the way.
 *
 * Keeps true: requests of one connection are answered in order, one at a time; nothing of a session
 * outlives its request; a request that goes away takes its query with it; what a request holds is
 * bounded (http_max_request, http_max_response, http_memory).
 *
 * Made before any thread starts. What is of one worker is touched on its thread alone.
 */
#pragma once
#include "client/first_bytes.h"

struct gateway;

struct gateway *gateway_create(void);          /* NULL: no memory */
void gateway_destroy(struct gateway *gateway); /* when no worker turns any more; NULL is fine */
/* For workers_create; valid as long as the gateway. */
const struct front_ops *gateway_front_ops(struct gateway *gateway);
