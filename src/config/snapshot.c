#include "config/snapshot.h"

#include <stdatomic.h>
#include <string.h>

#include "owned.h"
#include "snapshot_private.h"

/* ---- tables ---- */

struct config_tables *tables_create(void)
{
    struct config_tables *tables = memory_zalloc(sizeof *tables);

    if (tables == NULL)
        return NULL;
    if (pthread_mutex_init(&tables->autos_lock, NULL) != 0) {
        memory_free(tables);
        return NULL;
    }
    atomic_init(&tables->references, 1);
    return tables;
}

struct config_tables *tables_acquire(struct config_tables *tables)
{
    atomic_fetch_add_explicit(&tables->references, 1, memory_order_relaxed);
    return tables;
}

void tables_release(struct config_tables *tables)
{
    struct database_slot *database, *next_database;
    struct user_slot *user, *next_user;

    if (tables == NULL ||
        atomic_fetch_sub_explicit(&tables->references, 1, memory_order_acq_rel) > 1)
        return;
    HASH_ITER (hh, tables->databases, database, next_database) {
        HASH_DEL(tables->databases, database);
        database_release(database->entry);
        memory_free(database);
    }
    HASH_ITER (hh, tables->users, user, next_user) {
        HASH_DEL(tables->users, user);
        user_release(user->entry);
        memory_free(user);
    }
    for (int i = 0; i < tables->auto_count; i++)
        database_release(tables->autos[i]);
    memory_free(tables->autos);
    database_release(tables->fallback);
    tls_context_release(tables->server_tls);
    tables_release_peers(tables);
    (void)pthread_mutex_destroy(&tables->autos_lock);
    memory_free(tables);
}

static struct database_slot *database_slot(const struct config_tables *tables, const char *name)
{
    struct database_slot *slot = NULL;

    HASH_FIND(hh, tables->databases, name, strlen(name), slot);
    return slot;
}

static struct user_slot *user_slot(const struct config_tables *tables, const char *name)
{
    struct user_slot *slot = NULL;

    HASH_FIND(hh, tables->users, name, strlen(name), slot);
    return slot;
}

struct database_entry *tables_database(const struct config_tables *tables, const char *name)
{
    struct database_slot *slot = database_slot(tables, name);

    return slot != NULL ? slot->entry : NULL;
}

struct user_entry *tables_user(const struct config_tables *tables, const char *name)
{
    struct user_slot *slot = user_slot(tables, name);

    return slot != NULL ? slot->entry : NULL;
}

bool tables_put_database(struct config_tables *tables, struct database_entry *entry)
{
    struct database_slot *slot = database_slot(tables, entry->name);

    if (slot != NULL) {
        /* The key of a slot lies in its entry, so the slot goes with it. */
        HASH_DEL(tables->databases, slot);
        database_release(slot->entry);
        memset(slot, 0, sizeof *slot);
    } else {
        slot = memory_zalloc(sizeof *slot);
    }
    if (slot != NULL) {
        slot->entry = entry;
        HASH_ADD_KEYPTR(hh, tables->databases, entry->name, strlen(entry->name), slot);
        if (TABLE_ADDED(slot))
            return true;
    }
    memory_free(slot);
    database_release(entry);
    return false;
}

bool tables_put_user(struct config_tables *tables, struct user_entry *entry)
{
    struct user_slot *slot = user_slot(tables, entry->name);

    if (slot != NULL) {
        HASH_DEL(tables->users, slot);
        user_release(slot->entry);
        memset(slot, 0, sizeof *slot);
    } else {
        slot = memory_zalloc(sizeof *slot);
    }
    if (slot != NULL) {
        slot->entry = entry;
        HASH_ADD_KEYPTR(hh, tables->users, entry->name, strlen(entry->name), slot);
        if (TABLE_ADDED(slot))
            return true;
    }
    memory_free(slot);
    user_release(entry);
    return false;
}

static int compare_databases(struct database_slot *a, struct database_slot *b)
{
    return strcmp(a->entry->name, b->entry->name);
}

static int compare_users(struct user_slot *a, struct user_slot *b)
{
    return strcmp(a->entry->name, b->entry->name);
}

