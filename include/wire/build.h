/* build: the messages that pgweir itself sends, into a `struct bytes`. PostgreSQL manual, "Message
 * Formats".
 *
 * What does not fit leaves bytes->failed set. No allocation but the writer's own. Any thread.
 */
#pragma once
#include "base/bytes.h"
#include "base/error.h"
#include "wire/startup.h"

/* Opens a message of `type`; message_end(bytes, mark) writes its length. */
size_t message_begin(struct bytes *bytes, uint8_t type);
void message_end(struct bytes *bytes, size_t mark);

/* To clients. */
void build_authentication(struct bytes *bytes, uint32_t code, const void *rest, size_t rest_size);
void build_sasl_mechanisms(struct bytes *bytes, const char *const *mechanisms, size_t count);
void build_parameter_status(struct bytes *bytes, const char *name, const char *value);
void build_backend_key_data(struct bytes *bytes, uint32_t process, const void *key,
                            size_t key_size);
void build_ready_for_query(struct bytes *bytes, uint8_t status);
/* Fields S, C, M only (COMPAT, "How to read it"), and H where the error has a hint. severity:
 * "FATAL", "ERROR", ... */
void build_error(struct bytes *bytes, const char *severity, const struct error *error);
/* The ErrorResponse with this body, with `to` for the first `from` in its field M. */
void build_error_renamed(struct bytes *bytes, struct span body, const char *from, const char *to);
void build_notice(struct bytes *bytes, const char *sqlstate, const char *message,
                  const char *detail);
void build_command_complete(struct bytes *bytes, const char *tag);
void build_empty(struct bytes *bytes,
                 uint8_t type); /* a message without body: '1', '2', '3', 'n', 'I', ... */
/* `newest` is the version as an integer (0x00030000 or 0x00030002); names: the _pq_. options not
 * known. */
void build_negotiate_protocol(struct bytes *bytes, uint32_t newest, const char *const *names,
                              size_t count);

/* One column of a RowDescription in text format: type OID and size as COMPAT 5.3. */
struct column {
    const char *name;
    uint32_t type;
    int16_t type_size;
};
void build_row_description(struct bytes *bytes, const struct column *columns, size_t count);
/* A DataRow: begin with the count, one call a column (NULL: SQL NULL), end. */
size_t data_row_begin(struct bytes *bytes, size_t columns);
void data_row_text(struct bytes *bytes, const char *text);
void data_row_end(struct bytes *bytes, size_t mark);

/* To servers. */
void build_ssl_request(struct bytes *bytes);
void build_startup(struct bytes *bytes, uint32_t protocol,
                   const struct startup_parameter *parameters, size_t count);
void build_cancel_request(struct bytes *bytes, uint32_t process, const void *key, size_t key_size);
void build_password(struct bytes *bytes, const void *data,
                    size_t size); /* 'p', with a zero byte behind */
void build_sasl_initial(struct bytes *bytes, const char *mechanism, const void *data, size_t size);
void build_sasl_response(struct bytes *bytes, const void *data, size_t size); /* 'p', without */
void build_query(struct bytes *bytes, const char *text);
void build_parse(struct bytes *bytes, const char *name, const char *query, struct span types,
                 uint16_t type_count);
void build_bind(struct bytes *bytes, const char *portal, const char *statement,
                const char *const *values, size_t count); /* text values, text results */
void build_target(struct bytes *bytes, uint8_t type, uint8_t kind,
                  const char *name); /* 'D' or 'C' */
void build_execute(struct bytes *bytes, const char *portal, uint32_t max_rows);
void build_simple(struct bytes *bytes, uint8_t type); /* 'S', 'H', 'X', 'c' */
