/* Which sockets are listened on: what the configuration names at start (COMPAT 6.3 for texts and
 * what is fatal), what the service manager passed, and what a reload changes. Clients are not
 * touched by any of it: a door is only where they came in. */
#include "doors.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/memory.h"

/* PgBouncer's. A flood of strangers fills it between two turns of the loop, and whoever finds it
 * full is heard a second later: so up to here it is as many as the system allows. */
#define BACKLOG_DEFAULT 128
#define DEFAULT_NAME    "default"

static bool is_same(const struct address *a, const struct address *b)
{
    return a->size == b->size && memcmp(&a->u, &b->u, a->size) == 0;
}

/* False: no memory. */
static bool name_door(struct acceptor *acceptor, struct door *door, const char *name)
{
    struct listener_count *count = client_count_listener(acceptor->workers->shared.counts, name);
    if (!count)
        return false;
    snprintf(door->name, sizeof(door->name), "%s", name);
    door->count = count;
    return true;
}

/* ---- one door ---- */

static bool keep_door(struct acceptor *acceptor, const struct door *made, const char *name,
                      struct error *error)
{
    char text[ADDRESS_TEXT_MAX];
    struct door *door = &acceptor->doors[acceptor->count];
    *door = *made;
    if (!name_door(acceptor, door, name)) {
        listener_close(door->listener);
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    }
    acceptor->count++;
    if (acceptor->is_paused)
        listener_pause(door->listener);
    address_listen_text(door->is_passed ? listener_address(door->listener) : &door->address, text,
                        sizeof(text));
    if (strcmp(name, DEFAULT_NAME) == 0)
        log_info(NULL, "listening on %s", text);
    else
        log_info(NULL, "listening on %s (%s)", text, name);
    return true;
}

static bool open_door(struct acceptor *acceptor, const struct address *address, const char *name,
                      struct error *error)
{
    const struct settings *settings = &acceptor->workers->config->settings;
    const struct listener_settings how = {
        .backlog =
            settings->listen_backlog > BACKLOG_DEFAULT ? settings->listen_backlog : SOMAXCONN,
        .reuse_port = settings->so_reuseport != 0,
        .defer_accept = settings->tcp_defer_accept != 0,
        .unix_mode = settings->unix_socket_mode,
        .unix_group = settings->unix_socket_group,
    };
    struct door door = {.address = *address};
    if (acceptor->count == DOORS_MAX)
        return error_set(error, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                         "more than %d addresses to listen on", DOORS_MAX);
    door.listener = listener_open(acceptor->workers->array[0].loop, address, &how,
                                  acceptor_accepted, acceptor, error);
    return door.listener && keep_door(acceptor, &door, name, error);
}

/* ---- the first listener ---- */

/* One word of listen_addr. */
static bool open_word(struct acceptor *acceptor, const char *word, struct error *error)
{
    struct address addresses[16];
    char text[ADDRESS_TEXT_MAX];
    int count = listener_addresses(word, acceptor->workers->config->settings.listen_port, addresses,
                                   16, error);
    if (count <= 0)
        return false;
    for (int i = 0; i < count; i++) {
        struct error why;
        if (open_door(acceptor, &addresses[i], DEFAULT_NAME, &why))
            continue;
        address_text(&addresses[i], text, sizeof(text));
        log_warning(NULL, "cannot listen on %s: %s", text, why.message);
    }
    return true;
}

static bool open_tcp(struct acceptor *acceptor, struct error *error)
{
    const char *list = acceptor->workers->config->settings.listen_addr;
    char word[256];
    if (!list || !*list)
        return true;
    int before = acceptor->count;
    for (const char *at = list; *at;) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ", \t");
        if (size > 0 && size < sizeof(word)) {
            snprintf(word, sizeof(word), "%.*s", (int)size, at);
            if (!open_word(acceptor, word, error))
                return false;
        }
        at += size;
    }
    if (acceptor->count == before)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "failed to listen on any address in listen_addr list: %s", list);
    return true;
}

