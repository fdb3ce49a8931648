#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "load_private.h"

#define CONSOLE_POOL_SIZE 2

static void out_of_memory(struct loader *loader)
{
    problems_add(loader->problems, (struct ini_place){loader->file, 0}, NULL, "out of memory");
}

/* ---- users ---- */

/* The entry of `name`, made where there is none. NULL: no memory. */
static struct user_entry *ensure_user(struct config_tables *tables, const char *name)
{
    struct user_entry *user = tables_user(tables, name);

    if (user != NULL)
        return user;
    user = user_create(name);
    if (user == NULL || !tables_put_user(tables, user))
        return NULL;
    return user;
}

static bool take_user(void *argument, int line, const char *name, const char *secret,
                      struct error *error)
{
    struct loader *loader = argument;
    struct config *config = loader->config;
    struct user_entry *user = ensure_user(config->tables, name);

    if (user == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    if (user->is_known)
        problems_add(loader->warnings, (struct ini_place){config->settings.auth_file, line}, NULL,
                     "user \"%s\" is listed again: the last line counts", name);
    user->is_known = true;
    auth_secret_finish(&user->secret);
    if (!auth_secret_set(&user->secret, secret))
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    return true;
}

/* Forced users and auth users are users too, whoever else knows them. */
static void name_user(struct loader *loader, const char *name)
{
    if (name != NULL && *name != '\0' && ensure_user(loader->config->tables, name) == NULL)
        out_of_memory(loader);
}

void build_users(struct loader *loader)
{
    const struct settings *settings = &loader->config->settings;
    struct config_tables *tables = loader->config->tables;
    struct error error;

    if (settings->auth_type != AUTH_ANY && settings->auth_file != NULL &&
        *settings->auth_file != '\0' &&
        !auth_file_load(settings->auth_file, take_user, loader, &error))
        problems_add(loader->problems, place_of(loader, "auth_file"), "auth_file", "%s",
                     error.message);
    for (struct database_slot *slot = tables->databases; slot != NULL; slot = slot->hh.next) {
        name_user(loader, slot->entry->user);
        name_user(loader, slot->entry->auth_user);
    }
    if (tables->fallback != NULL) {
        name_user(loader, tables->fallback->user);
        name_user(loader, tables->fallback->auth_user);
    }
    name_user(loader, settings->auth_user);
}

void build_console(struct loader *loader)
{
    struct database_entry *console = database_create(CONFIG_CONSOLE_NAME);

    if (console == NULL) {
        out_of_memory(loader);
        return;
    }
    console->is_console = true;
    console->user = memory_strdup(CONFIG_CONSOLE_NAME);
    console->port = loader->config->settings.listen_port;
    console->pool_mode = POOL_MODE_STATEMENT;
    console->pool_size = CONSOLE_POOL_SIZE;
    if (console->user == NULL) {
        database_release(console);
        out_of_memory(loader);
        return;
    }
    if (!tables_put_database(loader->config->tables, console))
        out_of_memory(loader);
    name_user(loader, CONFIG_CONSOLE_NAME);
}

/* ---- TLS ---- */

static bool is_empty(const char *text)
{
    return text == NULL || *text == '\0';
}

/* What clients may choose by ALPN. */
static unsigned listener_alpn(const struct listener_entry *listener)
{
    return (listener->protocols & SPEAKS_POSTGRES ? TLS_ALPN_POSTGRESQL : 0u) |
           (listener->protocols & (SPEAKS_HTTP | SPEAKS_WEBSOCKET) ? TLS_ALPN_HTTP_1_1 : 0u);
}

/* Tells a failure at the key whose file it names, else at the mode's. */
static void tls_problem(struct loader *loader, const char *side, const char *reason)
{
    static const char *const names[] = {"cert_file", "key_file", "ca_file"};
    char key[64], value[1024];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(key, sizeof key, "%s_tls_%s", side, names[i]);
        if (settings_text(&loader->config->settings, config_option_find(key), value,
                          sizeof value) &&
            *value != '\0' && strstr(reason, value) != NULL) {
            problems_add(loader->problems, place_of(loader, key), key, "%s", reason);
            return;
        }
    }
    (void)snprintf(key, sizeof key, "%s_tls_sslmode", side);
    problems_add(loader->problems, place_of(loader, key), key, "%s", reason);
}

