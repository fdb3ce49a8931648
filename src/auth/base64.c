#include "auth/base64.h"

#define NOT_A_DIGIT 64u

size_t base64_encode(const void *data, size_t size, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *from = data;
    char *to = text;

    for (; size >= 3; size -= 3, from += 3) {
        *to++ = digits[from[0] >> 2];
        *to++ = digits[(from[0] & 3) << 4 | from[1] >> 4];
        *to++ = digits[(from[1] & 15) << 2 | from[2] >> 6];
        *to++ = digits[from[2] & 63];
    }
    if (size > 0) {
        unsigned second = size == 2 ? from[1] : 0;
        *to++ = digits[from[0] >> 2];
        *to++ = digits[(from[0] & 3u) << 4 | second >> 4];
        *to++ = size == 2 ? digits[(second & 15) << 2] : '=';
        *to++ = '=';
    }
    *to = '\0';
    return (size_t)(to - text);
}

static unsigned digit_value(uint8_t digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - (unsigned)'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - (unsigned)'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - (unsigned)'0' + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : NOT_A_DIGIT;
}

static size_t padding_of(struct span text)
{
    if (text.data[text.size - 1] != '=')
        return 0;
    return text.data[text.size - 2] == '=' ? 2 : 1;
}

bool base64_decode(struct span text, uint8_t *data, size_t capacity, size_t *size)
{
    *size = 0;
    if (text.size == 0 || text.size % 4 != 0)
        return text.size == 0;

    size_t padding = padding_of(text);
    size_t digits = text.size - padding;
    size_t bytes = text.size / 4 * 3 - padding;
    if (bytes > capacity)
        return false;

    struct cursor cursor = cursor_over(text.data, digits);
    uint32_t bits = 0;
    size_t written = 0;
    for (size_t i = 0; i < digits; i++) {
        unsigned value = digit_value(cursor_u8(&cursor));
        if (value == NOT_A_DIGIT)
            return false;
        bits = bits << 6 | value;
        /* Digit 4n + k completes a byte but for k = 0; 6, 4, 2 or 0 bits stay over. */
        if (i % 4 != 0)
            data[written++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    if (padding > 0 && (bits & (padding == 2 ? 15u : 3u)) != 0)
        return false;
    *size = written;
    return true;
}
