/* console: one admin session (database pgbouncer), COMPAT 5.
 *
 * Offers console_ops to the client room; handed over by main. All functions run on the client's
 * loop; answers that need other workers come by message (worker/report, worker/control), and the
 * session finds its client again only while it is open.
 */
#pragma once
#include "client/client_set.h"

const struct console_ops *console_ops(void);
