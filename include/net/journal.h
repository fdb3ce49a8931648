/* journal: an entry for systemd's journal, by its own protocol ("Native Journal Protocol"): for the
 * audit. A socket of its own for each: there are few. Any thread; may block while the journal is
 * behind. */
#pragma once
#include <stdbool.h>

/* Informational, of facility authpriv, one line of text. False: there is no journal, or it took
 * none. */
bool journal_send(const char *ident, const char *text);
