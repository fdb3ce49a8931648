/* message: where one protocol message ends and the next begins.
 *
 * PostgreSQL manual, "Message Formats": after the startup phase each message is a type byte, a
 * 32-bit length that counts itself, and a body. Nothing here looks inside a body, allocates, or
 * reads past what it was given. Any thread.
 */
#pragma once
#include "base/cursor.h"

#define MESSAGE_HEAD 5 /* type and length */

/* What stands at the start of some bytes. */
struct message {
    uint8_t type;
    uint32_t size;    /* of the whole message, head included: 5 .. 2^31 */
    struct span body; /* as much of it as is there: body.size < size - MESSAGE_HEAD when a part is
                         missing */
};

enum message_verdict {
    MESSAGE_WHOLE,   /* *message describes it, its body is all there */
    MESSAGE_PARTIAL, /* the head is there, the body is not complete */
    MESSAGE_NONE,    /* fewer than MESSAGE_HEAD bytes: nothing known */
    MESSAGE_BAD,     /* a length under 4, or a size over `limit` */
};

/* Looks at the first message of `data`. `limit` is the largest size (head included) to believe. */
static inline enum message_verdict message_peek(const uint8_t *data, size_t available, size_t limit,
                                                struct message *message)
{
    if (data == NULL || available < MESSAGE_HEAD)
        return MESSAGE_NONE;
    uint32_t length =
        (uint32_t)data[1] << 24 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 8 | data[4];
    if (length < 4 || length > UINT32_C(0x7ffffffe) || (size_t)length + 1 > limit)
        return MESSAGE_BAD;
    message->type = data[0];
    message->size = length + 1;
    size_t there = available < message->size ? available : message->size;
    message->body = (struct span){data + MESSAGE_HEAD, there - MESSAGE_HEAD};
    return there == message->size ? MESSAGE_WHOLE : MESSAGE_PARTIAL;
}
