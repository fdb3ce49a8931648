#include "config/load.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "load_private.h"
#include "owned.h"

#define USER_NAME_MAX AUTH_NAME_MAX

struct ini_place place_of(const struct loader *loader, const char *option)
{
    const struct config_option *found = config_option_find(option);

    if (loader->places == NULL)
        return (struct ini_place){0};
    if (found != NULL && loader->places[found - config_options].line > 0)
        return loader->places[found - config_options];
    return (struct ini_place){loader->file, 0};
}

static void out_of_memory(struct loader *loader, struct ini_place place, const char *key)
{
    problems_add(loader->problems, place, key, "out of memory");
}

/* ---- [pgbouncer] ---- */

/* A section that opens again starts over, as in PgBouncer: keys without a default keep what they
 * have. */
static void reset_options(struct loader *loader, struct ini_place place)
{
    for (int i = 0; i < config_option_count; i++) {
        if (config_options[i].default_text == NULL)
            continue;
        if (!settings_reset(&loader->config->settings, &config_options[i]))
            out_of_memory(loader, place, config_options[i].name);
        loader->places[i].line = 0;
    }
    problems_add(loader->warnings, place, NULL,
                 "a second [pgbouncer] section: what the first one said is undone");
}

static void take_option(struct loader *loader, struct ini_place place, const char *key,
                        const char *value)
{
    const struct config_option *option = config_option_find(key);
    struct error error;

    if (option == NULL) {
        const char *similar = config_option_similar(key);

        problems_add(loader->problems, place, key, "unknown parameter: pgbouncer/%s%s%s%s", key,
                     similar != NULL ? " (did you mean " : "", similar != NULL ? similar : "",
                     similar != NULL ? "?)" : "");
        return;
    }
    if (strcmp(key, "auth_dbname") == 0 && strcmp(value, CONFIG_CONSOLE_NAME) == 0) {
        problems_add(loader->problems, place, key,
                     "cannot use the reserved \"pgbouncer\" database as an auth_dbname");
        return;
    }
    if (!settings_set(&loader->config->settings, option, value, &error)) {
        problems_add(loader->problems, place, key,
                     "invalid value \"%.128s\" for parameter %s in configuration (%s:%d): %s",
                     value, key, place.file, place.line, error.message);
        return;
    }
    loader->places[option - config_options] = place;
    if (option->type == OPTION_SECRET && *value != '\0')
        secrets_found(loader, place);
}

/* ---- lines of the other sections ---- */

struct line {
    struct loader *loader;
    struct ini_place place;
    const char *key;
};

static void line_problem(void *argument, const char *reason)
{
    struct line *line = argument;

    problems_add(line->loader->problems, line->place, line->key, "%s", reason);
}

static void line_warning(void *argument, const char *reason)
{
    struct line *line = argument;

    problems_add(line->loader->warnings, line->place, line->key, "%s", reason);
}

/* Parses a copy of `value` into `entry`; the copy is wiped, for it may hold a password. */
static bool parse_line(struct line *line, const struct entry_keys *keys, void *entry,
                       const char *value)
{
    struct entry_report report = {line_problem, line_warning, line};
    size_t length = strlen(value);
    char *copy = memory_strdup(value);
    bool ok;

    if (copy == NULL) {
        out_of_memory(line->loader, line->place, line->key);
        return false;
    }
    ok = entry_parse(keys, entry, copy, &report);
    memory_wipe(copy, length);
    memory_free(copy);
    return ok;
}

static void put_database(struct line *line, struct database_entry *entry)
{
    struct config_tables *tables = line->loader->config->tables;

    if (strcmp(line->key, "*") == 0) {
        database_release(tables->fallback);
        tables->fallback = entry;
    } else if (!tables_put_database(tables, entry)) {
        out_of_memory(line->loader, line->place, line->key);
    }
}

