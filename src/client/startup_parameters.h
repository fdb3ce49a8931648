/* startup_parameters: what a StartupMessage asks for (COMPAT 9.1, 9.2), and what of it is refused.
 *
 * Pure: no I/O; allocates only what it adds to the client's settings. Texts of the result
 * point into the packet. Any thread.
 */
#pragma once
#include "ledger/parameters.h"
#include "wire/startup.h"

enum startup_replication { REPLICATION_NO, REPLICATION_DATABASE, REPLICATION_YES };

struct startup_choice {
    const char *user, *database; /* `user` is NULL when there is none; `database` defaults to it */
    enum startup_replication replication;
    const char *options; /* of a replication connection, as they are; NULL: none */
    uint32_t protocol;   /* PROTOCOL_3_0 or PROTOCOL_3_2: what is spoken from here on */
    bool must_negotiate; /* NegotiateProtocolVersion is due, once, with `protocol` and the options
                            not known */
    const char *unknown[STARTUP_PARAMETERS_MAX];
    size_t unknown_count;
    char endpoint[64];      /* endpoint=NAME in `options` (or project=NAME); "": none. Cut: it fits
                               nothing */
    bool others_in_options; /* the first of the settings that are not tracked stands there */
    const char *refused_name,
        *refused_value; /* the setting that was refused: for the log; NULL: none */
};

/* What is made of the settings in it. */
struct startup_reading {
    const struct parameter_names *names;
    const char *ignored; /* ignore_startup_parameters */
    struct wanted_parameters *wanted;
    bool takes_endpoint;         /* there are routes */
    struct session_list *others; /* settings that are not tracked, for PostgreSQL to judge; NULL:
                                    they are refused */
};
/* Settings inside `options` come first, as in PostgreSQL: those of the message itself win. False:
 * refused. */
bool startup_parameters_read(const struct startup_message *message,
                             const struct startup_reading *reading, struct startup_choice *choice,
                             struct error *error);
/* "no", "database", "yes". */
const char *startup_replication_name(enum startup_replication replication);
