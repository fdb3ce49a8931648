#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/connstring.h"
#include "owned.h"
#include "snapshot_private.h"

#define DATABASE_PORT  5432
#define PORT_MAX       65535
#define REASON_MAX     512
#define KEY_REASON_MAX 64

static void *field(void *entry, const struct entry_key *key)
{
    return (char *)entry + key->offset;
}

/* ---- life ---- */

void entry_keys_finish(const struct entry_keys *keys, void *entry)
{
    for (int i = 0; i < keys->count; i++) {
        const struct entry_key *key = &keys->keys[i];
        const char **texts = field(entry, key);

        if (key->type == ENTRY_SECRET)
            owned_free_secret(*texts);
        else if (key->type == ENTRY_TEXT)
            owned_free(*texts);
        else if (key->type == ENTRY_ADDRESSES)
            address_list_release(*(struct address_list **)field(entry, key));
        for (int host = 0; key->type == ENTRY_HOSTS && host < CONFIG_HOSTS_MAX; host++)
            owned_free(texts[host]);
    }
}

struct database_entry *database_create(const char *name)
{
    struct database_entry *entry = memory_zalloc(sizeof *entry);

    if (entry == NULL)
        return NULL;
    entry->name = memory_strdup(name);
    entry->port = DATABASE_PORT;
    entry->pool_mode = entry->session_state = CONFIG_UNSET;
    entry->pool_size = CONFIG_UNSET;
    entry->min_pool_size = CONFIG_UNSET;
    entry->reserve_pool_size = CONFIG_UNSET;
    entry->query_wait_timeout = CONFIG_UNSET;
    atomic_init(&entry->references, 1);
    if (entry->name == NULL) {
        database_release(entry);
        return NULL;
    }
    return entry;
}

struct database_entry *database_acquire(struct database_entry *database)
{
    if (database != NULL)
        atomic_fetch_add_explicit(&database->references, 1, memory_order_relaxed);
    return database;
}

void database_release(struct database_entry *database)
{
    if (database == NULL ||
        atomic_fetch_sub_explicit(&database->references, 1, memory_order_acq_rel) > 1)
        return;
    entry_keys_finish(&database_keys, database);
    tls_context_release(database->server_tls);
    owned_free(database->name);
    memory_free(database);
}

struct user_entry *user_create(const char *name)
{
    struct user_entry *entry = memory_zalloc(sizeof *entry);

    if (entry == NULL)
        return NULL;
    entry->name = memory_strdup(name);
    entry->pool_size = CONFIG_UNSET;
    entry->reserve_pool_size = CONFIG_UNSET;
    entry->pool_mode = entry->session_state = CONFIG_UNSET;
    entry->query_wait_timeout = CONFIG_UNSET;
    atomic_init(&entry->references, 1);
    if (entry->name == NULL) {
        user_release(entry);
        return NULL;
    }
    return entry;
}

struct user_entry *user_acquire(struct user_entry *user)
{
    if (user != NULL)
        atomic_fetch_add_explicit(&user->references, 1, memory_order_relaxed);
    return user;
}

void user_release(struct user_entry *user)
{
    if (user == NULL || atomic_fetch_sub_explicit(&user->references, 1, memory_order_acq_rel) > 1)
        return;
    entry_keys_finish(&user_keys, user);
    auth_secret_finish(&user->secret);
    owned_free(user->name);
    memory_free(user);
}

static bool copy_texts(const char *const *from, const char **to, int count)
{
    for (int i = 0; i < count; i++) {
        to[i] = memory_strdup(from[i]);
        if (to[i] == NULL && from[i] != NULL)
            return false;
    }
    return true;
}

static bool copy_secret(const char *const *from, const char **to)
{
    *to = memory_strdup_secret(*from);
    return *to != NULL || *from == NULL;
}