static bool open_unix(struct acceptor *acceptor, struct error *error)
{
    const struct settings *settings = &acceptor->workers->config->settings;
    struct address address;
    if (!settings->unix_socket_dir || !*settings->unix_socket_dir)
        return true;
    if (!address_from_socket_dir(&address, settings->unix_socket_dir, settings->listen_port, error))
        return error_prefix(error, "failed to create unix socket");
    return open_door(acceptor, &address, DEFAULT_NAME, error);
}

/* ---- what the service manager passed ---- */

/* By the name that its unit gives it, or by its port. */
static const char *name_of_passed(const struct config *config, const char *name,
                                  const struct address *address)
{
    if (config_listener(config, name))
        return name;
    for (int i = 1; i < config->listener_count; i++)
        if (!address_is_local(address) && config->listeners[i]->port == address_port(address))
            return config->listeners[i]->name;
    return DEFAULT_NAME;
}

static bool adopt_one(struct acceptor *acceptor, int fd, const char *name, struct error *error)
{
    struct door door = {.is_passed = true};
    if (acceptor->count == DOORS_MAX)
        return error_set(error, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                         "more than %d sockets passed from service manager", DOORS_MAX);
    log_info(NULL, "socket passed from service manager (fd %d)", fd);
    door.listener =
        listener_adopt(acceptor->workers->array[0].loop, fd, acceptor_accepted, acceptor, error);
    if (!door.listener)
        return false;
    door.address = *listener_address(door.listener);
    return keep_door(acceptor, &door,
                     name_of_passed(acceptor->workers->config, name, &door.address), error);
}

/* Sockets that the service manager listens on (sd_listen_fds(3)): they stay open while pgweir is
 * restarted, so that nobody is refused. COMPAT 6.5. */
static bool adopt_sockets(struct acceptor *acceptor, int count,
                          char names[][SERVICE_MANAGER_NAME_MAX + 1], struct error *error)
{
    const struct settings *settings = &acceptor->workers->config->settings;
    for (int i = 0; i < count; i++)
        if (!adopt_one(acceptor, SERVICE_MANAGER_FIRST_SOCKET + i, i < DOORS_MAX ? names[i] : "",
                       error))
            return false;
    if (settings->listen_addr && *settings->listen_addr)
        log_warning(NULL, "sockets passed from service manager, cf_listen_addr ignored");
    if (settings->unix_socket_dir && *settings->unix_socket_dir &&
        strcmp(settings->unix_socket_dir, "/tmp") != 0)
        log_warning(NULL, "sockets passed from service manager, cf_unix_socket_dir ignored");
    return true;
}

/* ---- [listeners] ---- */

static struct door *find_door(struct acceptor *acceptor, const struct address *address)
{
    for (int i = 0; i < acceptor->count; i++)
        if (is_same(&acceptor->doors[i].address, address))
            return &acceptor->doors[i];
    return NULL;
}

static bool was_passed(const struct acceptor *acceptor, const char *name)
{
    for (int i = 0; i < acceptor->count; i++)
        if (acceptor->doors[i].is_passed && strcmp(acceptor->doors[i].name, name) == 0)
            return true;
    return false;
}

/* How many of its addresses are listened on now. */
static int open_listener(struct acceptor *acceptor, const struct listener_entry *entry)
{
    char text[ADDRESS_TEXT_MAX];
    struct error error;
    int open = 0;
    for (int i = 0; i < entry->address_count; i++) {
        const struct address *address = &entry->addresses[i];
        if (find_door(acceptor, address) || open_door(acceptor, address, entry->name, &error)) {
            open++;
            continue;
        }
        address_listen_text(address, text, sizeof(text));
        log_error(NULL, "listener %s: cannot listen on %s: %s", entry->name, text, error.message);
    }
    return open;
}

static bool open_listeners(struct acceptor *acceptor, struct error *error)
{
    const struct config *config = acceptor->workers->config;
    for (int i = 1; i < config->listener_count; i++) {
        const struct listener_entry *entry = config->listeners[i];
        if (was_passed(acceptor, entry->name) || open_listener(acceptor, entry) > 0)
            continue;
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "failed to listen on any address of listener %s", entry->name);
    }
    return true;
}

static const struct listener_entry *entry_at(const struct config *config,
                                             const struct address *address)
{
    for (int i = 1; i < config->listener_count; i++)
        for (int k = 0; k < config->listeners[i]->address_count; k++)
            if (is_same(&config->listeners[i]->addresses[k], address))
                return config->listeners[i];
    return NULL;
}