void tables_sort(struct config_tables *tables)
{
    HASH_SORT(tables->databases, compare_databases);
    HASH_SORT(tables->users, compare_users);
}

/* ---- auto-databases ---- */

/* Where `name` is among the autos, or would be. Under their lock. */
static int auto_place(const struct config_tables *tables, const char *name, bool *found)
{
    int low = 0, high = tables->auto_count;

    *found = false;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(tables->autos[middle]->name, name);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Forgets an auto-database that nobody else holds, so that strangers who ask for names cannot use
 * the room up for ever. New references come from here alone, under the lock: one that is alone
 * stays so. */
static bool forget_one(struct config_tables *tables)
{
    for (int i = 0; i < tables->auto_count; i++) {
        int at = (tables->auto_hand + i) % tables->auto_count;
        struct database_entry *entry = tables->autos[at];

        if (atomic_load_explicit(&entry->references, memory_order_acquire) > 1)
            continue;
        tables->auto_count--;
        memmove(&tables->autos[at], &tables->autos[at + 1],
                (size_t)(tables->auto_count - at) * sizeof(struct database_entry *));
        tables->auto_hand = at;
        database_release(entry);
        return true;
    }
    return false;
}

static bool is_idle(struct database_entry *entry, usec_t limit, usec_t now)
{
    if (atomic_load_explicit(&entry->references, memory_order_acquire) > 1)
        entry->idle_since = 0;
    else if (entry->idle_since == 0)
        entry->idle_since = now;
    return entry->idle_since != 0 && now - entry->idle_since >= limit;
}

void config_forget_autos(const struct config *config, usec_t limit, usec_t now)
{
    struct config_tables *tables = config->tables;
    int kept = 0;

    if (limit <= 0)
        return;
    (void)pthread_mutex_lock(&tables->autos_lock);
    for (int i = 0; i < tables->auto_count; i++) {
        struct database_entry *entry = tables->autos[i];
        if (is_idle(entry, limit, now))
            database_release(entry);
        else
            tables->autos[kept++] = entry;
    }
    tables->auto_count = kept;
    if (tables->auto_hand >= kept)
        tables->auto_hand = 0;
    (void)pthread_mutex_unlock(&tables->autos_lock);
}

static bool make_room(struct config_tables *tables)
{
    struct database_entry **larger;
    int count = tables->auto_count;

    if (count == CONFIG_AUTODB_MAX)
        return forget_one(tables);
    if ((count & (count - 1)) != 0)
        return true; /* room doubles at each power of two */
    larger = memory_resize_array(tables->autos, count > 0 ? 2 * (size_t)count : 1,
                                 sizeof(struct database_entry *));
    if (larger == NULL)
        return false;
    tables->autos = larger;
    return true;
}

static struct database_entry *create_auto(struct config_tables *tables, const char *name)
{
    struct database_entry *entry = database_copy(tables->fallback, name);

    if (entry == NULL)
        return NULL;
    entry->is_auto = true;
    if (database_complete(entry, tables->server_tls, tables->server_tls_fingerprint))
        return entry;
    database_release(entry);
    return NULL;
}

static struct database_entry *find_auto(struct config_tables *tables, const char *name)
{
    struct database_entry *entry = NULL;
    bool found;
    int at;

    (void)pthread_mutex_lock(&tables->autos_lock);
    at = auto_place(tables, name, &found);
    if (found) {
        entry = database_acquire(tables->autos[at]);
    } else if (make_room(tables)) {
        entry = create_auto(tables, name);
        if (entry != NULL) {
            at = auto_place(tables, name, &found); /* one may have been forgotten before it */
            memmove(&tables->autos[at + 1], &tables->autos[at],
                    (size_t)(tables->auto_count - at) * sizeof(struct database_entry *));
            tables->autos[at] = database_acquire(entry);
            tables->auto_count++;
        }
    }
    (void)pthread_mutex_unlock(&tables->autos_lock);
    return entry;
}

/* The first auto-database behind `name` (NULL: the first of all), with a reference; NULL: there is
 * none. */
static struct database_entry *next_auto(struct config_tables *tables, const char *name)
{
    struct database_entry *entry = NULL;
    bool found = false;
    int at = 0;

    (void)pthread_mutex_lock(&tables->autos_lock);
    if (name != NULL)
        at = auto_place(tables, name, &found) + found;
    if (at < tables->auto_count)
        entry = database_acquire(tables->autos[at]);
    (void)pthread_mutex_unlock(&tables->autos_lock);
    return entry;
}

/* ---- the snapshot ---- */

static struct config *writable(const struct config *config)
{
    return (struct config *)(uintptr_t)config;
}

const struct config *config_acquire(const struct config *config)
{
    if (config != NULL)
        atomic_fetch_add_explicit(&writable(config)->references, 1, memory_order_relaxed);
    return config;
}

void config_release(const struct config *config)
{
    struct config *last = writable(config);

    if (last == NULL || atomic_fetch_sub_explicit(&last->references, 1, memory_order_acq_rel) > 1)
        return;
    settings_finish(&last->settings);
    for (int i = 0; i < last->listener_count; i++)
        listener_entry_release(last->listeners[i]);
    for (int i = 0; i < last->route_count; i++)
        route_free(last->routes[i]);
    memory_free(last->routes);
    hba_release(last->hba);
    address_list_release(last->proxy_trusted);
    tables_release(last->tables);
    owned_free(last->file);
    memory_wipe(last->mock_key, sizeof(last->mock_key));
    memory_free(last);
}

struct database_entry *config_find_database(const struct config *config, const char *name)
{
    struct database_entry *entry = tables_database(config->tables, name);

    if (entry != NULL)
        return database_acquire(entry);
    if (config->tables->fallback == NULL || *name == '\0' ||
        strlen(name) > CONFIG_DATABASE_NAME_MAX)
        return NULL;
    return find_auto(config->tables, name);
}

struct database_entry *config_probe_database(const struct config *config, const char *name)
{
    struct database_entry *entry = tables_database(config->tables, name);

    if (entry != NULL)
        return database_acquire(entry);
    return config_peek_database(config, name) != NULL ? create_auto(config->tables, name) : NULL;
}

const struct database_entry *config_peek_database(const struct config *config, const char *name)
{
    struct database_entry *entry = tables_database(config->tables, name);

    if (entry != NULL || *name == '\0' || strlen(name) > CONFIG_DATABASE_NAME_MAX)
        return entry;
    return config->tables->fallback;
}

struct user_entry *config_find_user(const struct config *config, const char *name)
{
    return user_acquire(tables_user(config->tables, name));
}

/* Two ordered lists, merged. Autos may come and go meanwhile, so the next one is looked up by the
 * name of the last. */
void config_each_database(const struct config *config,
                          void (*call)(struct database_entry *, void *), void *argument)
{
    struct config_tables *tables = config->tables;
    struct database_slot *slot = tables->databases;
    struct database_entry *other = next_auto(tables, NULL);

    while (slot != NULL || other != NULL) {
        struct database_entry *next;

        if (other == NULL || (slot != NULL && strcmp(slot->entry->name, other->name) < 0)) {
            call(slot->entry, argument);
            slot = slot->hh.next;
            continue;
        }
        call(other, argument);
        next = next_auto(tables, other->name);
        database_release(other);
        other = next;
    }
}

void config_each_user(const struct config *config, void (*call)(struct user_entry *, void *),
                      void *argument)
{
    for (struct user_slot *slot = config->tables->users; slot != NULL; slot = slot->hh.next)
        call(slot->entry, argument);
}

void config_counts(const struct config *config, int *databases, int *users)
{
    struct config_tables *tables = config->tables;

    (void)pthread_mutex_lock(&tables->autos_lock);
    *databases = (int)HASH_COUNT(tables->databases) + tables->auto_count;
    (void)pthread_mutex_unlock(&tables->autos_lock);
    *users = (int)HASH_COUNT(tables->users);
}

bool name_list_has(const char *list, const char *name)
{
    static const char separators[] = ", \t\r\n\v\f";
    size_t length = strlen(name);

    while (list != NULL && *list != '\0') {
        size_t token;

        list += strspn(list, separators);
        token = strcspn(list, separators);
        if (token > 0 && token == length && memcmp(list, name, length) == 0)
            return true;
        list += token;
    }
    return false;
}

/* ---- precedence ---- */

/* Where "unset" is negative: user over database over global. */
static int first_set(int user, int database, int global)
{
    if (user >= 0)
        return user;
    return database >= 0 ? database : global;
}

/* Where "unset" is anything that is not positive. */
static int positive_or(int own, int global)
{
    return own > 0 ? own : global;
}

static usec_t time_or(usec_t own, usec_t global)
{
    return own > 0 ? own : global;
}

static usec_t first_time(usec_t of_user, usec_t of_database, usec_t global)
{
    return time_or(of_user, time_or(of_database, global));
}

/* Stands for whoever is not known: everything is inherited. */
static const struct database_entry any_database = {
    .pool_mode = CONFIG_UNSET,
    .session_state = CONFIG_UNSET,
    .pool_size = CONFIG_UNSET,
    .min_pool_size = CONFIG_UNSET,
    .reserve_pool_size = CONFIG_UNSET,
    .query_wait_timeout = CONFIG_UNSET,
};
static const struct user_entry any_user = {
    .pool_mode = CONFIG_UNSET,
    .session_state = CONFIG_UNSET,
    .pool_size = CONFIG_UNSET,
    .reserve_pool_size = CONFIG_UNSET,
    .query_wait_timeout = CONFIG_UNSET,
};

static usec_t effective_query_wait(const struct settings *settings,
                                   const struct database_entry *database,
                                   const struct user_entry *user)
{
    if (user->query_wait_timeout != CONFIG_UNSET)
        return user->query_wait_timeout;
    if (database->query_wait_timeout != CONFIG_UNSET)
        return database->query_wait_timeout;
    return settings->query_wait_timeout;
}

void config_effective(const struct config *config, const struct config_subject *subject,
                      struct effective *effective)
{
    const struct settings *global = &config->settings;
    const struct database_entry *database =
        subject->database != NULL ? subject->database : &any_database;
    const struct user_entry *pool_user =
        subject->pool_user != NULL ? subject->pool_user : &any_user;
    const struct user_entry *login_user =
        subject->login_user != NULL ? subject->login_user : &any_user;

    *effective = (struct effective){
        .pool_mode = (enum pool_mode)first_set(pool_user->pool_mode, database->pool_mode,
                                               (int)global->pool_mode),
        .session_state = (enum session_state)first_set(
            pool_user->session_state, database->session_state, (int)global->session_state),
        .pool_size =
            first_set(pool_user->pool_size, database->pool_size, global->default_pool_size),
        .min_pool_size = first_set(CONFIG_UNSET, database->min_pool_size, global->min_pool_size),
        .reserve_pool_size = first_set(pool_user->reserve_pool_size, database->reserve_pool_size,
                                       global->reserve_pool_size),
        .max_db_connections = positive_or(database->max_db_connections, global->max_db_connections),
        .max_user_connections =
            positive_or(pool_user->max_user_connections, global->max_user_connections),
        .max_db_client_connections =
            positive_or(database->max_db_client_connections, global->max_db_client_connections),
        .max_user_client_connections = positive_or(login_user->max_user_client_connections,
                                                   global->max_user_client_connections),
        .query_timeout =
            first_time(pool_user->query_timeout, database->query_timeout, global->query_timeout),
        .query_wait_timeout = effective_query_wait(global, database, login_user),
        .idle_transaction_timeout =
            first_time(pool_user->idle_transaction_timeout, database->idle_transaction_timeout,
                       global->idle_transaction_timeout),
        .transaction_timeout =
            first_time(pool_user->transaction_timeout, database->transaction_timeout,
                       global->transaction_timeout),
        .client_idle_timeout =
            first_time(login_user->client_idle_timeout, database->client_idle_timeout,
                       global->client_idle_timeout),
        .server_lifetime = time_or(database->server_lifetime, global->server_lifetime),
    };
    if (subject->listener != NULL && subject->listener->pool_mode != CONFIG_UNSET)
        effective->pool_mode = (enum pool_mode)subject->listener->pool_mode;
    if (subject->route_mode != NULL && *subject->route_mode != CONFIG_UNSET)
        effective->pool_mode = (enum pool_mode) * subject->route_mode;
}