static void take_database(struct line *line, const char *value)
{
    struct database_entry *entry;

    if (strcmp(line->key, CONFIG_CONSOLE_NAME) == 0) {
        line_problem(line, "database name \"pgbouncer\" is reserved");
        return;
    }
    if (strlen(line->key) > CONFIG_DATABASE_NAME_MAX) {
        problems_add(line->loader->problems, line->place, NULL,
                     "too long db name: %s: at most %d bytes", line->key, CONFIG_DATABASE_NAME_MAX);
        return;
    }
    entry = database_create(line->key);
    if (entry == NULL) {
        out_of_memory(line->loader, line->place, line->key);
    } else if (!parse_line(line, &database_keys, entry, value)) {
        database_release(entry);
    } else {
        if (entry->password != NULL)
            secrets_found(line->loader, line->place);
        put_database(line, entry);
    }
}

static void take_user(struct line *line, const char *value)
{
    struct user_entry *entry;

    if (strlen(line->key) > USER_NAME_MAX) {
        problems_add(line->loader->problems, line->place, NULL,
                     "too long user name: %s: at most %d bytes", line->key, USER_NAME_MAX);
        return;
    }
    entry = user_create(line->key);
    if (entry == NULL)
        out_of_memory(line->loader, line->place, line->key);
    else if (!parse_line(line, &user_keys, entry, value))
        user_release(entry);
    else if (!tables_put_user(line->loader->config->tables, entry))
        out_of_memory(line->loader, line->place, line->key);
}

static void take_peer(struct line *line, const char *value)
{
    struct loader *loader = line->loader;
    char *end;
    long id = strtol(line->key, &end, 10);
    struct peer_entry *peer;

    if (end == line->key || *end != '\0' || id < 1 || id > PEER_ID_MAX) {
        line_problem(line,
                     "ids of peers must be a number larger than 0 and at most 65536 (65535 here)");
        return;
    }
    peer = peer_create((int)id);
    if (peer == NULL) {
        out_of_memory(loader, line->place, line->key);
    } else if (!parse_line(line, &peer_keys, peer, value)) {
        peer_release(peer);
    } else if (peer->hosts[0] == NULL) {
        problems_add(loader->problems, line->place, line->key, "host was not provided for peer %ld",
                     id);
        peer_release(peer);
    } else if (!tables_put_peer(loader->config->tables, loader->previous, peer)) {
        out_of_memory(loader, line->place, line->key);
    }
}

static void take_listener(struct line *line, const char *value)
{
    struct listener_entry *entry;
    const char *problem;

    if (!listener_line_begin(line->loader, line->key, &entry, &problem))
        line_problem(line, problem != NULL ? problem : "out of memory");
    else if (!parse_line(line, &listener_keys, entry, value))
        listener_entry_release(entry);
    else
        listener_line_end(line->loader, line->place, entry);
}

static bool add_route(struct config *config, struct route *route)
{
    if (config->routes == NULL)
        config->routes = memory_zalloc_array(ROUTES_MAX, sizeof(struct route *));
    if (route == NULL || config->routes == NULL) {
        route_free(route);
        return false;
    }
    config->routes[config->route_count++] = route;
    config->has_mixed_modes |= route->pool_mode != CONFIG_UNSET;
    return true;
}

static void take_route(struct line *line, const char *value)
{
    struct config *config = line->loader->config;
    struct route *route = route_create(line->key);
    const char *problem = NULL;

    if (route == NULL) {
        line_problem(line, "out of memory");
        return;
    }
    route->line = line->place.line;
    bool is_right = parse_line(line, &route_keys, route, value);
    if (is_right)
        problem =
            config->route_count < ROUTES_MAX ? route_check(route) : "there are too many lines";
    if (problem != NULL)
        line_problem(line, problem);
    if (!is_right || problem != NULL)
        route_free(route);
    else if (!add_route(config, route))
        line_problem(line, "out of memory");
}

/* ---- events of the file ---- */

static void take_section(void *argument, struct ini_place place, const char *name)
{
    struct loader *loader = argument;

    if (strcmp(name, "pgbouncer") == 0) {
        if (loader->has_pgbouncer)
            reset_options(loader, place);
        loader->has_pgbouncer = true;
        loader->section = SECTION_PGBOUNCER;
    } else if (strcmp(name, "databases") == 0) {
        loader->section = SECTION_DATABASES;
    } else if (strcmp(name, "users") == 0) {
        loader->section = SECTION_USERS;
    } else if (strcmp(name, "peers") == 0) {
        loader->section = SECTION_PEERS;
    } else if (strcmp(name, "listeners") == 0) {
        loader->section = SECTION_LISTENERS;
    } else if (strcmp(name, "routes") == 0) {
        loader->section = SECTION_ROUTES;
    } else {
        loader->section = SECTION_UNKNOWN;
        problems_add(loader->problems, place, NULL,
                     "invalid section \"%s\" in configuration (%s:%d)", name, place.file,
                     place.line);
    }
}

