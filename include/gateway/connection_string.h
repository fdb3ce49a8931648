/* connection_string: the header Neon-Connection-String (SERVERLESS §4, THREATS §4.4).
 *
 * postgres:// or postgresql://, user:password@host[:port]/database?name=value&..., percent-encoded.
 * User, password and database come from their places alone; what names files, other hosts or
 * another protocol is refused, what is for a client's own library is dropped, everything else
 * becomes a parameter of the startup packet. Nothing is dialled or opened. No I/O. Any thread.
 */
#pragma once
#include "base/bytes.h"
#include "base/error.h"

#define CONNECTION_STRING_MAX            16384
#define CONNECTION_STRING_PARAMETERS_MAX 32

struct connection_string {
    const char *user, *password, *database, *host; /* password NULL: none */
    const char *names[CONNECTION_STRING_PARAMETERS_MAX], *values[CONNECTION_STRING_PARAMETERS_MAX];
    unsigned parameter_count;
    struct bytes memory; /* owns the texts */
};

/* False: `error` says why, without a word of the text. Ended by connection_string_finish in either
 * case. */
bool connection_string_read(struct span text, struct connection_string *string,
                            struct error *error);
void connection_string_finish(struct connection_string *string); /* wipes */
