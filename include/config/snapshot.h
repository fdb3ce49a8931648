/* snapshot: one immutable, reference-counted configuration.
 *
 * Owns everything that an ini, an auth_file and the TLS files say at one moment. Made whole by
 * config_load (config/load.h) or not at all; nothing in it changes after that (but the reference
 * counts). Databases, users and TLS contexts have references of their own, so that a long-lived
 * client pins its entry and not the whole snapshot. Any thread may read; who keeps a pointer past a
 * turn of its loop holds a reference.
 *
 * One function says what holds for (user, database, listener): config_effective().
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "auth/address_list.h"
#include "auth/auth_file.h"
#include "auth/hba.h"
#include "base/clock.h"
#include "base/error.h"
#include "config/settings.h" /* enum pool_mode, enum auth_type, struct settings */
#include "net/address.h"
#include "net/tls_context.h"

enum load_balance_hosts { LOAD_BALANCE_ROUND_ROBIN, LOAD_BALANCE_DISABLE };

#define CONFIG_HOSTS_MAX 16
#define CONFIG_UNSET     (-1)

/* One line of [databases], or an auto-database made from '*'. Reference-counted. */
struct database_entry {
    const char *name;   /* as clients say it */
    const char *dbname; /* as the server is asked */
    /* "/dir", "@name", literal or name; NULL (alone): the Unix socket in unix_socket_dir */
    const char *hosts[CONFIG_HOSTS_MAX];
    int host_count; /* at least 1 */
    int port;
    const char *user;                                 /* forced user, or NULL */
    const char *password;                             /* secret; or NULL */
    const char *auth_user, *auth_query, *auth_dbname; /* NULL: global */
    const char *connect_query;                        /* NULL: none */
    enum load_balance_hosts load_balance_hosts;
    int pool_mode;     /* enum pool_mode or CONFIG_UNSET, as the following ints */
    int session_state; /* enum session_state */
    int pool_size, min_pool_size, reserve_pool_size;
    int max_db_connections, max_db_client_connections; /* <= 0: inherit */
    usec_t server_lifetime;                            /* 0: inherit */
    usec_t query_wait_timeout;                         /* CONFIG_UNSET: inherit; 0: never */
    /* 0: inherit */
    usec_t query_timeout, idle_transaction_timeout, transaction_timeout, client_idle_timeout;
    /* In the server's startup message; or NULL. */
    const char *client_encoding, *datestyle, *timezone, *application_name;
    struct address_list *allow_from; /* a reference; NULL: all, as in user_entry */
    /* A reference of the entry's own; NULL for TLS_DISABLE and for the console. */
    struct tls_context *server_tls;
    bool is_auto;      /* made from '*' */
    bool is_console;   /* the built-in database "pgbouncer" */
    usec_t idle_since; /* of an auto-database: nobody else has referred to it since; 0: somebody
                          does. Worker 0 alone looks at it */
    /* Changes when servers opened under it are no longer right (COMPAT 1.5 item 4, and TLS). */
    uint64_t connection_fingerprint;
    _Atomic int references;
};

/* A name of auth_file, [users], a forced user or an auth user. Reference-counted: user_acquire. */
struct user_entry {
    const char *name;
    struct auth_secret secret; /* kind AUTH_SECRET_NONE when there is none */
    bool is_known;             /* stands in auth_file (trust accepts it) */
    bool is_proven;            /* made by user_with_secret */
    bool is_passed_on; /* made by user_with_password: its server has accepted the password */
    int pool_size, reserve_pool_size, pool_mode,
        session_state; /* CONFIG_UNSET: database's, else global */
    int max_user_connections, max_user_client_connections; /* <= 0: global */
    /* 0: database's, else global */
    usec_t query_timeout, idle_transaction_timeout, transaction_timeout, client_idle_timeout;
    usec_t query_wait_timeout; /* CONFIG_UNSET: inherit */
    struct address_list *allow_from;
    _Atomic int references;
};

/* What a listener speaks: bits. */
#define SPEAKS_POSTGRES  1
#define SPEAKS_HTTP      2
#define SPEAKS_WEBSOCKET 4

/* A door: one or more addresses with a port, and what holds for who comes in there. The first, with
 * listen_addr, listen_port and the Unix socket of unix_socket_dir, is called "default"; others are
 * lines of [listeners]. One set of pools and limits lies behind all of them. Reference-counted. */
#define CONFIG_LISTENERS_MAX     64
#define CONFIG_LISTENER_NAME_MAX 63
#define CONFIG_ADDRESSES_MAX     16
struct listener_entry {
    const char *name;
    const char *addr;               /* NULL: listen_addr */
    int port;                       /* listen_port of default */
    int pool_mode;                  /* enum pool_mode or CONFIG_UNSET, as the following ints */
    int tls;                        /* enum tls_mode */
    int auth;                       /* enum auth_type */
    int proxy_protocol;             /* 0, 1 */
    int admin;                      /* 0, 1 */
    int protocols;                  /* SPEAKS_... */
    const char *databases;          /* names with commas between them; NULL: all */
    struct tls_context *client_tls; /* a reference; NULL when there is no TLS */
    /* Where it listens. Of default: none, those are opened at start only. */
    struct address addresses[CONFIG_ADDRESSES_MAX];
    int address_count;
    _Atomic int references;
};

