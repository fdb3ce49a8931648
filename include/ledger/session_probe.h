/* session_probe: asks a server what its session has (MECHANISMS §4.6-4.7).
 *
 * Statements that are prepared once on a server and executed by Bind and Execute, in a block of
 * their own that is read-only: they work unprivileged, under SET ROLE, with a hostile search_path,
 * on a standby and with a statement_timeout of a millisecond, and the client's unnamed statement
 * survives them. Each row has a kind and two texts.
 *
 * No I/O. The messages are the caller's to send, the rows its to hand in; one loop's thread.
 */
#pragma once
#include "ledger/ledger.h"
#include "ledger/parameters.h"
#include "ledger/session_settings.h"
#include "ledger/session_state.h"

/* What a session has, as far as it was asked for. */
struct session_probe {
    struct session_list settings; /* set for the session; none that are tracked */
    struct session_list prepared; /* what SQL has prepared and can be made again elsewhere */
    uint32_t pins;                /* enum session_kind: what cannot be brought to another server */
    uint32_t tracked;             /* bit for each slot of a tracked setting that was set */
    char role[SESSION_NAME_MAX + 1], user[SESSION_NAME_MAX + 1]; /* cut */
    char timeout[SESSION_NAME_MAX + 1]; /* statement_timeout, and its default */
    char default_timeout[SESSION_NAME_MAX + 1];
    bool is_seen; /* its last row came: it is there as a whole */
    bool failed;  /* no memory, or too much */
};
void session_probe_row(struct session_probe *probe, const struct parameter_names *names,
                       struct span body);
/* Empties it, too, for the next answer. */
void session_probe_finish(struct session_probe *probe);

/* Settings are asked for when `touched` has one of these, else what they were still holds. */
#define SESSION_ASKS_SETTINGS ((uint32_t)(SESSION_SETTINGS | SESSION_REPORTED | SESSION_UNKNOWN))

/* Writes the messages, a Sync last; in front a unit with a Parse for each statement, unless the
 * server holds them.
 * `customs`: custom settings to ask for by name. Kinds of the ledger entries go to `entries`;
 * returns how many. */
#define SESSION_PROBE_ENTRIES 32
int session_probe_put(struct bytes *out, uint32_t touched, bool is_held,
                      const struct session_list *customs, uint8_t entries[SESSION_PROBE_ENTRIES]);
