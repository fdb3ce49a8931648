/* conninfo: a connection string as libpq has it (manual, "Connection Strings"): a URI or keywords,
 * with the PG* variables and libpq's defaults for what it does not say. Pure, but for the
 * environment. */
#pragma once
#include <stdbool.h>

#include "base/error.h"

enum conninfo_key {
    CONNINFO_HOST,
    CONNINFO_PORT,
    CONNINFO_DBNAME,
    CONNINFO_USER,
    CONNINFO_PASSWORD,
    CONNINFO_SSLMODE,
    CONNINFO_SSLROOTCERT,
    CONNINFO_SSLCERT,
    CONNINFO_SSLKEY,
    CONNINFO_CHANNEL_BINDING,
    CONNINFO_REQUIRE_AUTH,
    CONNINFO_CONNECT_TIMEOUT,
    CONNINFO_APPLICATION_NAME,
    CONNINFO_KEYS
};

struct conninfo {
    char *text;                        /* owned: the values are pieces of it */
    const char *values[CONNINFO_KEYS]; /* or of the environment; NULL: nobody says */
};

/* Is it a connection string, and not the name of a file? */
bool conninfo_looks_like(const char *argument);
/* A password in `argument` is overwritten there: it can be seen in the list of processes. False:
 * error; conninfo_finish all the same. */
bool conninfo_parse(char *argument, struct conninfo *info, struct error *error);
void conninfo_finish(struct conninfo *info);
