#include "gateway/json_text.h"

#include <string.h>
#include <yajl/yajl_parse.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* How many bytes a well-formed character (RFC 3629) at `at` has; 0: none begins there. */
static size_t character_size(const uint8_t *at, const uint8_t *end)
{
    uint8_t first = at[0], lowest = 0x80, highest = 0xbf;
    size_t size;

    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        size = 2;
    else if (first >= 0xe0 && first <= 0xef)
        size = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        size = 4;
    else
        return 0;
    if ((size_t)(end - at) < size)
        return 0;
    if (first == 0xe0)
        lowest = 0xa0; /* overlong */
    if (first == 0xed)
        highest = 0x9f; /* surrogates */
    if (first == 0xf0)
        lowest = 0x90;
    if (first == 0xf4)
        highest = 0x8f; /* beyond U+10FFFF */
    if (at[1] < lowest || at[1] > highest)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

static bool is_utf8(struct span text)
{
    for (size_t at = 0; at < text.size;) {
        size_t size = character_size(text.data + at, text.data + text.size);
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

static void put_escape(struct spool *spool, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    static const char *const names = "\"\"\\\\\bb\ff\nn\rr\tt";

    for (const char *name = names; *name != '\0'; name += 2)
        if ((uint8_t)*name == byte) {
            text[1] = name[1];
            spool_put(spool, text, 2);
            return;
        }
    spool_put(spool, text, sizeof(text));
}

static bool is_plain(uint8_t byte)
{
    return byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\';
}

void json_string(struct spool *spool, struct span text)
{
    if (text.size == 0) {
        spool_put(spool, "\"\"", 2);
        return;
    }
    const uint8_t *at = text.data, *end = text.data + text.size, *run = at;

    spool_put(spool, "\"", 1);
    while (at < end) {
        size_t size = is_plain(*at) ? 1 : character_size(at, end);
        if (size > 1 || (size == 1 && *at >= ' ' && *at != '"' && *at != '\\')) {
            at += size;
            continue;
        }
        spool_put(spool, run, (size_t)(at - run));
        if (size == 0)
            spool_text(spool, REPLACEMENT);
        else
            put_escape(spool, *at);
        run = ++at;
    }
    spool_put(spool, run, (size_t)(at - run));
    spool_put(spool, "\"", 1);
}

void json_string_text(struct spool *spool, const char *text)
{
    json_string(spool, (struct span){(const uint8_t *)text, strlen(text)});
}

void json_string_or_null(struct spool *spool, const char *text)
{
    if (text != NULL)
        json_string_text(spool, text);
    else
        spool_text(spool, "null");
}

static size_t digits_at(struct span text, size_t at)
{
    size_t start = at;

    while (at < text.size && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    return at - start;
}

bool json_is_number(struct span text)
{
    size_t at = text.size > 0 && text.data[0] == '-' ? 1 : 0;
    size_t digits = digits_at(text, at);

    if (digits == 0 || (digits > 1 && text.data[at] == '0'))
        return false;
    at += digits;
    if (at < text.size && text.data[at] == '.') {
        digits = digits_at(text, at + 1);
        at += 1 + digits;
        if (digits == 0)
            return false;
    }
    if (at < text.size && (text.data[at] | 0x20) == 'e') {
        at++;
        if (at < text.size && (text.data[at] == '+' || text.data[at] == '-'))
            at++;
        digits = digits_at(text, at);
        at += digits;
        if (digits == 0)
            return false;
    }
    return at == text.size;
}

bool json_is_value(struct span text)
{
    /* yajl takes some bytes for characters that are none. */
    yajl_handle handle = is_utf8(text) ? yajl_alloc(NULL, NULL, NULL) : NULL;

    if (handle == NULL)
        return false;
    bool is_value = text.size > 0 && yajl_parse(handle, text.data, text.size) == yajl_status_ok &&
                    yajl_complete_parse(handle) == yajl_status_ok;
    yajl_free(handle);
    return is_value;
}
