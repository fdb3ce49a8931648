/* parameters: settings that servers report, what clients want of them, and the difference to send.
 *
 * Names have slots: those that PostgreSQL reports (GUC_REPORT), those of track_extra_parameters
 * behind. Values are compared by a 64-bit keyed hash, so that two connections that agree cost a few
 * compares and no text.
 *
 * Three kinds of records (MECHANISMS §4.4-4.5): what a server has (text and hash), what a client
 * was last told (hash only), what a client wants (text and hash of the few that it set). Tracked
 * names only (COMPAT 9.2) are wanted. One loop's thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <strings.h>

#include "base/bytes.h"
#include "ledger/session_settings.h"

#define PARAMETER_SLOTS      24
#define PARAMETER_NAME_MAX   63
#define PARAMETER_WANTED_MAX 16
#define PARAMETER_VALUE_MAX                                                                        \
    4096 /* of one value; longer ones are refused at login and not replayed */

/* Slot of a name (compared without case); -1: not one of them. Made once from
 * track_extra_parameters, before the loops start; read by all. */
struct parameter_names {
    const char *names[PARAMETER_SLOTS]; /* owned by the table for extras, literals else */
    bool tracked[PARAMETER_SLOTS];
    int count;
};
bool parameter_names_init(struct parameter_names *names, const char *track_extra_parameters);
void parameter_names_finish(struct parameter_names *names);
/* Without case. The first letters tell nearly all names apart: each login compares hundreds. */
static inline bool parameter_name_is(const char *name, const char *other)
{
    return ((name[0] ^ other[0]) & ~0x20) == 0 && strcasecmp(name, other) == 0;
}
int parameter_slot(const struct parameter_names *names, const char *name);

struct server_parameters {
    char *values[PARAMETER_SLOTS]; /* owned; NULL: never reported */
    uint64_t hashes[PARAMETER_SLOTS];
    uint64_t digest; /* sum over slots: equal digests mean equal records */
};
bool server_parameters_set(struct server_parameters *parameters, int slot, const char *value);
void server_parameters_finish(struct server_parameters *parameters);

struct told_parameters {
    uint64_t hashes[PARAMETER_SLOTS];
    uint64_t digest;
};
void told_parameters_set(struct told_parameters *told, int slot, const char *value);
/* Writes a ParameterStatus for each slot in which the server's record differs from what was told,
 * and notes it as told. */
void told_parameters_update(struct told_parameters *told, const struct server_parameters *server,
                            const struct parameter_names *names, struct bytes *out);

struct wanted_parameter {
    int slot;
    uint64_t hash;
    char *value; /* owned */
};
struct wanted_parameters {
    struct wanted_parameter *items; /* owned array; NULL when there is none */
    int count;
};
/* Sets or replaces. False: no memory, too long or too many. */
bool wanted_parameters_set(struct wanted_parameters *wanted, int slot, const char *value);
const char *wanted_parameters_get(const struct wanted_parameters *wanted,
                                  int slot); /* NULL: not wanted */
bool wanted_parameters_copy(struct wanted_parameters *to, const struct wanted_parameters *from);
void wanted_parameters_finish(struct wanted_parameters *wanted);
/* The server differs in something that the client wants. */
static inline bool wanted_parameters_differ(const struct wanted_parameters *wanted,
                                            const struct server_parameters *server)
{
    for (int i = 0; i < wanted->count; i++)
        if (wanted->items[i].hash != server->hashes[wanted->items[i].slot])
            return true;
    return false;
}
/* Beyond what servers report: the profile that the server's session has, and the client's. */
struct session_change {
    const struct session_profile *from, *to;
};
/* Writes the prefix that brings the server to the client's settings: whole Query messages
 * (MECHANISMS §4.1: BEGIN alone; a change of client_encoding alone; the rest with COMMIT). Returns
 * how many Query messages; 0: out failed. */
int wanted_parameters_prefix(const struct wanted_parameters *wanted,
                             const struct server_parameters *server,
                             const struct parameter_names *names, struct session_change change,
                             struct bytes *out);
/* After the prefix was confirmed: the wanted values become the server's spelling of them ("ISO" is
 * now "ISO, MDY"). */
void wanted_parameters_adopt(struct wanted_parameters *wanted,
                             const struct server_parameters *server);
/* What of a statement's meaning the client's settings decide (MECHANISMS §4.11). */
uint64_t wanted_parameters_statement_hash(const struct wanted_parameters *wanted,
                                          const struct parameter_names *names);