/* Key by key, not the struct as a whole: other threads count references in `entry` meanwhile. */
bool entry_keys_copy(const struct entry_keys *keys, const void *entry, void *copy)
{
    for (int i = 0; i < keys->count; i++) {
        const struct entry_key *key = &keys->keys[i];
        const void *from = (const char *)entry + key->offset;
        bool ok = true;

        if (key->type == ENTRY_SECRET)
            ok = copy_secret(from, field(copy, key));
        else if (key->type == ENTRY_TEXT)
            ok = copy_texts(from, field(copy, key), 1);
        else if (key->type == ENTRY_HOSTS)
            ok = copy_texts(from, field(copy, key), CONFIG_HOSTS_MAX);
        else if (key->type == ENTRY_ADDRESSES)
            *(struct address_list **)field(copy, key) =
                address_list_acquire(*(struct address_list *const *)from);
        else
            memcpy(field(copy, key), from,
                   key->type == ENTRY_SECONDS ? sizeof(usec_t) : sizeof(int));
        if (!ok)
            return false;
    }
    return true;
}

struct database_entry *database_copy(const struct database_entry *entry, const char *name)
{
    struct database_entry *copy = database_create(name);

    if (copy == NULL || !entry_keys_copy(&database_keys, entry, copy)) {
        database_release(copy);
        return NULL;
    }
    copy->is_console = entry->is_console;
    return copy;
}

struct user_entry *user_with_secret(const struct user_entry *known, const char *name,
                                    const char *secret)
{
    struct user_entry *entry = user_create(name);
    bool ok = entry != NULL && (known == NULL || entry_keys_copy(&user_keys, known, entry)) &&
              auth_secret_set(&entry->secret, secret);

    if (!ok) {
        user_release(entry);
        return NULL;
    }
    entry->is_known = entry->is_proven = true;
    return entry;
}

struct user_entry *user_with_password(const struct user_entry *known, const char *name,
                                      const char *password)
{
    struct user_entry *entry = user_with_secret(known, name, NULL);

    if (entry == NULL)
        return NULL;
    entry->is_passed_on = true;
    if (auth_secret_set_plain(&entry->secret, password))
        return entry;
    user_release(entry);
    return NULL;
}

/* ---- fingerprint ---- */

static uint64_t fingerprint_number(uint64_t fingerprint, uint64_t number)
{
    uint64_t both[] = {fingerprint, number};

    return digest64(both, sizeof both);
}

uint64_t fingerprint_text(uint64_t fingerprint, const char *text)
{
    return fingerprint_number(fingerprint, text != NULL ? digest64(text, strlen(text)) : 0);
}

/* COMPAT 1.5, item 4: not the password, and no size, mode, limit or time. */
static uint64_t database_fingerprint(const struct database_entry *entry)
{
    uint64_t fingerprint = fingerprint_text(0, entry->dbname);

    for (int i = 0; i < entry->host_count; i++)
        fingerprint = fingerprint_text(fingerprint, entry->hosts[i]);
    fingerprint = fingerprint_number(fingerprint, (uint64_t)entry->port);
    fingerprint = fingerprint_text(fingerprint, entry->user);
    fingerprint = fingerprint_text(fingerprint, entry->connect_query);
    fingerprint = fingerprint_text(fingerprint, entry->auth_dbname);
    fingerprint = fingerprint_text(fingerprint, entry->auth_query);
    return fingerprint_number(fingerprint, (uint64_t)entry->load_balance_hosts);
}

bool database_complete(struct database_entry *entry, struct tls_context *server_tls,
                       uint64_t server_tls_fingerprint)
{
    if (entry->dbname == NULL)
        entry->dbname = memory_strdup(entry->name);
    if (entry->dbname == NULL)
        return false;
    entry->host_count = 1;
    while (entry->host_count < CONFIG_HOSTS_MAX && entry->hosts[entry->host_count] != NULL)
        entry->host_count++;
    tls_context_release(entry->server_tls);
    entry->server_tls = entry->is_console ? NULL : tls_context_acquire(server_tls);
    entry->connection_fingerprint =
        fingerprint_number(database_fingerprint(entry), server_tls_fingerprint);
    return true;
}

/* ---- a line ---- */

static bool refuse(const struct entry_report *report, const char *what, const char *value)
{
    char reason[REASON_MAX];

    (void)snprintf(reason, sizeof reason, "%s: %.256s", what, value);
    report->problem(report->argument, reason);
    return false;
}

