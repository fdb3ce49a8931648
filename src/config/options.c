#include "config/options.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/peers.h"
#include "owned.h"

/* The words of options.def. */
#define NONE    NULL
#define ANY     OPTION_ANY
#define BUILT   OPTION_BUILT
#define NOT_YET OPTION_NOT_YET
#define NO_USE  OPTION_NO_USE

const struct config_option config_options[] = {
#define OPTION(name, type, default_text, unit, lowest, highest, changes, state, help)              \
    {#name,   OPTION_##type,    default_text, unit, lowest,                                        \
     highest, OPTION_##changes, state,        help, offsetof(struct settings, name)},
#include "config/options.def"
};
const int config_option_count = (int)(sizeof config_options / sizeof *config_options);

static const struct entry_key database_key_table[] = {
#define DATABASE_OPTION(name, field, type, is_built, help)                                         \
    {#name, ENTRY_##type, (is_built) == OPTION_BUILT, help, offsetof(struct database_entry, field)},
#include "config/options.def"
};
static const struct entry_key user_key_table[] = {
#define USER_OPTION(name, field, type, is_built, help)                                             \
    {#name, ENTRY_##type, (is_built) == OPTION_BUILT, help, offsetof(struct user_entry, field)},
#include "config/options.def"
};
static const struct entry_key peer_key_table[] = {
#define PEER_OPTION(name, field, type, is_built, help)                                             \
    {#name, ENTRY_##type, (is_built) == OPTION_BUILT, help, offsetof(struct peer_entry, field)},
#include "config/options.def"
};
static const struct entry_key listener_key_table[] = {
#define LISTENER_OPTION(name, field, type, is_built, help)                                         \
    {#name, ENTRY_##type, (is_built) == OPTION_BUILT, help, offsetof(struct listener_entry, field)},
#include "config/options.def"
};
static const struct entry_key route_key_table[] = {
#define ROUTE_OPTION(name, field, type, is_built, help)                                            \
    {#name, ENTRY_##type, (is_built) == OPTION_BUILT, help, offsetof(struct route, field)},
#include "config/options.def"
};

#define ENTRY_KEYS(section, table)                                                                 \
    {                                                                                              \
        (section), (table), (int)(sizeof(table) / sizeof *(table))                                 \
    }
const struct entry_keys database_keys = ENTRY_KEYS("databases", database_key_table);
const struct entry_keys user_keys = ENTRY_KEYS("users", user_key_table);
const struct entry_keys peer_keys = ENTRY_KEYS("peers", peer_key_table);
const struct entry_keys route_keys = ENTRY_KEYS("routes", route_key_table);
const struct entry_keys listener_keys = ENTRY_KEYS("listeners", listener_key_table);

/* Times above this are mistakes, and would overflow when added to the clock: 317 years. */
#define TIME_SECONDS_MAX 10000000000LL

/* In the order of their enums, each list closed by NULL. */
static const char *const pool_mode_names[] = {"session", "transaction", "statement", NULL};
static const char *const session_state_names[] = {"follow", "reset", "leak", NULL};
static const char *const session_probe_names[] = {"auto", "always", NULL};
static const char *const follow_unknown_names[] = {"probe", "pin", NULL};
static const char *const load_balance_names[] = {"round-robin", "disable", NULL};
static const char *const auth_type_names[] = {"any",           "trust",       "plain", "md5",
                                              "cert",          "hba",         "ldap",  "pam",
                                              "scram-sha-256", "passthrough", NULL};
static const char *const tls_mode_names[] = {"disable",   "allow",       "prefer", "require",
                                             "verify-ca", "verify-full", NULL};

static const char *const cancel_tls_names[] = {"allow", "require", NULL};
static const char *const disconnect_mode_names[] = {"always", "never", NULL};
static const char *const channel_binding_names[] = {"disable", "prefer", "require", NULL};
static const char *const audit_names[] = {"off", "file", "syslog", "journal", NULL};
static const char *const log_format_names[] = {"text", "json", NULL};

static int find_name(const char *const *names, const char *name)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (strcasecmp(names[i], name) == 0)
            return i;
    }
    return -1;
}

const char *session_state_name(int state)
{
    return session_state_names[state];
}

int session_state_find(const char *name)
{
    return find_name(session_state_names, name);
}

int pool_mode_find(const char *name)
{
    return find_name(pool_mode_names, name);
}

int load_balance_hosts_find(const char *name)
{
    return find_name(load_balance_names, name);
}

int tls_mode_find(const char *name)
{
    return find_name(tls_mode_names, name);
}

int auth_type_find(const char *name)
{
    return find_name(auth_type_names, name);
}

const char *pool_mode_name(enum pool_mode mode)
{
    return pool_mode_names[mode];
}

const char *tls_mode_name(enum tls_mode mode)
{
    return tls_mode_names[mode];
}

const char *auth_type_name(enum auth_type type)
{
    return auth_type_names[type];
}

const struct config_option *config_option_find(const char *name)
{
    for (int i = 0; i < config_option_count; i++) {
        if (strcmp(config_options[i].name, name) == 0)
            return &config_options[i];
    }
    return NULL;
}

/* ---- likeness ---- */

#define NAME_LENGTH_MAX 64
#define LIKENESS_MAX    2

static int smallest(int a, int b, int c)
{
    int least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein's distance; a name that is too long is far from everything. */
static int distance(const char *a, const char *b)
{
    int row[NAME_LENGTH_MAX + 1];
    int length = (int)strnlen(b, NAME_LENGTH_MAX);

    if (strnlen(a, NAME_LENGTH_MAX) == NAME_LENGTH_MAX)
        return INT_MAX;
    for (int i = 0; i <= length; i++)
        row[i] = i;
    for (int i = 0; a[i] != '\0'; i++) {
        int diagonal = row[0];

        row[0] = i + 1;
        for (int j = 0; j < length; j++) {
            int changed = diagonal + (a[i] != b[j]);

            diagonal = row[j + 1];
            row[j + 1] = smallest(row[j] + 1, row[j + 1] + 1, changed);
        }
    }
    return row[length];
}

const char *config_option_similar(const char *name)
{
    const char *similar = NULL;
    int nearest = LIKENESS_MAX + 1;

    for (int i = 0; i < config_option_count; i++) {
        int far = distance(name, config_options[i].name);

        if (far < nearest) {
            nearest = far;
            similar = config_options[i].name;
        }
    }
    return similar;
}

/* ---- values ---- */

static bool is_text(const struct config_option *option)
{
    return option->type == OPTION_STRING || option->type == OPTION_SECRET ||
           option->type == OPTION_WORDS || option->type == OPTION_NAMES;
}

static void *field(struct settings *settings, const struct config_option *option)
{
    return (char *)settings + option->offset;
}

static const void *const_field(const struct settings *settings, const struct config_option *option)
{
    return (const char *)settings + option->offset;
}

static const char *text_of(const struct settings *settings, const struct config_option *option)
{
    const char *const *text = const_field(settings, option);

    return *text;
}

static size_t value_size(const struct config_option *option)
{
    return option->type == OPTION_TIME ? sizeof(usec_t) : sizeof(int);
}

/* What an option allows, the type's own bounds where the table has none. */
static int64_t lowest_of(const struct config_option *option)
{
    if (option->lowest != ANY)
        return option->lowest;
    return option->type == OPTION_INT ? INT_MIN : 0;
}

static int64_t highest_of(const struct config_option *option)
{
    if (option->highest != ANY)
        return option->highest;
    if (option->type == OPTION_TIME)
        return TIME_SECONDS_MAX;
    return option->type == OPTION_INT ? INT_MAX : (int64_t)UINT_MAX;
}

static bool refuse_range(const struct config_option *option, struct error *error)
{
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "must be %" PRId64 " to %" PRId64,
                     lowest_of(option), highest_of(option));
}

/* Base 0: 0x and leading 0 count, as in PgBouncer's files. */
static bool set_number(void *value, const struct config_option *option, const char *text,
                       struct error *error)
{
    long long number;
    char *end;

    errno = 0;
    number = strtoll(text, &end, 0);
    if (end == text || *end != '\0')
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "not a whole number%s",
                         strcmp(option->unit, "0/1") == 0 ? ": 0 is off, 1 is on" : "");
    if (errno != 0 || number < lowest_of(option) || number > highest_of(option))
        return refuse_range(option, error);
    if (option->type == OPTION_INT)
        *(int *)value = (int)number;
    else
        *(unsigned *)value = (unsigned)number;
    return true;
}

static bool set_time(void *value, const struct config_option *option, const char *text,
                     struct error *error)
{
    double seconds;
    char *end;

    seconds = strtod(text, &end);
    if (end == text || *end != '\0' || isnan(seconds))
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "not a number of seconds (without a unit)");
    if (seconds < (double)lowest_of(option) || seconds > (double)highest_of(option))
        return refuse_range(option, error);
    *(usec_t *)value = (usec_t)(seconds * (double)USEC_PER_SEC + 0.5);
    return true;
}

static bool set_name(void *value, const char *const *names, const char *text, struct error *error)
{
    int found = find_name(names, text);

    if (found >= 0) {
        *(int *)value = found;
        return true;
    }
    (void)error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "must be one of");
    for (int i = 0; error != NULL && names[i] != NULL; i++) {
        size_t length = strlen(error->message);

        (void)snprintf(error->message + length, sizeof error->message - length, "%s%s",
                       i == 0 ? " " : ", ", names[i]);
    }
    return false;
}

static bool set_text(void *value, const struct config_option *option, const char *text,
                     struct error *error)
{
    const char **place = value;
    bool is_secret = option->type == OPTION_SECRET;
    const char *copy = is_secret ? memory_strdup_secret(text) : memory_strdup(text);

    if (copy == NULL && text != NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    if (is_secret)
        owned_free_secret(*place);
    else
        owned_free(*place);
    *place = copy;
    return true;
}

bool settings_set(struct settings *settings, const struct config_option *option, const char *text,
                  struct error *error)
{
    void *value = field(settings, option);

    switch (option->type) {
    case OPTION_INT:
    case OPTION_UINT:
        return set_number(value, option, text, error);
    case OPTION_TIME:
        return set_time(value, option, text, error);
    case OPTION_POOL_MODE:
        return set_name(value, pool_mode_names, text, error);
    case OPTION_SESSION_STATE:
        return set_name(value, session_state_names, text, error);
    case OPTION_SESSION_PROBE:
        return set_name(value, session_probe_names, text, error);
    case OPTION_FOLLOW_UNKNOWN:
        return set_name(value, follow_unknown_names, text, error);
    case OPTION_AUTH_TYPE:
        return set_name(value, auth_type_names, text, error);
    case OPTION_TLS_MODE:
        return set_name(value, tls_mode_names, text, error);
    case OPTION_CANCEL_TLS:
        return set_name(value, cancel_tls_names, text, error);
    case OPTION_DISCONNECT_MODE:
        return set_name(value, disconnect_mode_names, text, error);
    case OPTION_CHANNEL_BINDING:
        return set_name(value, channel_binding_names, text, error);
    case OPTION_LOG_FORMAT:
        return set_name(value, log_format_names, text, error);
    case OPTION_AUDIT:
        return set_name(value, audit_names, text, error);
    case OPTION_STRING:
    case OPTION_SECRET:
    case OPTION_WORDS:
    case OPTION_NAMES:
        break;
    }
    return set_text(value, option, text, error);
}

bool settings_reset(struct settings *settings, const struct config_option *option)
{
    if (is_text(option))
        return set_text(field(settings, option), option, option->default_text, NULL);
    if (option->default_text == NULL) {
        memset(field(settings, option), 0, value_size(option));
        return true;
    }
    return settings_set(settings, option, option->default_text, NULL);
}

bool settings_init(struct settings *settings)
{
    memset(settings, 0, sizeof *settings);
    for (int i = 0; i < config_option_count; i++) {
        if (!settings_reset(settings, &config_options[i])) {
            settings_finish(settings);
            return false;
        }
    }
    return true;
}

void settings_finish(struct settings *settings)
{
    for (int i = 0; i < config_option_count; i++) {
        if (is_text(&config_options[i]))
            (void)set_text(field(settings, &config_options[i]), &config_options[i], NULL, NULL);
    }
}

bool settings_copy_one(struct settings *to, const struct settings *from,
                       const struct config_option *option)
{
    if (is_text(option))
        return set_text(field(to, option), option, text_of(from, option), NULL);
    memcpy(field(to, option), const_field(from, option), value_size(option));
    return true;
}

bool settings_copy(struct settings *to, const struct settings *from)
{
    memset(to, 0, sizeof *to);
    for (int i = 0; i < config_option_count; i++) {
        if (!settings_copy_one(to, from, &config_options[i])) {
            settings_finish(to);
            return false;
        }
    }
    return true;
}

static bool texts_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool settings_equal(const struct settings *a, const struct settings *b,
                    const struct config_option *option)
{
    if (is_text(option))
        return texts_equal(text_of(a, option), text_of(b, option));
    return memcmp(const_field(a, option), const_field(b, option), value_size(option)) == 0;
}

bool settings_is_default(const struct settings *settings, const struct config_option *option)
{
    struct settings defaults = {0};

    if (is_text(option))
        return texts_equal(text_of(settings, option), option->default_text);
    return settings_reset(&defaults, option) && settings_equal(settings, &defaults, option);
}

static const char *name_of(const struct config_option *option, const void *value)
{
    switch (option->type) {
    case OPTION_POOL_MODE:
        return pool_mode_names[*(const enum pool_mode *)value];
    case OPTION_SESSION_STATE:
        return session_state_names[*(const enum session_state *)value];
    case OPTION_SESSION_PROBE:
        return session_probe_names[*(const enum session_probe_when *)value];
    case OPTION_FOLLOW_UNKNOWN:
        return follow_unknown_names[*(const enum follow_unknown *)value];
    case OPTION_AUTH_TYPE:
        return auth_type_names[*(const enum auth_type *)value];
    case OPTION_TLS_MODE:
        return tls_mode_names[*(const enum tls_mode *)value];
    case OPTION_CANCEL_TLS:
        return cancel_tls_names[*(const enum cancel_tls *)value];
    case OPTION_DISCONNECT_MODE:
        return disconnect_mode_names[*(const enum cancel_on_disconnect *)value];
    case OPTION_CHANNEL_BINDING:
        return channel_binding_names[*(const enum channel_binding *)value];
    case OPTION_LOG_FORMAT:
        return log_format_names[*(const enum log_format *)value];
    case OPTION_AUDIT:
        return audit_names[*(const enum log_audit *)value];
    case OPTION_SECRET:
        return **(const char *const *)value != '\0' ? "****" : "";
    default:
        return *(const char *const *)value;
    }
}

bool settings_text(const struct settings *settings, const struct config_option *option, char *text,
                   size_t size)
{
    const void *value = const_field(settings, option);

    *text = '\0';
    if (is_text(option) && text_of(settings, option) == NULL)
        return false;
    switch (option->type) {
    case OPTION_INT:
        (void)snprintf(text, size, "%d", *(const int *)value);
        return true;
    case OPTION_UINT:
        (void)snprintf(text, size, "%u", *(const unsigned *)value);
        return true;
    case OPTION_TIME:
        (void)snprintf(text, size, "%g", (double)*(const usec_t *)value / (double)USEC_PER_SEC);
        return true;
    default:
        (void)snprintf(text, size, "%s", name_of(option, value));
        return true;
    }
}
