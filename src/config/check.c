#include <stdio.h>
#include <string.h>

#include "auth/require_auth.h"
#include "load_private.h"

/* ---- problems ---- */

static bool is_empty(const char *text)
{
    return text == NULL || *text == '\0';
}

static void check_not_built(struct loader *loader, const char *name)
{
    problems_add(loader->problems, place_of(loader, "auth_type"), "auth_type",
                 "%s is not honoured yet: trust, plain, md5, scram-sha-256, cert, hba, any and "
                 "passthrough are",
                 name);
}

static void check_cert(struct loader *loader)
{
    const struct settings *settings = &loader->config->settings;
    struct ini_place place = place_of(loader, "auth_type");

    if (settings->client_tls_sslmode != TLS_VERIFY_FULL)
        problems_add(loader->problems, place, "auth_type",
                     "auth_type=cert requires client_tls_sslmode=SSLMODE_VERIFY_FULL");
    if (is_empty(settings->client_tls_ca_file))
        problems_add(loader->problems, place, "auth_type",
                     "auth_type=cert requires client_tls_ca_file");
}

static void check_auth_type(struct loader *loader)
{
    switch (loader->config->settings.auth_type) {
    case AUTH_CERT:
        check_cert(loader);
        break;
    case AUTH_LDAP:
        check_not_built(loader, "ldap");
        break;
    case AUTH_PAM:
        check_not_built(loader, "pam");
        break;
    case AUTH_ANY:
    case AUTH_HBA:
    case AUTH_TRUST:
    case AUTH_PLAIN:
    case AUTH_MD5:
    case AUTH_SCRAM_SHA_256:
    case AUTH_PASSTHROUGH:
        break;
    }
}

static bool is_loopback(const char *address, size_t length)
{
    return (length >= 4 && strncmp(address, "127.", 4) == 0) ||
           (length == 3 && strncmp(address, "::1", 3) == 0) ||
           (length == 9 && strncmp(address, "localhost", 9) == 0);
}

/* Does a word of listen_addr name more than this machine? */
static bool is_open(const char *addresses)
{
    while (*addresses != '\0') {
        size_t length;

        addresses += strspn(addresses, ", \t");
        length = strcspn(addresses, ", \t");
        if (length > 0 && !is_loopback(addresses, length))
            return true;
        addresses += length;
    }
    return false;
}

static void check_require_auth(struct loader *loader)
{
    struct error error;
    unsigned allowed;

    if (!require_auth_parse(loader->config->settings.server_require_auth, &allowed, &error))
        problems_add(loader->problems, place_of(loader, "server_require_auth"),
                     "server_require_auth", "%s", error.message);
}

static void check_audit(struct loader *loader)
{
    const struct settings *settings = &loader->config->settings;

    if (settings->audit_log == AUDIT_FILE && is_empty(settings->audit_file))
        problems_add(loader->problems, place_of(loader, "audit_log"), "audit_log",
                     "file needs audit_file");
}

void check_problems(struct loader *loader)
{
    check_audit(loader);
    check_require_auth(loader);
    check_auth_type(loader);
    if (loader->config->settings.http_port > 0 &&
        is_open(loader->config->settings.http_listen_addr))
        problems_add(loader->problems, place_of(loader, "http_listen_addr"), "http_listen_addr",
                     "must be loopback (127.0.0.1, ::1): there is no TLS on it yet; put a proxy in "
                     "front");
}

/* ---- passthrough ---- */

/* Passwords of clients are said only where nobody can listen, to a server that has shown who it is.
 */
static bool is_reached_safely(const struct database_entry *database, const struct tls_context *tls)
{
    if (tls != NULL && tls_context_mode(tls) >= TLS_VERIFY_CA)
        return true;
    for (int i = 0; i < CONFIG_HOSTS_MAX && (i == 0 || database->hosts[i] != NULL); i++) {
        const char *host = database->hosts[i];
        if (host != NULL && *host != '/' && *host != '@' && !is_loopback(host, strlen(host)))
            return false;
    }
    return true;
}

/* Somewhere clients may come in by the password of this database's server. NULL: of one without a
 * line of its own. */
static bool is_passed_on(const struct config *config, const char *name)
{
    for (int i = 0; i < config->listener_count; i++)
        if (listener_auth(config->listeners[i], &config->settings) == AUTH_PASSTHROUGH)
            return true;
    return config->hba != NULL && hba_passthrough_line(config->hba, name) != 0;
}

