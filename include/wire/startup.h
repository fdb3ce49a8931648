/* startup: the packets without a type byte that open a connection.
 *
 * PostgreSQL manual, "Message Formats": StartupMessage, SSLRequest, GSSENCRequest, CancelRequest.
 * Parsing checks every length and terminator; results point into the bytes that were given. No
 * allocation. Any thread.
 */
#pragma once
#include "base/cursor.h"
#include "base/error.h"

#define STARTUP_PACKET_MAX     10000 /* PostgreSQL's MAX_STARTUP_PACKET_LENGTH */
#define STARTUP_PARAMETERS_MAX 128
#define CANCEL_KEY_MAX         256
#define PROTOCOL_3_0           UINT32_C(0x00030000)
#define PROTOCOL_3_2           UINT32_C(0x00030002)

enum startup_verdict {
    STARTUP_NEED_MORE, /* the packet is not complete */
    STARTUP_BAD,       /* closed: the error says why (08P01) */
    STARTUP_SSL_REQUEST,
    STARTUP_GSSENC_REQUEST,
    STARTUP_CANCEL_REQUEST,
    STARTUP_MESSAGE,
};

struct startup_parameter {
    const char *name, *value; /* zero-terminated within the packet */
};

/* One StartupMessage. Later duplicates of a name win, as in PostgreSQL: lookup with
 * startup_parameter(). */
struct startup_message {
    uint32_t protocol; /* major << 16 | minor, as sent; major is 3 */
    struct startup_parameter
        parameters[STARTUP_PARAMETERS_MAX]; /* in the order sent; more are an error */
    size_t count;
};

struct cancel_request {
    uint32_t process;
    struct span key; /* 4 (protocol 3.0) to CANCEL_KEY_MAX bytes */
};

struct startup_packet {
    size_t size; /* bytes of the packet, its length field included */
    struct startup_message message;
    struct cancel_request cancel;
};

/* Looks at the first packet of `data`. Texts of errors: COMPAT 7 ("bad packet header: 'HEX'", "old
 * V2 protocol not supported", "invalid startup packet layout: expected terminator as last byte",
 * ...). */
enum startup_verdict startup_parse(const uint8_t *data, size_t available,
                                   struct startup_packet *packet, struct error *error);

/* The last value sent for `name` (exact), or NULL. */
const char *startup_parameter(const struct startup_message *message, const char *name);

/* Splits the value of the parameter `options` as PostgreSQL does (white space separates, '\'
 * escapes), one setting a call: "-c n=v", "-cn=v", "--n=v". *options advances. Writes name and
 * value, zero-terminated, into `memory`. Returns 1: a setting, 0: no more, -1: something else (text
 * of COMPAT 7 in error) or too long for `memory`. */
int startup_next_option(const char **options, char *memory, size_t memory_size, const char **name,
                        const char **value, struct error *error);
