#include "http/chunked.h"

enum state {
    SIZE,      /* hexadecimal digits */
    EXTENSION, /* behind a ';' */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LAST_CR, /* behind the chunk of size 0: no trailers */
    LAST_LF,
    OVER,
};

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool take_size(struct chunked *chunked, uint8_t byte)
{
    int digit = hex_digit(byte);

    if (digit >= 0) {
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return ++chunked->digits <= 16 && chunked->left <= UINT64_MAX >> 1;
    }
    if (byte == '\r')
        chunked->state = SIZE_LF;
    else if (byte == ';')
        chunked->state = EXTENSION;
    else
        return false;
    return chunked->digits > 0;
}

static bool take_extension(struct chunked *chunked, uint8_t byte)
{
    if (byte == '\r') {
        chunked->state = SIZE_LF;
        return true;
    }
    return ++chunked->extension <= CHUNK_EXTENSION_MAX && byte >= ' ' && byte != 0x7f;
}

static bool expect(struct chunked *chunked, uint8_t byte, uint8_t expected, enum state next)
{
    chunked->state = (uint8_t)next;
    return byte == expected;
}

/* One byte around the data. False: it may not stand there. */
static bool take_byte(struct chunked *chunked, uint8_t byte)
{
    switch ((enum state)chunked->state) {
    case SIZE:
        return take_size(chunked, byte);
    case EXTENSION:
        return take_extension(chunked, byte);
    case SIZE_LF:
        return expect(chunked, byte, '\n', chunked->left > 0 ? DATA : LAST_CR);
    case DATA_CR:
        return expect(chunked, byte, '\r', DATA_LF);
    case DATA_LF:
        chunked->digits = chunked->extension = 0;
        return expect(chunked, byte, '\n', SIZE);
    case LAST_CR:
        return expect(chunked, byte, '\r', LAST_LF);
    case LAST_LF:
        return expect(chunked, byte, '\n', OVER);
    case DATA:
    case OVER:
        break;
    }
    return false;
}

enum chunked_verdict chunked_read(struct chunked *chunked, struct span *input, struct span *data)
{
    while (chunked->state != OVER && input->size > 0) {
        if (chunked->state == DATA) {
            size_t part = input->size < chunked->left ? input->size : (size_t)chunked->left;
            *data = (struct span){input->data, part};
            *input = (struct span){input->data + part, input->size - part};
            chunked->left -= part;
            if (chunked->left == 0)
                chunked->state = DATA_CR;
            return CHUNKED_DATA;
        }
        if (!take_byte(chunked, input->data[0]))
            return CHUNKED_BAD;
        *input = (struct span){input->data + 1, input->size - 1};
    }
    return chunked->state == OVER ? CHUNKED_END : CHUNKED_MORE;
}
