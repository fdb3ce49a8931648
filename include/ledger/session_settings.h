/* session_settings: settings of a session beyond those that servers report, which follow a client.
 *
 * Two kinds of records. A list is made up while a startup packet or the answer of a probe is read;
 * one loop's thread. A profile is what came of it: immutable, shared by clients and servers on all
 * loops, with a reference for each. A server notes whose profile its session has, a client which
 * one it wants: equal hashes mean equal sessions, so that two that agree cost one compare. NULL is
 * the profile of a session that nobody has touched; its hash is 0.
 *
 * Names are lower-cased; values are texts as current_setting() has them. `role` and
 * `session_authorization` are two of them. No I/O.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* The first statement of a block of ours, a Query of its own: whatever the session's defaults for
 * transactions have become. Never READ WRITE, which a standby refuses (MECHANISMS §4.1). */
#define SESSION_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE"

#define SESSION_SETTINGS_MAX 64   /* of one client */
#define SESSION_NAME_MAX     127  /* bytes of a name */
#define SESSION_VALUE_MAX    8192 /* bytes of a value */

struct session_setting {
    const char *name, *value;
};

struct session_list {
    struct session_setting *items; /* owned array of owned texts */
    int count;
};
/* Sets or replaces. False: no memory, too many, or too long. */
bool session_list_set(struct session_list *list, const char *name, const char *value);
const char *session_list_get(const struct session_list *list, const char *name); /* NULL: none */
/* Behind the others; its name as it stands. False: no memory, too many, or too long. */
bool session_list_append(struct session_list *list, const char *name, const char *value);
void session_list_finish(struct session_list *list);

struct session_profile {
    _Atomic int references;
    bool disturbs; /* must be undone when its server is released: others, or our own statements,
                      would be struck (idle_session_timeout, short time limits) */
    int count, prepared_count;
    uint64_t hash;                  /* of all names and values; never 0 */
    uint64_t settings_hash;         /* of the settings alone */
    uint64_t statement_hash;        /* of those that may decide what a statement means */
    struct session_setting items[]; /* settings, then what SQL has prepared; texts lie behind */
};
/* *profile is NULL where both lists are empty. `prepared` (NULL: none): statements of SQL's
 * PREPARE, for ledger/session_prepared. False: no memory. */
bool session_profile_create(const struct session_list *list, const struct session_list *prepared,
                            struct session_profile **profile);
struct session_profile *session_profile_acquire(struct session_profile *profile); /* NULL is fine */
void session_profile_release(struct session_profile *profile);                    /* NULL is fine */
const char *session_profile_get(const struct session_profile *profile, const char *name);
static inline uint64_t session_profile_hash(const struct session_profile *profile)
{
    return profile ? profile->hash : 0;
}
static inline uint64_t session_profile_settings_hash(const struct session_profile *profile)
{
    return profile ? profile->settings_hash : 0;
}

/* Writes "set_config(...)" calls that bring a session from one profile to the other, each with
 * *separator in front, which becomes ", ". Who it is comes first when it is undone and last when it
 * is set, for that decides what may be set (MECHANISMS §4.3). */
void session_profile_change(const struct session_profile *from, const struct session_profile *to,
                            const char **separator, struct bytes *out);
/* One call; `value` NULL: the setting's own default. */
void session_put_set_config(struct bytes *out, const char *name, const char *value, bool is_local);
