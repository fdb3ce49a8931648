/* chunked: the chunked transfer coding (RFC 9112 §7.1), strictly, piece by piece.
 *
 * Tells where a body's bytes lie in what came, without copying them. Refused, as what two readers
 * could take for two things: sizes without digits or of more than 16, a bare LF or CR, extensions
 * of more than CHUNK_EXTENSION_MAX bytes, any control byte in them, and trailer fields. No I/O, no
 * allocation. Any thread.
 */
#pragma once
#include "base/cursor.h"

#define CHUNK_EXTENSION_MAX 64

struct chunked {
    uint8_t state;
    uint8_t digits, extension;
    uint64_t left; /* of the chunk that is being read */
};

enum chunked_verdict {
    CHUNKED_MORE, /* all of `input` was taken, and the body goes on */
    CHUNKED_DATA, /* *data is the next part of the body */
    CHUNKED_END,  /* the body is over */
    CHUNKED_BAD,
};

/* Begins a body with a zeroed struct. Takes bytes off the front of *input. */
enum chunked_verdict chunked_read(struct chunked *chunked, struct span *input, struct span *data);