struct route; /* of config/routes */

struct config {
    struct settings settings;
    struct listener_entry *listeners[CONFIG_LISTENERS_MAX]; /* references; the first is default */
    int listener_count;
    struct route **routes; /* in the order of the file; owned */
    int route_count;
    bool
        has_mixed_modes; /* clients of one pool may differ in their pool_mode: a listener has one */
    const struct hba *hba; /* rules of auth_hba_file; NULL unless some auth_type is hba */
    struct address_list *proxy_trusted; /* NULL: nobody */
    bool has_mock_key;                  /* from auth_mock_key_file */
    uint8_t mock_key[32]; /* of it: client/login makes salts with it (THREATS §2.7) */
    const char *file;     /* as given */
    uint64_t generation;  /* 1 at start, +1 at each reload */
    _Atomic int references;
    /* private to config/snapshot.c: tables of databases and users */
    struct config_tables *tables;
};

/* What holds for one pool or client, after user over database over global (COMPAT 3.2); a client's
 * listener is over all of them. */
struct effective {
    enum pool_mode pool_mode;
    enum session_state session_state;
    int pool_size, min_pool_size, reserve_pool_size;
    int max_db_connections, max_user_connections, max_db_client_connections,
        max_user_client_connections; /* 0: none */
    usec_t query_timeout, query_wait_timeout, idle_transaction_timeout, transaction_timeout,
        client_idle_timeout;
    usec_t server_lifetime;
};

const struct config *config_acquire(const struct config *config);
void config_release(
    const struct config *config); /* wipes secrets with the last reference; NULL is fine */

/* The entry named `name` (exact), else an auto-database made from '*' (remembered in the snapshot,
 * at most CONFIG_AUTODB_MAX of them, under a lock of its own: login path only), else NULL.
 * "pgbouncer" is the console's. The caller gets a reference. */
#define CONFIG_AUTODB_MAX 10000
struct database_entry *config_find_database(const struct config *config, const char *name);
/* What the file says of `name`, without making an auto-database: its own line, else that of '*',
 * else NULL. Borrowed, as long as `config` is. */
const struct database_entry *config_peek_database(const struct config *config, const char *name);
/* The same, but an auto-database that is made is not remembered: for who has not logged in yet. */
struct database_entry *config_probe_database(const struct config *config, const char *name);
struct database_entry *database_acquire(struct database_entry *database);
void database_release(struct database_entry *database);

/* Forgets auto-databases that nobody has referred to for `limit` (0: never). Worker 0. */
void config_forget_autos(const struct config *config, usec_t limit, usec_t now);

/* The user's entry with a reference, or NULL when nobody knows the name. */
struct user_entry *config_find_user(const struct config *config, const char *name);
struct user_entry *user_acquire(struct user_entry *user);
void user_release(struct user_entry *user);
/* A user whose secret is not in the configuration (auth_query): with the settings of `known` (its
 * entry of [users], or NULL). NULL: no memory. */
struct user_entry *user_with_secret(const struct user_entry *known, const char *name,
                                    const char *secret);

/* The same of one whose server has accepted this password, whatever its form. */
struct user_entry *user_with_password(const struct user_entry *known, const char *name,
                                      const char *password);

/* Whom the question is about; what is NULL is unknown, and says nothing. */
struct config_subject {
    const struct database_entry *database;
    const struct user_entry *pool_user;  /* decides pool sizes, mode and server timeouts */
    const struct user_entry *login_user; /* the client's own limits (COMPAT 3.2) */
    const struct listener_entry *listener;
    const int *route_mode; /* pool_mode of the route by which it came; over the listener's */
};
void config_effective(const struct config *config, const struct config_subject *subject,
                      struct effective *effective);

/* The listener with this name, borrowed as long as `config` is; NULL: there is none. */
struct listener_entry *config_listener(const struct config *config, const char *name);
struct listener_entry *listener_entry_acquire(struct listener_entry *listener);
void listener_entry_release(struct listener_entry *listener); /* NULL is fine */
/* What holds there, of its own or of the global settings. */
enum auth_type listener_auth(const struct listener_entry *listener,
                             const struct settings *settings);
enum tls_mode listener_tls(const struct listener_entry *listener, const struct settings *settings);
/* Does a PROXY header come first? (Not on Unix sockets.) */
bool listener_is_proxied(const struct listener_entry *listener, const struct address *peer);
/* May the console be reached there? */
bool listener_has_console(const struct listener_entry *listener, bool is_local);
/* May clients that come in there use this database? */
bool listener_has_database(const struct listener_entry *listener, const char *name);

/* Is `name` one of a name list (admin_users, stats_users, ignore_startup_parameters)? Exact. */
bool name_list_has(const char *list, const char *name);

/* Calls back for each database entry in order of names, auto ones too; each call borrows the entry.
 */
void config_each_database(const struct config *config,
                          void (*call)(struct database_entry *, void *), void *argument);
void config_each_user(const struct config *config, void (*call)(struct user_entry *, void *),
                      void *argument);
void config_counts(const struct config *config, int *databases, int *users);
