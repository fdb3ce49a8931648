/* proxy_header: what a load balancer says in front of a connection that it passes on: PROXY
 * protocol v1 (a line of text) and v2 (binary), by HAProxy's specification of 2020.
 *
 * No I/O, no allocation. It stands before anything else, TLS too. At most PROXY_HEADER_MAX bytes
 * are believed (THREATS §3.5): an address block of 36 bytes, and TLVs, which are skipped. Strict:
 * numbers and addresses of v1 in their plain form, of v2 stream sockets only.
 */
#pragma once
#include "base/cursor.h"

#define PROXY_HEADER_MAX 536
#define PROXY_V1_MAX     107 /* with its line end */

enum proxy_verdict {
    PROXY_NEED_MORE,
    PROXY_BAD, /* no header, or none that is right */
    PROXY_TAKEN,
};

enum proxy_family {
    PROXY_NOBODY, /* LOCAL, UNKNOWN, a Unix socket, an unknown family: no address is said */
    PROXY_IPV4,
    PROXY_IPV6,
};

struct proxy_header {
    size_t size; /* bytes of it, TLVs too */
    enum proxy_family family;
    uint8_t source[16]; /* network order; of IPv4 the first four */
    uint16_t source_port;
};

/* `size` unread bytes. With PROXY_BAD *why is a literal. */
enum proxy_verdict proxy_header_parse(const uint8_t *data, size_t size, struct proxy_header *header,
                                      const char **why);
