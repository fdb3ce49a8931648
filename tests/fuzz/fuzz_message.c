/* A stream of messages: each lies inside the bytes, and where they were cut changes nothing. */
#include <assert.h>

#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT 4096

/* The same message with fewer bytes there. */
static void check_cut(const uint8_t *data, size_t cut, const struct message *whole)
{
    struct message part = {0};
    enum message_verdict verdict = message_peek(data, cut, LIMIT, &part);

    assert(verdict == (cut < MESSAGE_HEAD ? MESSAGE_NONE : MESSAGE_PARTIAL));
    if (verdict == MESSAGE_PARTIAL)
        assert(part.type == whole->type && part.size == whole->size &&
               part.body.size == cut - MESSAGE_HEAD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct message message;

    while (message_peek(data, size, LIMIT, &message) == MESSAGE_WHOLE) {
        assert(message.size >= MESSAGE_HEAD && message.size <= LIMIT && message.size <= size);
        assert(message.body.data + message.body.size == data + message.size);
        check_cut(data, message.size - 1, &message);
        check_cut(data, message.size / 2, &message);
        data += message.size;
        size -= message.size;
    }
    if (message_peek(data, size, LIMIT, &message) == MESSAGE_PARTIAL)
        assert(message.size > size && MESSAGE_HEAD + message.body.size == size);
    return 0;
}