static void build_listener_tls(struct loader *loader, struct listener_entry *listener)
{
    const struct settings *settings = &loader->config->settings;
    struct tls_settings tls = {
        .mode = listener_tls(listener, settings),
        .ca_file = settings->client_tls_ca_file,
        .cert_file = settings->client_tls_cert_file,
        .key_file = settings->client_tls_key_file,
        .protocols = settings->client_tls_protocols,
        .ciphers = settings->client_tls_ciphers,
        .tls13_ciphers = settings->client_tls13_ciphers,
        .ecdhcurve = settings->client_tls_ecdhcurve,
        .dheparams = settings->client_tls_dheparams,
        .listener_name = listener->name,
        .alpn = listener_alpn(listener),
    };
    struct error error;

    if (tls.mode == TLS_DISABLE)
        return;
    if (is_empty(tls.cert_file) || is_empty(tls.key_file)) {
        tls_problem(loader, "client", "TLS wants client_tls_cert_file and client_tls_key_file");
        return;
    }
    listener->client_tls =
        tls_context_create_client_side(&tls, loader->config->tables->ticket_keys, &error);
    if (listener->client_tls == NULL)
        tls_problem(loader, "client", error.message);
}

void build_client_tls(struct loader *loader)
{
    for (int i = 0; i < loader->config->listener_count; i++)
        build_listener_tls(loader, loader->config->listeners[i]);
}

/* Names and words, not contents: a renewed certificate closes no server (COMPAT 9.9). */
static uint64_t server_tls_fingerprint(const struct tls_settings *tls)
{
    const char *const texts[] = {tls->ca_file,   tls->cert_file, tls->key_file,
                                 tls->protocols, tls->ciphers,   tls->tls13_ciphers};
    uint64_t fingerprint = (uint64_t)tls->mode;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        fingerprint = fingerprint_text(fingerprint, texts[i]);
    return fingerprint;
}

void build_server_tls(struct loader *loader)
{
    const struct settings *settings = &loader->config->settings;
    struct config_tables *tables = loader->config->tables;
    struct tls_settings tls = {
        .mode = settings->server_tls_sslmode,
        .ca_file = settings->server_tls_ca_file,
        .cert_file = settings->server_tls_cert_file,
        .key_file = settings->server_tls_key_file,
        .protocols = settings->server_tls_protocols,
        .ciphers = settings->server_tls_ciphers,
        .tls13_ciphers = settings->server_tls13_ciphers,
    };
    struct error error;

    tables->server_tls_fingerprint = server_tls_fingerprint(&tls);
    if (tls.mode != TLS_DISABLE) {
        tables->server_tls = tls_context_create_server_side(&tls, &error);
        if (tables->server_tls == NULL)
            tls_problem(loader, "server", error.message);
    }
    for (struct database_slot *slot = tables->databases; slot != NULL; slot = slot->hh.next) {
        if (!database_complete(slot->entry, tables->server_tls, tables->server_tls_fingerprint))
            out_of_memory(loader);
    }
}

/* ---- rules ---- */

static void take_hba_warning(void *argument, const char *file, int line, const char *text)
{
    struct loader *loader = argument;

    problems_add(loader->warnings, (struct ini_place){file, line}, NULL, "%s", text);
}

static bool is_by_rules(const struct config *config, const struct listener_entry *listener)
{
    return listener_auth(listener, &config->settings) == AUTH_HBA;
}

static bool some_is_by_rules(const struct config *config)
{
    for (int i = 0; i < config->listener_count; i++) {
        if (is_by_rules(config, config->listeners[i]))
            return true;
    }
    return false;
}

static bool some_hba_has_tls(const struct config *config)
{
    for (int i = 0; i < config->listener_count; i++) {
        if (is_by_rules(config, config->listeners[i]) &&
            listener_tls(config->listeners[i], &config->settings) != TLS_DISABLE)
            return true;
    }
    return false;
}

/* Rules that ask for certificates are of use only where clients can show them. */
static void check_certificates(struct loader *loader)
{
    const struct settings *settings = &loader->config->settings;
    int line = hba_certificate_line(loader->config->hba);

    if (line > 0 && (!some_hba_has_tls(loader->config) || is_empty(settings->client_tls_ca_file)))
        problems_add(loader->problems, (struct ini_place){settings->auth_hba_file, line}, NULL,
                     "client certificates need client_tls_sslmode and client_tls_ca_file");
}

void build_hba(struct loader *loader)
{
    const struct settings *settings = &loader->config->settings;
    const struct hba_source source = {
        .file = settings->auth_hba_file,
        .ident_file = settings->auth_ident_file,
        .warning = take_hba_warning,
        .argument = loader,
    };
    struct error error;

    if (!some_is_by_rules(loader->config))
        return;
    if (is_empty(settings->auth_hba_file)) {
        problems_add(loader->problems, place_of(loader, "auth_type"), "auth_type",
                     "hba needs auth_hba_file");
        return;
    }
    loader->config->hba = hba_load(&source, &error);
    if (loader->config->hba == NULL)
        problems_add(loader->problems, place_of(loader, "auth_hba_file"), "auth_hba_file", "%s",
                     error.message);
    else
        check_certificates(loader);
}