static void check_passed_on(struct loader *loader, const char *name,
                            const struct database_entry *database, const struct tls_context *tls)
{
    if (database->is_console || is_reached_safely(database, tls) ||
        !is_passed_on(loader->config, name))
        return;
    problems_add(loader->problems, place_of(loader, "auth_type"), "auth_type",
                 "passthrough would send passwords of clients to the server of database \"%s\" "
                 "where others can listen: it needs server_tls_sslmode=verify-full (or verify-ca), "
                 "a Unix socket or a loopback address",
                 database->name);
}

void check_passthrough(struct loader *loader)
{
    const struct config_tables *tables = loader->config->tables;

    if (tables == NULL)
        return;
    for (struct database_slot *slot = tables->databases; slot != NULL; slot = slot->hh.next)
        check_passed_on(loader, slot->entry->name, slot->entry, slot->entry->server_tls);
    if (tables->fallback != NULL)
        check_passed_on(loader, NULL, tables->fallback, tables->server_tls);
}

/* ---- warnings ---- */

void check_start_only(struct loader *loader)
{
    struct settings *settings = &loader->config->settings;
    const struct settings *previous = &loader->previous->settings;

    for (int i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];

        if (option->changes != OPTION_START || settings_equal(settings, previous, option))
            continue;
        problems_add(loader->warnings, place_of(loader, option->name), option->name,
                     "is read at start only: the new value waits for a restart");
        if (!settings_copy_one(settings, previous, option))
            problems_add(loader->problems, place_of(loader, option->name), option->name,
                         "out of memory");
    }
}

static void warn(struct loader *loader, const char *key, const char *what)
{
    problems_add(loader->warnings, place_of(loader, key), key, "%s", what);
}

void check_warnings(struct loader *loader)
{
    const struct settings *settings = &loader->config->settings;
    enum auth_type type = settings->auth_type;

    if ((type == AUTH_TRUST || type == AUTH_ANY) && is_open(settings->listen_addr))
        warn(loader, "auth_type",
             "lets in whoever reaches listen_addr, without a password: use scram-sha-256 there");
    if (type == AUTH_PASSTHROUGH && settings->client_tls_sslmode == TLS_DISABLE &&
        !is_empty(settings->listen_addr))
        warn(loader, "auth_type",
             "passthrough takes passwords over TLS and Unix sockets only: with "
             "client_tls_sslmode=disable no client gets in over TCP");
    if (type != AUTH_ANY && type != AUTH_PASSTHROUGH && is_empty(settings->auth_file) &&
        is_empty(settings->auth_user))
        warn(loader, "auth_file", "is not set: no user can log in");
    if (settings->server_tls_sslmode == TLS_REQUIRE && !is_empty(settings->server_tls_ca_file))
        warn(loader, "server_tls_sslmode",
             "require does not check the certificate against server_tls_ca_file: verify-ca and "
             "verify-full do");
}

/* ---- not honoured yet ---- */

struct not_built {
    void (*call)(const char *key, void *);
    void *argument;
};

static bool database_has(const struct config_tables *tables, const struct entry_key *key)
{
    if (tables->fallback != NULL && entry_key_is_set(key, tables->fallback))
        return true;
    for (struct database_slot *slot = tables->databases; slot != NULL; slot = slot->hh.next) {
        if (entry_key_is_set(key, slot->entry))
            return true;
    }
    return false;
}

static bool user_has(const struct config_tables *tables, const struct entry_key *key)
{
    for (struct user_slot *slot = tables->users; slot != NULL; slot = slot->hh.next) {
        if (entry_key_is_set(key, slot->entry))
            return true;
    }
    return false;
}

/* Another name of the same field: it was told by its first name. */
static bool is_alias(const struct entry_keys *keys, int index)
{
    return index > 0 && keys->keys[index].offset == keys->keys[index - 1].offset;
}

static void each_entry_key(const struct config_tables *tables, const struct entry_keys *keys,
                           const struct not_built *found)
{
    for (int i = 0; i < keys->count; i++) {
        const struct entry_key *key = &keys->keys[i];
        char name[128];

        if (key->is_built || is_alias(keys, i))
            continue;
        if (keys == &database_keys ? !database_has(tables, key) : !user_has(tables, key))
            continue;
        (void)snprintf(name, sizeof name, "[%s] %s", keys->section, key->name);
        found->call(name, found->argument);
    }
}

void config_each_not_honoured(const struct config *config, void (*call)(const char *key, void *),
                              void *argument)
{
    struct not_built found = {call, argument};

    for (int i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];

        if (option->state != OPTION_BUILT && !settings_is_default(&config->settings, option))
            call(option->name, argument);
    }
    each_entry_key(config->tables, &database_keys, &found);
    each_entry_key(config->tables, &user_keys, &found);
}
