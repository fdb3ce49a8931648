#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "log_private.h"

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the character at `at` that may stand in a log as they are; 0: the byte must be escaped.
 * C1 controls (U+0080 to U+009F) steer terminals as the ASCII ones do; and journald hides a line
 * that is not UTF-8. */
static size_t printable_bytes(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7f ? 1 : 0;
    if (at[0] < 0xc2 || at[0] > 0xf4 || !is_continuation(at[1]))
        return 0;
    if (at[0] < 0xe0)
        return at[0] == 0xc2 && at[1] < 0xa0 ? 0 : 2;
    if (!is_continuation(at[2]))
        return 0;
    if (at[0] < 0xf0) /* neither a longer form than needed nor a surrogate */
        return (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) ? 0 : 3;
    if (!is_continuation(at[3]))
        return 0;
    return (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90) ? 0 : 4;
}

static size_t escape_byte(char escape[5], unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    const char *letter = byte != '\0' ? strchr("\nn\tt\rr", byte) : NULL;

    escape[0] = '\\';
    if (letter != NULL && byte < 0x20) {
        escape[1] = letter[1];
        return 2;
    }
    escape[1] = 'x';
    escape[2] = digits[byte >> 4];
    escape[3] = digits[byte & 15];
    return 4;
}

size_t log_escape(char *to, size_t to_size, const char *from)
{
    size_t length = 0;

    while (*from != '\0') {
        char escape[5];
        size_t taken = printable_bytes(from);
        const char *piece = taken > 0 ? from : escape;
        size_t size = taken > 0 ? taken : escape_byte(escape, (unsigned char)*from);
        if (length + size >= to_size)
            break;
        memcpy(to + length, piece, size);
        length += size;
        from += taken > 0 ? taken : 1;
    }
    to[length] = '\0';
    return length;
}

size_t log_make_text(char *to, size_t to_size, const char *subject, const char *format,
                     va_list arguments)
{
    char raw[LOG_LINE_MAX];
    size_t length = 0;

    if (subject != NULL && subject[0] != '\0') {
        length = log_escape(to, to_size - 1, subject);
        to[length++] = ' ';
    }
    if (vsnprintf(raw, sizeof(raw), format, arguments) < 0)
        raw[0] = '\0';
    return length + log_escape(to + length, to_size - length, raw);
}

size_t log_make_line(char *to, size_t to_size, usec_t when, const char *level, const char *text)
{
    time_t second = (time_t)(when / USEC_PER_SEC);
    int millisecond = (int)(when % USEC_PER_SEC / USEC_PER_MSEC);
    char date[32], zone[16];
    struct tm local;

    localtime_r(&second, &local);
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local);
    if (strftime(zone, sizeof(zone), "%Z", &local) == 0)
        strcpy(zone, "-");
    int length = snprintf(to, to_size, "%s.%03d %s [%d] %s %s\n", date, millisecond, zone,
                          (int)getpid(), level, text);
    return length > 0 && (size_t)length < to_size ? (size_t)length : to_size - 1;
}

size_t log_put_json(char *to, size_t to_size, const char *text, size_t text_size)
{
    size_t length = 0;

    for (size_t i = 0; i < text_size; i++) {
        bool is_special = text[i] == '"' || text[i] == '\\';
        if (length + is_special + 1 > to_size) {
            while (length > 0 && is_continuation((unsigned char)text[i]) && i > 0) {
                i--;
                length--;
            }
            break;
        }
        if (is_special)
            to[length++] = '\\';
        to[length++] = text[i];
    }
    return length;
}

/* "C-0x1234: db/user@address message": where the parts of a prefix end; 0: there is none. */
static size_t prefix_size(const char *text, size_t *connection_size)
{
    if ((text[0] != 'C' && text[0] != 'S') || strncmp(text + 1, "-0x", 3) != 0)
        return 0;
    const char *colon = strchr(text, ':');
    const char *end = colon != NULL && colon[1] == ' ' ? strchr(colon + 2, ' ') : NULL;
    if (end == NULL)
        return 0;
    *connection_size = (size_t)(colon - text);
    return (size_t)(end - text);
}

size_t log_make_json(char *to, size_t to_size, usec_t when, const char *level, const char *text)
{
    time_t second = (time_t)(when / USEC_PER_SEC);
    int millisecond = (int)(when % USEC_PER_SEC / USEC_PER_MSEC);
    size_t connection = 0, prefix = prefix_size(text, &connection), end = to_size - 4;
    char date[32];
    struct tm utc;

    gmtime_r(&second, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    int head = snprintf(to, to_size, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"pid\":%d,", date,
                        millisecond, level, (int)getpid());
    size_t length = (size_t)head;
    if (prefix > 0) {
        length += (size_t)snprintf(to + length, to_size - length,
                                   "\"connection\":\"%.*s\",\"subject\":\"", (int)connection, text);
        length += log_put_json(to + length, end - length - 16, text + connection + 2,
                               prefix - connection - 2);
        length += (size_t)snprintf(to + length, to_size - length, "\",");
        text += prefix + 1;
    }
    length += (size_t)snprintf(to + length, to_size - length, "\"message\":\"");
    length += log_put_json(to + length, end - length, text, strlen(text));
    memcpy(to + length, "\"}\n", 4);
    return length + 3;
}
