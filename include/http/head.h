/* head: the strict reader of HTTP request heads (RFC 9112), for the endpoint and for whatever else
 * speaks HTTP/1.1.
 *
 * Takes the bytes of one head, from its request line to its empty line, and says what they are or
 * why they are refused. Whatever two readers could understand in two ways is refused (THREATS
 * §4.1): folded lines, a space before the colon, a bare LF or CR, control characters, several or
 * differing Content-Length or Transfer-Encoding, both of them, a transfer coding that is not
 * exactly `chunked`, `chunked` in HTTP/1.0, two Host fields, an Upgrade with a body. The spans
 * point into the input. No I/O, no allocation. Any thread.
 */
#pragma once
#include "base/cursor.h"

#define HTTP_HEAD_MAX   16384
#define HTTP_FIELDS_MAX 100

enum http_verdict {
    HTTP_MORE,  /* not all there yet, and nothing wrong so far */
    HTTP_WHOLE, /* `size` bytes of the input are the head */
    HTTP_BAD,   /* answer `status` with `why`, and close: what follows cannot be trusted */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OPTIONS, HTTP_OTHER };

struct http_field {
    struct span name, value; /* without the white space around the value */
};

struct http_head {
    enum http_method method;
    struct span target;      /* as sent: begins with '/', or is "*" (OPTIONS only) */
    struct span path, query; /* around its first '?' */
    int minor;               /* HTTP/1.`minor`: 0 or 1 */
    size_t size;
    struct http_field fields[HTTP_FIELDS_MAX];
    int count;
    struct span host; /* empty: none (HTTP/1.0 only) */
    uint64_t length;  /* Content-Length; 0 without one */
    bool has_length, is_chunked, has_upgrade;
    bool keep_alive; /* what the version and Connection say */
    int status;
    const char *why; /* literal */
};

/* Reads the head at the front of `input`. More than HTTP_HEAD_MAX bytes without an end are 431. */
enum http_verdict http_head_read(struct span input, struct http_head *head);

/* The first field of this name (compared without case), or an empty span without data. */
struct span http_head_field(const struct http_head *head, const char *name);

/* Without case. */
bool http_is(struct span text, const char *word);
