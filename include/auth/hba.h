/* hba: which method a client must prove itself by, by the first rule of a file that fits:
 * PostgreSQL's pg_hba.conf as far as COMPAT 4.4 has it.
 *
 * Owns rules and the ident maps they name. Read whole or not at all; what PostgreSQL knows and
 * pgweir does not is refused, never skipped: a rule that is left out lets a later one decide.
 * Immutable and reference-counted; any thread may match. hba_load blocks (files, interfaces).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/ident.h"
#include "base/error.h"

enum hba_method {
    HBA_TRUST,
    HBA_REJECT,
    HBA_PASSWORD,
    HBA_MD5,
    HBA_SCRAM_SHA_256,
    HBA_CERT,
    HBA_PASSTHROUGH,
};

enum hba_client_certificate {
    HBA_CERTIFICATE_ANY,   /* none is asked for */
    HBA_CERTIFICATE_VALID, /* clientcert=verify-ca: one that verifies */
    HBA_CERTIFICATE_NAMED, /* clientcert=verify-full: and whose name is the user's */
};

/* What a login needs to know of the rule. */
struct hba_verdict {
    enum hba_method method;
    enum hba_client_certificate certificate;
    const char *map; /* or NULL; as long as the hba */
    int line;
};

struct hba;

struct hba_request {
    const char *database, *user;
    bool is_physical_replication;
    bool is_tls;
    const void *address; /* struct sockaddr * */
    bool is_proxied;     /* said by a proxy: it is never this machine's own (THREATS §3.5) */
};

/* What is accepted but should be said. */
typedef void hba_warning(void *argument, const char *file, int line, const char *text);

struct hba_source {
    const char *file;       /* for errors, and the folder of @FILEs */
    const char *ident_file; /* NULL or "": none */
    hba_warning *warning;   /* NULL: nobody listens */
    void *argument;
};

/* NULL: error says "FILE:LINE: reason". hba_parse() takes over `ident` (NULL: no maps), and refuses
 * @FILEs. */
struct hba *hba_load(const struct hba_source *source, struct error *error);
struct hba *hba_parse(const struct hba_source *source, struct ident *ident, const void *data,
                      size_t size, struct error *error);
const struct hba *hba_acquire(const struct hba *hba); /* NULL gives NULL */
void hba_release(const struct hba *hba);

/* False: no rule fits. */
bool hba_match(const struct hba *hba, const struct hba_request *request,
               struct hba_verdict *verdict);
const struct ident *hba_ident(const struct hba *hba);
/* The line of the first rule that may make clients of this database prove themselves to its server
 * (passthrough); 0: none. NULL: of databases that no rule names. */
int hba_passthrough_line(const struct hba *hba, const char *database);
/* The line of the first rule that needs certificates of clients; 0: none. */
int hba_certificate_line(const struct hba *hba);
