/* auth_file: users and their secrets, as PgBouncer's userlist.txt (COMPAT 4.1), and the kinds of
 * secrets.
 *
 * Pure parsing over bytes; the file is read here too (auth_file_load, blocking: off the loops).
 * Secrets are owned by the struct that holds them and wiped by its finish. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define AUTH_NAME_MAX   127
#define AUTH_SECRET_MAX 65530
#define AUTH_FILE_MAX                                                                              \
    (256 * 1024 * 1024) /* bytes of a whole file: a million users with SCRAM secrets */

enum auth_secret_kind { AUTH_SECRET_NONE, AUTH_SECRET_PLAIN, AUTH_SECRET_MD5, AUTH_SECRET_SCRAM };

struct auth_secret {
    enum auth_secret_kind kind;
    char *text; /* as it stands in the file; owned; NULL for NONE (an empty secret is NONE) */
};
/* Sets memory that holds no secret yet. Copies `text` (NULL counts as empty) and tells its kind by
 * its form (COMPAT 4.1); SCRAM only when well-formed. False: no memory. */
bool auth_secret_set(struct auth_secret *secret, const char *text);
/* The same of a password, whatever its form. */
bool auth_secret_set_plain(struct auth_secret *secret, const char *password);
void auth_secret_finish(struct auth_secret *secret); /* wipes */

/* Calls back for each user in order, the strings borrowed for the call; false from `call` stops
 * with its error. A broken line refuses the whole: error with "FILE:LINE: reason" (texts of
 * COMPAT 4.1). `data` need not be zero-terminated. */
typedef bool auth_file_user(void *argument, int line, const char *name, const char *secret,
                            struct error *error);
bool auth_file_parse(const char *file, const char *data, size_t size, auth_file_user *call,
                     void *argument, struct error *error);
bool auth_file_load(const char *file, auth_file_user *call, void *argument, struct error *error);