static bool out_of_memory(const struct entry_report *report)
{
    report->problem(report->argument, "out of memory");
    return false;
}

static bool set_text(const char **place, const struct entry_key *key, const char *value,
                     const struct entry_report *report)
{
    bool is_secret = key->type == ENTRY_SECRET;
    const char *copy = is_secret ? memory_strdup_secret(value) : memory_strdup(value);

    if (copy == NULL)
        return out_of_memory(report);
    if (is_secret)
        owned_free_secret(*place);
    else
        owned_free(*place);
    *place = copy;
    return true;
}

static bool set_hosts(const char **hosts, const char *value, const struct entry_report *report)
{
    int count = 0;

    for (int i = 0; i < CONFIG_HOSTS_MAX; i++) {
        owned_free(hosts[i]);
        hosts[i] = NULL;
    }
    for (;;) {
        size_t length = strcspn(value, ",");

        if (length == 0)
            return refuse(report, "invalid host", "an empty name in the list");
        if (count == CONFIG_HOSTS_MAX)
            return refuse(report, "invalid host", "more than 16 in the list");
        hosts[count] = memory_strndup(value, length);
        if (hosts[count++] == NULL)
            return out_of_memory(report);
        if (value[length] == '\0')
            return true;
        value += length + 1;
    }
}

/* As atoi, but what is no number at all is refused, and what stands behind one is warned about. */
static bool take_number(const struct entry_key *key, const char *value, int *number,
                        const struct entry_report *report)
{
    char what[KEY_REASON_MAX], reason[REASON_MAX];
    char *end;
    long got;

    errno = 0;
    got = strtol(value, &end, 10);
    (void)snprintf(what, sizeof what, "invalid %s", key->name);
    if (end == value)
        return refuse(report, what, value);
    if (errno != 0 || got > INT_MAX || got < INT_MIN)
        return refuse(report, what, "too large");
    *number = (int)got;
    if (*end != '\0') {
        (void)snprintf(reason, sizeof reason, "%s=%.128s is read as %d", key->name, value, *number);
        report->warning(report->argument, reason);
    }
    return true;
}

static bool set_number(void *place, const struct entry_key *key, const char *value,
                       const struct entry_report *report)
{
    int number;

    if (!take_number(key, value, &number, report))
        return false;
    if (key->type == ENTRY_SECONDS)
        *(usec_t *)place = number > 0 ? number * USEC_PER_SEC : 0;
    else
        *(int *)place = number;
    return true;
}

static bool set_port(int *place, const char *value, const struct entry_report *report)
{
    char *end;
    long port = strtol(value, &end, 10);

    if (*end != '\0' || port < 1 || port > PORT_MAX)
        return refuse(report, "invalid port", value);
    *place = (int)port;
    return true;
}

static bool set_addresses(struct address_list **place, const char *value,
                          const struct entry_report *report)
{
    struct error error;
    struct address_list *list = address_list_parse(value, &error);

    if (list == NULL)
        return refuse(report, "invalid allow_from", error.message);
    address_list_release(*place);
    *place = list;
    return true;
}

