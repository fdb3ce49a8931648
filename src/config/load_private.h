/* load_private: one load under way, and the steps that share it. */
#pragma once
#include "config/ini.h"
#include "config/load.h"
#include "snapshot_private.h"

enum load_section {
    SECTION_NONE,
    SECTION_PGBOUNCER,
    SECTION_DATABASES,
    SECTION_USERS,
    SECTION_PEERS,
    SECTION_LISTENERS,
    SECTION_ROUTES,
    SECTION_UNKNOWN
};

/* Lives on config_load's stack. */
struct loader {
    const char *file;
    const struct config *previous; /* or NULL */
    struct config_problems *problems, *warnings;
    struct ini *ini;
    struct config *config; /* under construction */
    struct ini_place
        *places; /* of each option of the table: where it was last set; line 0: nowhere */
    struct ini_place listener_places[CONFIG_LISTENERS_MAX];
    enum load_section section;
    bool has_pgbouncer;
    const char *told_file; /* the ini file with a secret that was looked at last */
};

/* ---- problems.c ---- */

/* Adds "FILE:LINE: KEY: REASON"; what is not known (no file, line 0, NULL) is left out. `problems`
 * may be NULL. */
void problems_add(struct config_problems *problems, struct ini_place place, const char *key,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- load.c ---- */

/* Where `option` was set, or the file as a whole. `places` may be NULL (SET): nowhere. */
struct ini_place place_of(const struct loader *loader, const char *option);

/* ---- build.c: all of them add problems to the loader's ---- */

void build_users(struct loader *loader);   /* from auth_file, and the names that databases use */
void build_console(struct loader *loader); /* the database and the user "pgbouncer" */
void build_client_tls(struct loader *loader);
void build_server_tls(struct loader *loader);
void build_peer_tls(struct loader *loader); /* of peers.c */
void build_hba(struct loader *loader);      /* with auth_type=hba */

/* ---- listeners.c ---- */

/* The entry that a line of [listeners] fills, a reference: a new one, or the first listener's.
 * False: *problem says why not (NULL: no memory). listener_line_end takes the reference over. */
bool listener_line_begin(struct loader *loader, const char *name, struct listener_entry **entry,
                         const char **problem);
void listener_line_end(struct loader *loader, struct ini_place place, struct listener_entry *entry);
/* Resolves addresses (blocking); adds problems to the loader's. */
void build_listeners(struct loader *loader);
void build_proxy_trusted(struct loader *loader);

/* ---- secrets.c ---- */

/* Warns about files of secrets that others can read. */
void secrets_check_files(struct loader *loader);
/* There is a secret in the ini file here: warns if others can read it. */
void secrets_found(struct loader *loader, struct ini_place place);
void build_mock_key(struct loader *loader); /* from auth_mock_key_file */

/* ---- check.c ---- */

void check_problems(
    struct loader *loader); /* values that are right by themselves, but cannot be served */
/* With passthrough: the way to every server is safe. Behind build_hba and build_server_tls. */
void check_passthrough(struct loader *loader);
void check_warnings(struct loader *loader);
/* Puts the previous values of start-only keys back, with a warning for each that the file changed.
 */
void check_start_only(struct loader *loader);
