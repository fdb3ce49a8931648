/* options: the table of config/options.def as data, and values by it: parsing, range checks, text
 * for people.
 *
 * Knows one value at a time; what several values must have in common is config/load's matter. A
 * struct settings that went through settings_init owns its strings (every one a copy of its own, or
 * NULL) until settings_finish, which wipes those of type SECRET. Any thread; the table is constant.
 */
#pragma once
#include <stddef.h>

#include "base/error.h"
#include "config/routes.h"
#include "config/snapshot.h"

enum option_type {
    OPTION_INT,
    OPTION_UINT,
    OPTION_TIME,
    OPTION_STRING,
    OPTION_SECRET,
    OPTION_WORDS,
    OPTION_NAMES,
    OPTION_POOL_MODE,
    OPTION_AUTH_TYPE,
    OPTION_TLS_MODE,
    OPTION_DISCONNECT_MODE,
    OPTION_CHANNEL_BINDING,
    OPTION_SESSION_STATE,
    OPTION_SESSION_PROBE,
    OPTION_FOLLOW_UNKNOWN,
    OPTION_CANCEL_TLS,
    OPTION_LOG_FORMAT,
    OPTION_AUDIT
};
enum option_state { OPTION_BUILT, OPTION_NOT_YET, OPTION_NO_USE };
enum option_changes { OPTION_RELOAD, OPTION_FILE, OPTION_START };

#define OPTION_ANY INT64_MIN /* as lowest or highest: no bound but the type's */

struct config_option {
    const char *name;
    enum option_type type;
    const char *default_text; /* NULL: none */
    const char *unit;
    int64_t lowest, highest;
    enum option_changes changes;
    enum option_state state;
    const char *help;
    size_t offset; /* in struct settings */
};

/* Keys inside a line of [databases], [users], [peers] or [listeners]. */
enum entry_key_type {
    ENTRY_TEXT,
    ENTRY_SECRET,
    ENTRY_COUNT,
    ENTRY_SECONDS,
    ENTRY_PORT,
    ENTRY_HOSTS,
    ENTRY_POOL_MODE,
    ENTRY_SESSION_STATE,
    ENTRY_LOAD_BALANCE,
    ENTRY_TLS_MODE,
    ENTRY_AUTH_TYPE,
    ENTRY_PROTOCOLS,
    ENTRY_SWITCH,
    ENTRY_ADDRESSES
};

struct entry_key {
    const char *name;
    enum entry_key_type type;
    bool is_built;
    const char *help;
    size_t offset; /* in the section's entry */
};

struct entry_keys {
    const char *section;
    const struct entry_key *keys;
    int count;
};

extern const struct config_option config_options[];
extern const int config_option_count;
extern const struct entry_keys database_keys, user_keys, peer_keys, listener_keys, route_keys;

const struct config_option *config_option_find(const char *name); /* NULL: there is none */
/* The name that `name` was perhaps meant to be, or NULL. */
const char *config_option_similar(const char *name);

bool settings_init(struct settings *settings); /* all defaults; false: no memory, nothing is held */
void settings_finish(struct settings *settings);
bool settings_copy(struct settings *to, const struct settings *from);

/* One value from text. False: the value stays, the error says what is allowed. */
bool settings_set(struct settings *settings, const struct config_option *option, const char *text,
                  struct error *error);
/* Back to the default. False: no memory. */
bool settings_reset(struct settings *settings, const struct config_option *option);
bool settings_copy_one(struct settings *to, const struct settings *from,
                       const struct config_option *option);
bool settings_equal(const struct settings *a, const struct settings *b,
                    const struct config_option *option);
bool settings_is_default(const struct settings *settings, const struct config_option *option);

/* The value as SHOW CONFIG prints it (COMPAT 1.2, 2), cut at `size`; "****" for a secret. False: it
 * is NULL. */
bool settings_text(const struct settings *settings, const struct config_option *option, char *text,
                   size_t size);

/* Case-insensitive; -1: no such name. The values are those of the enum that is called
 * so. */
int pool_mode_find(const char *name);
int session_state_find(const char *name);
const char *session_state_name(int state); /* a literal */
int load_balance_hosts_find(const char *name);
int tls_mode_find(const char *name);
int auth_type_find(const char *name);
const char *pool_mode_name(enum pool_mode mode);
const char *tls_mode_name(enum tls_mode mode);
const char *auth_type_name(enum auth_type type);