static void close_door(struct acceptor *acceptor, int at)
{
    char text[ADDRESS_TEXT_MAX];
    struct door *door = &acceptor->doors[at];
    address_listen_text(&door->address, text, sizeof(text));
    log_info(NULL, "no longer listening on %s (%s)", text, door->name);
    listener_close(door->listener);
    acceptor->count--;
    memmove(door, door + 1, (size_t)(acceptor->count - at) * sizeof(*door));
}

/* Closes what is not in the configuration any more, and gives what another listener has now to
 * that. The first listener is read at start only. */
static void review_doors(struct acceptor *acceptor)
{
    for (int i = acceptor->count - 1; i >= 0; i--) {
        struct door *door = &acceptor->doors[i];
        if (door->is_passed || strcmp(door->name, DEFAULT_NAME) == 0)
            continue;
        const struct listener_entry *entry = entry_at(acceptor->workers->config, &door->address);
        if (!entry)
            close_door(acceptor, i);
        else if (strcmp(door->name, entry->name) != 0)
            (void)name_door(acceptor, door, entry->name);
    }
}

void acceptor_update(struct acceptor *acceptor)
{
    const struct config *config = acceptor->workers->config;
    if (acceptor->is_closing)
        return;
    review_doors(acceptor);
    for (int i = 1; i < config->listener_count; i++)
        if (!was_passed(acceptor, config->listeners[i]->name))
            open_listener(acceptor, config->listeners[i]);
}

bool doors_open(struct acceptor *acceptor, struct error *error)
{
    char names[DOORS_MAX][SERVICE_MANAGER_NAME_MAX + 1];
    int passed = service_manager_sockets(names, DOORS_MAX);
    bool ok = passed > 0 ? adopt_sockets(acceptor, passed, names, error)
                         : open_tcp(acceptor, error) && open_unix(acceptor, error);
    if (!ok || !open_listeners(acceptor, error))
        return false;
    return acceptor->count > 0 ||
           error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "nowhere to listen on");
}

/* ---- what there is ---- */

static void fill_row(struct report_listener *row, const struct acceptor *acceptor,
                     const struct listener_entry *entry)
{
    const struct settings *settings = &acceptor->workers->config->settings;
    struct listener_count *count =
        client_count_listener(acceptor->workers->shared.counts, entry->name);
    *row = (struct report_listener){
        .protocols = entry->protocols,
        .pool_mode = entry->pool_mode,
        .tls = listener_tls(entry, settings),
        .auth = listener_auth(entry, settings),
        .is_proxied = entry->proxy_protocol == 1,
        .has_console = listener_has_console(entry, false),
        .port = entry->port,
    };
    snprintf(row->name, sizeof(row->name), "%s", entry->name);
    snprintf(row->databases, sizeof(row->databases), "%s",
             entry->databases ? entry->databases : "");
    if (!count)
        return;
    row->accepted = atomic_load(&count->accepted);
    row->strangers = atomic_load(&count->strangers);
    row->open = atomic_load(&count->open);
}

static void add_address(struct report_listener *row, const struct door *door)
{
    char text[ADDRESS_TEXT_MAX];
    size_t used = strlen(row->addresses);
    const struct address *address = listener_address(door->listener);
    if (address_is_local(address))
        address_listen_text(address, text, sizeof(text));
    else
        address_host_text(address, text, sizeof(text));
    snprintf(row->addresses + used, sizeof(row->addresses) - used, "%s%s", used > 0 ? "," : "",
             text);
}

struct report_listener *acceptor_report(const struct acceptor *acceptor, size_t *count)
{
    const struct config *config = acceptor->workers->config;
    struct report_listener *rows =
        memory_zalloc_array((size_t)config->listener_count, sizeof(*rows));
    *count = rows ? (size_t)config->listener_count : 0;
    for (size_t i = 0; i < *count; i++) {
        fill_row(&rows[i], acceptor, config->listeners[i]);
        for (int k = 0; k < acceptor->count; k++)
            if (strcmp(acceptor->doors[k].name, rows[i].name) == 0)
                add_address(&rows[i], &acceptor->doors[k]);
    }
    return rows;
}
