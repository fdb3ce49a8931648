/* saslprep: a password as SCRAM hashes it (RFC 4013), by PostgreSQL's rule: what SASLprep refuses
 * is used as it is.
 *
 * ASCII is never changed. libidn's normalisation takes time by the square of the length, so text
 * that is not ASCII and longer than SASLPREP_BYTES_MAX is used as it is too; up to there it is
 * about 2 ms: on a helper thread. Tables are those of Unicode 3.2, as RFC 3454 has them: text with
 * characters assigned later is refused, that is, used as it is. Any thread.
 */
#pragma once
#include <stdbool.h>

#define SASLPREP_BYTES_MAX 4096

/* Into *prepared a new text (memory_free_secret), or NULL where `password` is to be used as it is.
 * False: no memory. */
bool saslprep(const char *password, char **prepared);