static void take_key(void *argument, struct ini_place place, const char *key, const char *value)
{
    struct loader *loader = argument;
    struct line line = {loader, place, key};

    switch (loader->section) {
    case SECTION_NONE:
        problems_add(loader->problems, place, key, "load_init_file: value without section: %s",
                     key);
        break;
    case SECTION_PGBOUNCER:
        take_option(loader, place, key, value);
        break;
    case SECTION_DATABASES:
        take_database(&line, value);
        break;
    case SECTION_USERS:
        take_user(&line, value);
        break;
    case SECTION_PEERS:
        take_peer(&line, value);
        break;
    case SECTION_LISTENERS:
        take_listener(&line, value);
        break;
    case SECTION_ROUTES:
        take_route(&line, value);
        break;
    case SECTION_UNKNOWN:
        break; /* the section was the mistake */
    }
}

static void take_problem(void *argument, struct ini_place place, const char *key,
                         const char *reason)
{
    struct loader *loader = argument;

    problems_add(loader->problems, place, key, "%s", reason);
}

/* ---- a snapshot ---- */

static struct config *create_config(const char *file, uint64_t generation)
{
    struct config *config = memory_zalloc(sizeof *config);

    if (config == NULL)
        return NULL;
    atomic_init(&config->references, 1);
    config->generation = generation;
    config->file = memory_strdup(file);
    if (config->file != NULL)
        return config;
    config_release(config);
    return NULL;
}

static bool start(struct loader *loader, const struct config_load_request *request)
{
    struct ini_events events = {take_section, take_key, take_problem, loader};
    uint64_t generation = request->previous != NULL ? request->previous->generation + 1 : 1;

    loader->ini = ini_create(&events);
    loader->places = memory_zalloc_array((size_t)config_option_count, sizeof *loader->places);
    loader->config = create_config(request->file, generation);
    if (loader->ini == NULL || loader->places == NULL || loader->config == NULL)
        return false;
    loader->config->tables = tables_create();
    if (loader->config->tables == NULL)
        return false;
    loader->config->tables->ticket_keys = request->ticket_keys;
    loader->config->listeners[0] = listener_entry_create(CONFIG_LISTENER_DEFAULT);
    if (loader->config->listeners[0] == NULL)
        return false;
    loader->config->listener_count = 1;
    return settings_init(&loader->config->settings);
}

static void build(struct loader *loader, int problems_before)
{
    if (!loader->has_pgbouncer && loader->problems->count == problems_before)
        problems_add(loader->problems, (struct ini_place){loader->file, 0}, NULL,
                     "load_init_file: main section missing from config file");
    if (loader->previous != NULL)
        check_start_only(loader);
    check_problems(loader);
    build_users(loader);
    build_console(loader);
    build_listeners(loader);
    build_proxy_trusted(loader);
    build_client_tls(loader);
    build_server_tls(loader);
    build_peer_tls(loader);
    build_hba(loader);
    build_mock_key(loader);
    check_passthrough(loader);
    tables_sort(loader->config->tables);
    check_warnings(loader);
    secrets_check_files(loader);
}

const struct config *config_load(const struct config_load_request *request,
                                 struct config_problems *problems, struct config_problems *warnings)
{
    struct loader loader = {.file = request->file,
                            .previous = request->previous,
                            .problems = problems,
                            .warnings = warnings};
    int problems_before = problems->count;

    if (start(&loader, request)) {
        ini_load(loader.ini, request->file);
        build(&loader, problems_before);
    } else {
        out_of_memory(&loader, (struct ini_place){request->file, 0}, NULL);
    }
    ini_destroy(loader.ini);
    memory_free(loader.places);
    if (problems->count == problems_before)
        return loader.config;
    config_release(loader.config);
    return NULL;
}

