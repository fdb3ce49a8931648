/* Listeners: lines of [listeners] and the first one, their addresses and TLS contexts. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "load_private.h"
#include "net/listener.h"
#include "owned.h"

#define WORD_MAX 256

/* ---- life ---- */

struct listener_entry *listener_entry_create(const char *name)
{
    struct listener_entry *listener = memory_zalloc(sizeof *listener);

    if (listener == NULL)
        return NULL;
    atomic_init(&listener->references, 1);
    listener->pool_mode = listener->tls = listener->auth = CONFIG_UNSET;
    listener->proxy_protocol = listener->admin = CONFIG_UNSET;
    listener->protocols = SPEAKS_POSTGRES;
    listener->name = memory_strdup(name);
    if (listener->name != NULL)
        return listener;
    listener_entry_release(listener);
    return NULL;
}

struct listener_entry *listener_entry_copy(const struct listener_entry *listener)
{
    struct listener_entry *copy = listener_entry_create(listener->name);

    if (copy == NULL || !entry_keys_copy(&listener_keys, listener, copy)) {
        listener_entry_release(copy);
        return NULL;
    }
    memcpy(copy->addresses, listener->addresses, sizeof copy->addresses);
    copy->address_count = listener->address_count;
    return copy;
}

struct listener_entry *listener_entry_acquire(struct listener_entry *listener)
{
    if (listener != NULL)
        atomic_fetch_add_explicit(&listener->references, 1, memory_order_relaxed);
    return listener;
}

void listener_entry_release(struct listener_entry *listener)
{
    if (listener == NULL ||
        atomic_fetch_sub_explicit(&listener->references, 1, memory_order_acq_rel) > 1)
        return;
    entry_keys_finish(&listener_keys, listener);
    tls_context_release(listener->client_tls);
    owned_free(listener->name);
    memory_free(listener);
}

/* ---- what holds there ---- */

struct listener_entry *config_listener(const struct config *config, const char *name)
{
    for (int i = 0; i < config->listener_count; i++) {
        if (strcmp(config->listeners[i]->name, name) == 0)
            return config->listeners[i];
    }
    return NULL;
}

enum auth_type listener_auth(const struct listener_entry *listener, const struct settings *settings)
{
    return listener->auth != CONFIG_UNSET ? (enum auth_type)listener->auth : settings->auth_type;
}

enum tls_mode listener_tls(const struct listener_entry *listener, const struct settings *settings)
{
    return listener->tls != CONFIG_UNSET ? (enum tls_mode)listener->tls
                                         : settings->client_tls_sslmode;
}

bool listener_is_proxied(const struct listener_entry *listener, const struct address *peer)
{
    return listener->proxy_protocol == 1 && !address_is_local(peer);
}

bool listener_has_console(const struct listener_entry *listener, bool is_local)
{
    if (listener->admin != CONFIG_UNSET)
        return listener->admin != 0;
    return is_local || strcmp(listener->name, CONFIG_LISTENER_DEFAULT) == 0;
}

bool listener_has_database(const struct listener_entry *listener, const char *name)
{
    return listener->databases == NULL || name_list_has(listener->databases, name);
}

/* ---- a line of the file ---- */

bool listener_line_begin(struct loader *loader, const char *name, struct listener_entry **entry,
                         const char **problem)
{
    struct config *config = loader->config;
    size_t length = strlen(name);

    *problem = NULL;
    if (length > CONFIG_LISTENER_NAME_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != length)
        *problem = "the name of a listener is made of at most 63 letters, digits, - and _";
    else if (strcmp(name, CONFIG_LISTENER_DEFAULT) != 0 && config_listener(config, name) != NULL)
        *problem = "there is a listener of this name already";
    else if (config->listener_count == CONFIG_LISTENERS_MAX)
        *problem = "there are too many listeners (64 with the first one)";
    if (*problem != NULL)
        return false;
    *entry = strcmp(name, CONFIG_LISTENER_DEFAULT) == 0
                 ? listener_entry_acquire(config->listeners[0])
                 : listener_entry_create(name);
    return *entry != NULL;
}

void listener_line_end(struct loader *loader, struct ini_place place, struct listener_entry *entry)
{
    struct config *config = loader->config;
    bool is_default = entry == config->listeners[0];

    if (is_default && (entry->port != 0 || entry->addr != NULL))
        problems_add(loader->problems, place, entry->name,
                     "port and addr of the first listener are listen_port and listen_addr");
    else if (!is_default && entry->port == 0)
        problems_add(loader->problems, place, entry->name, "port is missing");
    loader->listener_places[is_default ? 0 : config->listener_count] = place;
    if (is_default)
        listener_entry_release(entry);
    else
        config->listeners[config->listener_count++] = entry;
}

/* ---- addresses ---- */

struct place_of_listener {
    struct loader *loader;
    struct listener_entry *listener;
    struct ini_place place;
};

static void problem(const struct place_of_listener *at, const char *text)
{
    problems_add(at->loader->problems, at->place, at->listener->name, "%s", text);
}

