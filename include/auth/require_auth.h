/* require_auth: which ways of proving who we are a server may ask for, in libpq's words
 * (server_require_auth): a list of password, md5, scram-sha-256, none, gss and sspi; or of the same
 * with ! in front of each, for all others. Any thread; no state.
 */
#pragma once
#include "base/error.h"

enum server_auth_method {
    SERVER_AUTH_PASSWORD = 1, /* in clear */
    SERVER_AUTH_MD5 = 2,
    SERVER_AUTH_SCRAM = 4,
    SERVER_AUTH_NONE = 8,   /* the server asks for nothing */
    SERVER_AUTH_OTHER = 16, /* gss, sspi: pgweir cannot */
    SERVER_AUTH_ALL = 31
};

/* Into a set of the above; NULL and "" allow all. False: error says which word is wrong. */
bool require_auth_parse(const char *text, unsigned *allowed, struct error *error);
