/* routes: which database entry, pool mode and server user a client gets, by the host name that it
 * asked for (SNI, or `endpoint` in its options), its user, its database and its listener.
 *
 * Lines of [routes], the first that fits counts; it fits only if the entry that it leads to is
 * there (THREATS §2.2). Pure but for a counter. Immutable; they live as long as their snapshot. Any
 * thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ROUTES_MAX        1000
#define ROUTE_CAPTURE_MAX 63
#define ROUTE_NAME_MAX    127

struct config;

struct route {
    const char *host; /* pattern: at most one *, which stands for one or more of [a-z0-9_-]; "*":
                         any, or none */
    const char *if_user, *if_database; /* patterns; NULL: any */
    const char *if_listener;           /* a name; NULL: any */
    const char *database; /* entry, with $1, $2, ... for what * stood for; NULL: as it was sent */
    const char *user;     /* whom the server shall see, likewise; NULL: as ever */
    int pool_mode;        /* enum pool_mode; CONFIG_UNSET: as ever */
    int line;
    _Atomic uint64_t taken; /* how often */
};

/* What a client says; NULL: nothing. */
struct route_question {
    const char *listener, *sni, *endpoint, *user, *database;
};

struct route_answer {
    struct route *route;
    char database[ROUTE_NAME_MAX + 1]; /* of an entry, or as it was sent */
    char user[ROUTE_NAME_MAX + 1];     /* "": as ever */
    int pool_mode;
};

/* May it be asked for at all? False: error (of PostgreSQL's protocol), as Neon says it: SNI and
 * endpoint disagree. */
bool route_is_consistent(const struct route_question *question, struct error *error);
/* False: no line fits. `why`, if not NULL, is called for each line that was looked at: NULL as
 * reason for the one that fits. */
struct route_why {
    void (*call)(const struct route *route, const char *reason, void *argument);
    void *argument;
};
bool route_find(const struct config *config, const struct route_question *question,
                struct route_answer *answer, const struct route_why *why);

/* `text` fits `pattern`; what * stood for, in lower case, goes into `capture` (ROUTE_CAPTURE_MAX +
 * 1 bytes; "" without a *). `fold`: upper and lower case are alike. */
bool route_pattern_fits(const char *pattern, const char *text, bool fold, char *capture);
/* `text` with $1 to $3 replaced. False: it does not fit. */
bool route_expand(const char *text, const char captures[][ROUTE_CAPTURE_MAX + 1], int count,
                  char *into, size_t size);