/* ---- SET ---- */

/* New databases with the TLS settings that the loader's snapshot has now. */
static bool renew_tables(struct loader *loader, const struct config_tables *from)
{
    struct config_tables *tables = tables_create();

    tables_release(loader->config->tables);
    loader->config->tables = tables;
    if (tables == NULL)
        return false;
    tables->ticket_keys = from->ticket_keys;
    tables->peer_tls = tls_context_acquire(from->peer_tls);
    for (int i = 0; i < from->peer_count; i++)
        if (!tables_put_peer(tables, NULL, peer_acquire(from->peers[i])))
            return false;
    if (from->fallback != NULL) {
        tables->fallback = database_copy(from->fallback, from->fallback->name);
        if (tables->fallback == NULL)
            return false;
    }
    for (struct database_slot *slot = from->databases; slot != NULL; slot = slot->hh.next) {
        struct database_entry *copy = database_copy(slot->entry, slot->entry->name);

        if (copy == NULL || !tables_put_database(tables, copy))
            return false;
    }
    for (struct user_slot *slot = from->users; slot != NULL; slot = slot->hh.next) {
        if (!tables_put_user(tables, user_acquire(slot->entry)))
            return false;
    }
    return true;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* The listeners of `config`; copies, where their TLS contexts are to be made anew. */
static bool take_listeners(struct loader *loader, const struct config *config, bool copies)
{
    struct config *to = loader->config;

    for (int i = 0; i < config->listener_count; i++) {
        to->listeners[i] = copies ? listener_entry_copy(config->listeners[i])
                                  : listener_entry_acquire(config->listeners[i]);
        if (to->listeners[i] == NULL)
            return false;
        to->listener_count++;
    }
    to->has_mixed_modes = config->has_mixed_modes;
    for (int i = 0; i < config->route_count; i++)
        if (!add_route(to, route_copy(config->routes[i])))
            return false;
    return true;
}

/* A snapshot like `config`; a start-only key keeps its value, which its caller knows from the
 * table. */
static bool change(struct loader *loader, const struct config *config,
                   const struct config_option *option, const char *value)
{
    struct config *copy = loader->config;
    struct error error;

    copy->tables = tables_acquire(config->tables);
    copy->hba = hba_acquire(config->hba);
    copy->has_mock_key = config->has_mock_key;
    memcpy(copy->mock_key, config->mock_key, sizeof(copy->mock_key));
    if (!settings_copy(&copy->settings, &config->settings))
        return false;
    if (option->changes != OPTION_START && !settings_set(&copy->settings, option, value, &error)) {
        problems_add(loader->problems, (struct ini_place){0}, option->name,
                     "invalid value \"%.128s\" for parameter %s: %s", value, option->name,
                     error.message);
        return true;
    }
    copy->proxy_trusted = address_list_acquire(config->proxy_trusted);
    check_problems(loader);
    bool is_client_tls = starts_with(option->name, "client_tls");
    if (!take_listeners(loader, config, is_client_tls))
        return false;
    if (is_client_tls)
        build_client_tls(loader);
    if (starts_with(option->name, "server_tls")) {
        if (!renew_tables(loader, config->tables))
            return false;
        build_server_tls(loader);
        tables_sort(copy->tables);
    }
    check_passthrough(loader);
    return true;
}

const struct config *config_with(const struct config *config, const char *key, const char *value,
                                 struct config_problems *problems)
{
    const struct config_option *option = config_option_find(key);
    struct loader loader = {.file = config->file, .problems = problems};
    int problems_before = problems->count;

    if (option == NULL) {
        problems_add(problems, (struct ini_place){0}, NULL, "unknown parameter: pgbouncer/%s", key);
        return NULL;
    }
    if (option->changes == OPTION_FILE) {
        problems_add(problems, (struct ini_place){0}, key, "names a file: set it in %s",
                     config->file);
        return NULL;
    }
    loader.config = create_config(config->file, config->generation + 1);
    if (loader.config == NULL || !change(&loader, config, option, value))
        out_of_memory(&loader, (struct ini_place){0}, key);
    if (problems->count == problems_before)
        return loader.config;
    config_release(loader.config);
    return NULL;
}
