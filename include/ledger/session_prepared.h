/* session_prepared: statements of SQL's PREPARE, which follow their client (MECHANISMS §4.6).
 *
 * They are the last items of a session profile: the name as PostgreSQL has it, and the text of the
 * PREPARE, as pg_prepared_statements shows it. A server is brought from one profile's statements to
 * another's by a Close of each that must go, which cannot fail, and a Query of each that must come,
 * which may: its table may be gone. Such a one is left out of what the server has, and tried again
 * when the server is next used.
 *
 * No I/O. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "ledger/session_settings.h"

/* The text that makes the statement `name` again, of one that PostgreSQL shows for it: the whole,
 * or the one PREPARE of that name in a text of several. False: it cannot be made again so that it
 * means the same (more than one of that name, a literal like 'now', a text in doubt). */
bool session_prepared_text(const char *shown, const char *name, char text[SESSION_VALUE_MAX + 1]);

/* Adds the statement. False: it cannot follow (as above; too many, too long; no memory). */
bool session_prepared_add(struct session_list *prepared, const char *name, const char *shown);

/* The item of that name; NULL: none. */
const struct session_setting *session_prepared_find(const struct session_profile *profile,
                                                    const char *name);

/* Writes a Close for each of `from` that `to` has not, or not so. Returns how many. */
int session_prepared_close(const struct session_profile *from, const struct session_profile *to,
                           struct bytes *out);
/* Writes a Query for each of `to` that `from` has not, or not so. Returns how many. */
int session_prepared_make(const struct session_profile *from, const struct session_profile *to,
                          struct bytes *out);
/* `to` without those of these Queries (the first: bit 0) that have failed; a reference. False: no
 * memory. */
bool session_prepared_without(const struct session_profile *from, struct session_profile *to,
                              uint64_t failed, struct session_profile **made);

/* What they may touch when they are executed: enum session_kind. */
uint32_t session_prepared_touches(const struct session_profile *profile);
