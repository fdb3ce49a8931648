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

/* 64 for what is no digit. */
static const uint8_t digit_values[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64, 64, 0,  1,  2,  3,  4,  5,  6,
    7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
    49, 50, 51, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
};

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

    const uint8_t *at = text.data;
    uint32_t bits = 0, wrong = 0;
    size_t written = 0;
    for (; digits >= 4; digits -= 4, at += 4, written += 3) {
        uint32_t a = digit_values[at[0]], b = digit_values[at[1]], c = digit_values[at[2]],
                 d = digit_values[at[3]];
        wrong |= a | b | c | d;
        bits = a << 18 | b << 12 | c << 6 | d;
        data[written] = (uint8_t)(bits >> 16);
        data[written + 1] = (uint8_t)(bits >> 8);
        data[written + 2] = (uint8_t)bits;
    }
    for (size_t i = 0; i < digits; i++) { /* of a last group with padding: two or three */
        uint32_t value = digit_values[at[i]];
        wrong |= value;
        bits = bits << 6 | value;
        if (i > 0)
            data[written++] = (uint8_t)(bits >> (6 - 2 * i));
    }
    if (wrong & NOT_A_DIGIT)
        return false;
    if (padding > 0 && (bits & (padding == 2 ? 15u : 3u)) != 0)
        return false;
    *size = written;
    return true;
}
