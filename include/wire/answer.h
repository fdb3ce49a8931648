/* answer: what stands in the messages that servers send. PostgreSQL manual, "Message Formats".
 *
 * Parsers get a whole body; false: malformed. Results point into the body. No allocation. Any
 * thread.
 */
#pragma once
#include "base/cursor.h"

/* ErrorResponse and NoticeResponse: the fields that pgweir reads; "" when absent, never NULL. */
struct error_response {
    const char *severity; /* V, else S */
    const char *sqlstate; /* C */
    const char *message;  /* M */
    const char *detail;   /* D */
    const char *hint;     /* H */
    const char *routine;  /* R */
};
bool error_response_read(struct span body, struct error_response *error);

/* ParameterStatus. */
bool parameter_status_read(struct span body, const char **name, const char **value);

/* BackendKeyData: key of 4 to 256 bytes (protocol 3.2). */
bool backend_key_data_read(struct span body, uint32_t *process, struct span *key);

/* ReadyForQuery: 'I', 'T' or 'E'. */
bool ready_for_query_read(struct span body, uint8_t *status);

/* AuthenticationRequest: the code, and what follows it. */
enum {
    AUTHENTICATION_OK = 0,
    AUTHENTICATION_CLEARTEXT = 3,
    AUTHENTICATION_MD5 = 5,
    AUTHENTICATION_SASL = 10,
    AUTHENTICATION_SASL_CONTINUE = 11,
    AUTHENTICATION_SASL_FINAL = 12,
};
bool authentication_read(struct span body, uint32_t *code, struct span *rest);

/* True when the list of SASL mechanisms (zero-terminated texts, then an empty one) names
 * `mechanism`. */
bool sasl_mechanisms_have(struct span list, const char *mechanism);

/* NegotiateProtocolVersion: newest minor as the server put it, and how many options it refused. */
bool negotiate_protocol_read(struct span body, uint32_t *version, uint32_t *refused);

/* CommandComplete's tag ("SELECT 5"). */
bool command_tag_read(struct span body, const char **tag);

/* DataRow: column `index` of the row; *value.data NULL for SQL NULL. */
bool data_row_column(struct span body, unsigned index, struct span *value);
bool data_row_count(struct span body, unsigned *columns);
