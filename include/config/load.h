/* load: from files to a snapshot, whole or not at all.
 *
 * Reads the ini with %include, the auth_file, and builds the TLS contexts. Blocking (files): off
 * the loops, on a helper thread or before the loops start. Every mistake is collected as a problem
 * with file, line, key and reason (texts as COMPAT 1.4 as part of the line); with any problem there
 * is no snapshot.
 */
#pragma once
#include "config/snapshot.h"

#define CONFIG_PROBLEMS_MAX 100

struct config_problems {
    int count; /* those over CONFIG_PROBLEMS_MAX are counted only */
    /* "FILE:LINE: key: reason"; NULL where memory was short. Owned: config_problems_finish */
    char *lines[CONFIG_PROBLEMS_MAX];
};
void config_problems_finish(struct config_problems *problems);

struct config_load_request {
    const char *file;
    struct tls_ticket_keys *ticket_keys; /* for client-side contexts; borrowed */
    const struct config *previous; /* at reload: start-only keys keep its values (a changed one is a
                                      warning); NULL at start */
};

/* The new snapshot with one reference, or NULL and at least one problem. `warnings` collects what
 * is accepted but should be said (a changed start-only key; duplicate names in auth_file; require
 * with a CA file; trust on an open address). */
const struct config *config_load(const struct config_load_request *request,
                                 struct config_problems *problems,
                                 struct config_problems *warnings);

/* A copy of `config` with one key of [pgbouncer] changed (console SET), TLS contexts made anew
 * where it is about them. A start-only key is no problem and changes nothing: config/options.h says
 * which those are. NULL: problem, also for keys that name files. */
const struct config *config_with(const struct config *config, const char *key, const char *value,
                                 struct config_problems *problems);

/* Names of keys that stand in the file (with a value other than their default) and are not honoured
 * yet; for one line at start. Calls back for each. */
void config_each_not_honoured(const struct config *config, void (*call)(const char *key, void *),
                              void *argument);
