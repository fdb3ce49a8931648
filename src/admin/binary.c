#include "binary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE_BYTEA = 17, TYPE_INT8 = 20, TYPE_INT4 = 23, TYPE_NUMERIC = 1700 };

/* Decimal digits of one digit of numeric's base, 10000. */
#define GROUP_DIGITS 4
#define GROUPS_MAX   16

static bool read_integer(const char *text, int64_t lowest, int64_t highest, int64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *value >= lowest && *value <= highest;
}

static void put_int4(struct bytes *out, const char *text)
{
    int64_t value;
    if (!read_integer(text, INT32_MIN, INT32_MAX, &value))
        out->failed = true;
    bytes_u32(out, 4);
    bytes_u32(out, (uint32_t)value);
}

static void put_int8(struct bytes *out, const char *text)
{
    int64_t value;
    if (!read_integer(text, INT64_MIN, INT64_MAX, &value))
        out->failed = true;
    bytes_u32(out, 8);
    bytes_u32(out, (uint32_t)((uint64_t)value >> 32));
    bytes_u32(out, (uint32_t)value);
}

/* Groups of four digits, the first one perhaps shorter. */
static size_t split_groups(const char *digits, size_t size, uint16_t *groups)
{
    size_t count = (size + GROUP_DIGITS - 1) / GROUP_DIGITS, at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t until = size - (count - 1 - i) * GROUP_DIGITS;
        unsigned group = 0;
        for (; at < until; at++)
            group = group * 10 + (unsigned)(digits[at] - '0');
        groups[i] = (uint16_t)group;
    }
    return count;
}

/* Whole numbers only. PostgreSQL's numeric_send: count, weight, sign, scale, groups. */
static void put_numeric(struct bytes *out, const char *text)
{
    bool is_negative = *text == '-';
    const char *digits = text + is_negative;
    uint16_t groups[GROUPS_MAX];
    digits += strspn(digits, "0");
    size_t size = strspn(digits, "0123456789"), count = 0;
    if (digits[size] != 0 || size > (size_t)GROUPS_MAX * GROUP_DIGITS)
        out->failed = true;
    else
        count = split_groups(digits, size, groups);
    bytes_u32(out, (uint32_t)(8 + 2 * count));
    bytes_u16(out, (uint16_t)count);
    bytes_u16(out, (uint16_t)(count > 0 ? count - 1 : 0));
    bytes_u16(out, is_negative && count > 0 ? 0x4000 : 0);
    bytes_u16(out, 0);
    for (size_t i = 0; i < count; i++)
        bytes_u16(out, groups[i]);
}

static int hex_value(char digit)
{
    const char *digits = "0123456789abcdef";
    const char *found = digit ? strchr(digits, digit) : NULL;
    return found ? (int)(found - digits) : -1;
}

static void put_bytea(struct bytes *out, const char *text)
{
    size_t size = strlen(text);
    if (strncmp(text, "\\x", 2) != 0 || size % 2 != 0) {
        out->failed = true;
        return;
    }
    bytes_u32(out, (uint32_t)(size / 2 - 1));
    for (const char *at = text + 2; *at; at += 2) {
        int high = hex_value(at[0]), low = hex_value(at[1]);
        if (high < 0 || low < 0)
            out->failed = true;
        else
            bytes_u8(out, (uint8_t)(high << 4 | low));
    }
}

void binary_cell(struct bytes *out, uint32_t type, const char *text)
{
    if (!text) {
        bytes_u32(out, UINT32_MAX);
        return;
    }
    switch (type) {
    case TYPE_INT4:
        put_int4(out, text);
        break;
    case TYPE_INT8:
        put_int8(out, text);
        break;
    case TYPE_NUMERIC:
        put_numeric(out, text);
        break;
    case TYPE_BYTEA:
        put_bytea(out, text);
        break;
    default:
        bytes_u32(out, (uint32_t)strlen(text));
        bytes_text(out, text);
        break;
    }
}
