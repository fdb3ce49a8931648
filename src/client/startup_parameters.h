/* startup_parameters: what a StartupMessage asks for (COMPAT 9.1, 9.2), and what of it is refused.
 *
 * Pure: no I/O; allocates only what it adds to the client's wanted settings. Texts of the result
 * point into the packet. Any thread.
 */
#pragma once
#include "ledger/parameters.h"
#include "wire/startup.h"

enum startup_replication { REPLICATION_NO, REPLICATION_DATABASE, REPLICATION_YES };

struct startup_choice {
    const char *user, *database; /* `user` is NULL when there is none; `database` defaults to it */
    enum startup_replication replication;
    uint32_t protocol;   /* PROTOCOL_3_0 or PROTOCOL_3_2: what is spoken from here on */
    bool must_negotiate; /* NegotiateProtocolVersion is due, once, with `protocol` and the options
                            not known */
    const char *unknown[STARTUP_PARAMETERS_MAX];
    size_t unknown_count;
    const char *refused_name,
        *refused_value; /* the setting that was refused: for the log; NULL: none */
};

/* Settings inside `options` come first, as in PostgreSQL: those of the message itself win.
 * `ignored` is ignore_startup_parameters. False: refused. */
bool startup_parameters_read(const struct startup_message *message,
                             const struct parameter_names *names, const char *ignored,
                             struct wanted_parameters *wanted, struct startup_choice *choice,
                             struct error *error);
/* "no", "database", "yes". */
const char *startup_replication_name(enum startup_replication replication);
