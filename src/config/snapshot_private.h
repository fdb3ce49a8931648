/* snapshot_private: what the snapshot keeps behind the doors of config/snapshot.h, for those who
 * build one.
 *
 * A struct config_tables is written by one builder, then frozen with tables_sort(); after that only
 * `autos` changes, under its lock. It is reference-counted, since a snapshot that differs in a
 * plain setting alone shares it. */
#pragma once
#include <pthread.h>

#include "base/table.h"
#include "config/options.h"
#include "config/peers.h"
#include "config/snapshot.h"

#define CONFIG_DATABASE_NAME_MAX 63
#define CONFIG_CONSOLE_NAME      "pgbouncer"

/* A name's place in a table; holds a reference to the entry. */
struct database_slot {
    struct database_entry *entry;
    UT_hash_handle hh;
};
struct user_slot {
    struct user_entry *entry;
    UT_hash_handle hh;
};

struct config_tables {
    struct database_slot *databases; /* of the file, and the console's */
    struct user_slot *users;
    struct database_entry *fallback; /* the line of '*', or NULL; never handed out */
    struct peer_entry **peers;       /* in the order of their numbers */
    int peer_count;
    struct tls_context *peer_tls; /* config_peer_tls */

    /* One server-side context for all entries, each of which has a reference of its own. */
    struct tls_context *server_tls;
    uint64_t server_tls_fingerprint;
    /* Borrowed from who called config_load: contexts are made anew when SET changes their settings.
     */
    struct tls_ticket_keys *ticket_keys;

    pthread_mutex_t autos_lock;
    struct database_entry **autos; /* in order of names */
    int auto_count;
    int auto_hand; /* where the search for one to forget goes on */

    _Atomic int references;
};

/* ---- snapshot.c ---- */

struct config_tables *tables_create(void); /* with one reference; NULL: no memory */
struct config_tables *tables_acquire(struct config_tables *tables);
void tables_release(struct config_tables *tables);
struct database_entry *tables_database(const struct config_tables *tables, const char *name);
struct user_entry *tables_user(const struct config_tables *tables, const char *name);
/* Takes the caller's reference, also when false: no memory. Replaces an entry of the same name. */
bool tables_put_database(struct config_tables *tables, struct database_entry *entry);
bool tables_put_user(struct config_tables *tables, struct user_entry *entry);
void tables_sort(struct config_tables *tables);
/* Gives each database the context and fingerprint of the tables'. */
void tables_finish_databases(struct config_tables *tables);

/* ---- peers.c ---- */

struct peer_entry *peer_create(int id); /* NULL: no memory */
/* As tables_put_database. Where `previous` (may be NULL) has the same entry, that one is kept. */
bool tables_put_peer(struct config_tables *tables, const struct config *previous,
                     struct peer_entry *peer);
void tables_release_peers(struct config_tables *tables);

/* ---- entries.c ---- */

struct database_entry *database_create(const char *name); /* NULL: no memory */
struct user_entry *user_create(const char *name);
/* The same keys under another name: an auto-database (`is_auto`), or one entry more for other TLS
 * settings. Context and fingerprint are left to the caller. */
struct database_entry *database_copy(const struct database_entry *entry, const char *name);
/* Takes a reference to `server_tls`, sets the fingerprint, and what only a whole line can say
 * (dbname, host_count). */
bool database_complete(struct database_entry *entry, struct tls_context *server_tls,
                       uint64_t server_tls_fingerprint);
uint64_t fingerprint_text(uint64_t fingerprint, const char *text);
bool entry_keys_copy(const struct entry_keys *keys, const void *entry, void *copy);
void entry_keys_finish(const struct entry_keys *keys, void *entry);

/* Where a line of [databases], [users], [peers] or [listeners] tells what it finds. */
struct entry_report {
    void (*problem)(void *argument, const char *reason);
    void (*warning)(void *argument, const char *reason);
    void *argument;
};
/* ---- routes.c ---- */

struct route *route_create(const char *host); /* NULL: no memory */
struct route *route_copy(const struct route *route);
void route_free(struct route *route);               /* NULL is fine */
const char *route_check(const struct route *route); /* what is wrong with it, or NULL */

/* ---- listeners.c ---- */

#define CONFIG_LISTENER_DEFAULT "default"
struct listener_entry *listener_entry_create(const char *name); /* NULL: no memory */
/* The same keys and addresses; without its TLS context. */
struct listener_entry *listener_entry_copy(const struct listener_entry *listener);

/* ---- entries.c ---- */

/* Fills `entry` (of the type that `keys` belong to) from a connection string, which is changed.
 * False: at least one problem was reported. */
bool entry_parse(const struct entry_keys *keys, void *entry, char *text,
                 const struct entry_report *report);
/* Does `entry` say something of its own for this key? */
bool entry_key_is_set(const struct entry_key *key, const void *entry);