static bool set_named(void *place, int found, const char *what, const char *value,
                      const struct entry_report *report)
{
    if (found < 0)
        return refuse(report, what, value);
    *(int *)place = found;
    return true;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

/* The bits of a list; -1: a word that is none, or no word. */
static int protocols_find(const char *value)
{
    static const char *const names[] = {"postgres", "http", "websocket"}; /* bits in this order */
    int found = 0;

    for (;;) {
        size_t length, i;

        value += strspn(value, ", \t");
        length = strcspn(value, ", \t");
        if (length == 0)
            return found > 0 ? found : -1;
        for (i = 0; i < 3 && !is_word(value, length, names[i]); i++)
            continue;
        if (i == 3)
            return -1;
        found |= 1 << i;
        value += length;
    }
}

static int switch_find(const char *value)
{
    static const char *const names[] = {"no", "yes", "off", "on", "0", "1", "false", "true"};

    for (int i = 0; i < 8; i++) {
        if (strcasecmp(names[i], value) == 0)
            return i % 2;
    }
    return -1;
}

static bool set_value(void *place, const struct entry_key *key, const char *value,
                      const struct entry_report *report)
{
    switch (key->type) {
    case ENTRY_TEXT:
    case ENTRY_SECRET:
        return set_text(place, key, value, report);
    case ENTRY_HOSTS:
        return set_hosts(place, value, report);
    case ENTRY_COUNT:
    case ENTRY_SECONDS:
        return set_number(place, key, value, report);
    case ENTRY_PORT:
        return set_port(place, value, report);
    case ENTRY_POOL_MODE:
        return set_named(place, pool_mode_find(value), "invalid pool mode", value, report);
    case ENTRY_SESSION_STATE:
        return set_named(place, session_state_find(value), "invalid session_state", value, report);
    case ENTRY_LOAD_BALANCE:
        return set_named(place, load_balance_hosts_find(value), "invalid load_balance_hosts", value,
                         report);
    case ENTRY_TLS_MODE:
        return set_named(place, tls_mode_find(value), "invalid tls", value, report);
    case ENTRY_AUTH_TYPE:
        return set_named(place, auth_type_find(value), "invalid auth", value, report);
    case ENTRY_PROTOCOLS:
        return set_named(place, protocols_find(value),
                         "invalid protocols (a list of postgres, http, websocket)", value, report);
    case ENTRY_SWITCH:
        return set_named(place, switch_find(value), "neither yes nor no", value, report);
    case ENTRY_ADDRESSES:
        return set_addresses(place, value, report);
    }
    return false;
}

static const struct entry_key *find_key(const struct entry_keys *keys, const char *name)
{
    for (int i = 0; i < keys->count; i++) {
        if (strcmp(keys->keys[i].name, name) == 0)
            return &keys->keys[i];
    }
    return NULL;
}

struct words {
    const char *broken, *unknown;
};

static const struct words *words_of(const struct entry_keys *keys)
{
    static const struct words connection = {"syntax error in connection string",
                                            "unrecognized connection parameter"};
    static const struct words user = {"syntax error in user settings",
                                      "unrecognized user parameter"};
    static const struct words listener = {"syntax error in listener settings",
                                          "unrecognized listener parameter"};
    static const struct words route = {"syntax error in route settings",
                                       "unrecognized route parameter"};

    return keys == &user_keys       ? &user
           : keys == &listener_keys ? &listener
           : keys == &route_keys    ? &route
                                    : &connection;
}

bool entry_parse(const struct entry_keys *keys, void *entry, char *text,
                 const struct entry_report *report)
{
    const char *name, *value;
    bool ok = true;

    for (;;) {
        const struct entry_key *key;

        switch (connstring_next(&text, &name, &value)) {
        case CONNSTRING_END:
            return ok;
        case CONNSTRING_BROKEN:
            report->problem(report->argument, words_of(keys)->broken);
            return false;
        case CONNSTRING_PAIR:
            break;
        }
        key = find_key(keys, name);
        if (key == NULL)
            ok = refuse(report, words_of(keys)->unknown, name);
        else if (!set_value(field(entry, key), key, value, report))
            ok = false;
    }
}

bool entry_key_is_set(const struct entry_key *key, const void *entry)
{
    const void *value = (const char *)entry + key->offset;

    switch (key->type) {
    case ENTRY_TEXT:
    case ENTRY_SECRET:
    case ENTRY_HOSTS:
        return *(const char *const *)value != NULL;
    case ENTRY_ADDRESSES:
        return *(struct address_list *const *)value != NULL;
    case ENTRY_COUNT:
        return *(const int *)value > 0;
    case ENTRY_SECONDS:
        return *(const usec_t *)value > 0;
    case ENTRY_PORT:
        return *(const int *)value != DATABASE_PORT;
    case ENTRY_POOL_MODE:
    case ENTRY_SESSION_STATE:
    case ENTRY_TLS_MODE:
    case ENTRY_AUTH_TYPE:
    case ENTRY_PROTOCOLS:
    case ENTRY_SWITCH:
        return *(const int *)value != CONFIG_UNSET;
    case ENTRY_LOAD_BALANCE:
        return *(const int *)value != LOAD_BALANCE_ROUND_ROBIN;
    }
    return false;
}