/* One word of addr. */
static bool take_word(const struct place_of_listener *at, const char *word)
{
    struct listener_entry *listener = at->listener;
    struct address *next = &listener->addresses[listener->address_count];
    int room = CONFIG_ADDRESSES_MAX - listener->address_count, count = 0;
    struct error error;

    if (room == 0)
        error_set(&error, SQLSTATE_CONFIG_FILE_ERROR, "addr names more than %d addresses",
                  CONFIG_ADDRESSES_MAX);
    else if (*word == '/' || *word == '@')
        count = address_from_socket_dir(next, word, listener->port, &error) ? 1 : 0;
    else
        count = listener_addresses(word, listener->port, next, room, &error);
    if (count <= 0) {
        problem(at, error.message);
        return false;
    }
    listener->address_count += count;
    return true;
}

static void take_addresses(const struct place_of_listener *at)
{
    const char *list =
        at->listener->addr != NULL ? at->listener->addr : at->loader->config->settings.listen_addr;
    char word[WORD_MAX];

    at->listener->address_count = 0;
    while (list != NULL && *list != '\0') {
        list += strspn(list, ", \t");
        size_t length = strcspn(list, ", \t");
        if (length >= sizeof word) {
            problem(at, "addr has a word of more than 255 bytes");
            return;
        }
        (void)snprintf(word, sizeof word, "%.*s", (int)length, list);
        if (length > 0 && !take_word(at, word))
            return;
        list += length;
    }
    if (at->listener->address_count == 0)
        problem(at, "addr is missing, and listen_addr is empty");
}

static bool is_same_address(const struct address *a, const struct address *b)
{
    return a->size == b->size && memcmp(&a->u, &b->u, a->size) == 0;
}

static bool listens_at(const struct listener_entry *listener, const struct address *address)
{
    for (int i = 0; i < listener->address_count; i++) {
        if (is_same_address(&listener->addresses[i], address))
            return true;
    }
    return false;
}

static void refuse_shared_addresses(const struct place_of_listener *at)
{
    const struct config *config = at->loader->config;
    char text[ADDRESS_TEXT_MAX];

    for (int i = 1; config->listeners[i] != at->listener; i++) {
        for (int k = 0; k < at->listener->address_count; k++) {
            if (!listens_at(config->listeners[i], &at->listener->addresses[k]))
                continue;
            address_listen_text(&at->listener->addresses[k], text, sizeof text);
            problems_add(at->loader->problems, at->place, at->listener->name,
                         "listener %s has the address %s already", config->listeners[i]->name,
                         text);
        }
    }
}

/* ---- what cannot be served ---- */

static bool is_loopback_only(const struct listener_entry *listener)
{
    for (int i = 0; i < listener->address_count; i++) {
        if (!address_is_loopback(&listener->addresses[i]))
            return false;
    }
    return true;
}

static void check_auth(const struct place_of_listener *at)
{
    const struct settings *settings = &at->loader->config->settings;
    const struct listener_entry *listener = at->listener;
    enum auth_type type = listener_auth(listener, settings);
    bool is_first = listener == at->loader->config->listeners[0];

    if ((type == AUTH_TRUST || type == AUTH_ANY) &&
        (is_first ? listener->auth != CONFIG_UNSET : !is_loopback_only(listener)))
        problem(at, "auth_type trust and any are for loopback addresses only: say auth=");
    if (listener->auth == CONFIG_UNSET)
        return;
    if (type == AUTH_LDAP || type == AUTH_PAM)
        problem(at, "auth=ldap and auth=pam are not honoured yet");
    if (type == AUTH_CERT &&
        (listener_tls(listener, settings) != TLS_VERIFY_FULL ||
         settings->client_tls_ca_file == NULL || *settings->client_tls_ca_file == '\0'))
        problem(at, "auth=cert needs tls=verify-full and client_tls_ca_file");
}

void build_proxy_trusted(struct loader *loader)
{
    struct config *config = loader->config;
    struct error error;

    if (config->settings.proxy_trusted == NULL || *config->settings.proxy_trusted == '\0')
        return;
    config->proxy_trusted = address_list_parse(config->settings.proxy_trusted, &error);
    if (config->proxy_trusted == NULL)
        problems_add(loader->problems, place_of(loader, "proxy_trusted"), "proxy_trusted", "%s",
                     error.message);
}

/* Nobody can come in there. */
static void warn_of_no_proxy(const struct place_of_listener *at)
{
    const char *trusted = at->loader->config->settings.proxy_trusted;

    if (at->listener->proxy_protocol == 1 && (trusted == NULL || *trusted == '\0'))
        problems_add(at->loader->warnings, at->place, at->listener->name,
                     "proxy_protocol lets nobody in: proxy_trusted is empty");
}

void build_listeners(struct loader *loader)
{
    struct config *config = loader->config;

    config->listeners[0]->port = config->settings.listen_port;
    for (int i = 0; i < config->listener_count; i++) {
        struct place_of_listener at = {loader, config->listeners[i], loader->listener_places[i]};
        if (i > 0) {
            take_addresses(&at);
            refuse_shared_addresses(&at);
        }
        check_auth(&at);
        warn_of_no_proxy(&at);
        config->has_mixed_modes |= config->listeners[i]->pool_mode != CONFIG_UNSET;
    }
}
