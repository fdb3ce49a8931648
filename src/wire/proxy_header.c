#include "wire/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

#define V2_HEAD        16 /* signature, version and command, family, length */
#define V2_VERSION     2
#define COMMAND_LOCAL  0
#define COMMAND_PROXY  1
#define FAMILY_INET    1
#define FAMILY_INET6   2
#define FAMILY_UNIX    3
#define IPV4_ADDRESSES 12 /* both addresses and ports */
#define IPV6_ADDRESSES 36
#define UNIX_ADDRESSES 216
#define PROTOCOL_NONE  0
#define PROTOCOL_TCP   1

static const uint8_t v1_start[] = "PROXY ";
static const uint8_t v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

static enum proxy_verdict bad(const char **why, const char *text)
{
    *why = text;
    return PROXY_BAD;
}

/* ---- v1: "PROXY TCP4 192.0.2.1 192.0.2.2 5000 5432\r\n" ---- */

/* The next word of a line, which ends with `line`; false: there is none, or it does not fit. Words
 * have exactly one space between them. */
static bool next_word(const char **line, char *word, size_t size)
{
    size_t length = strcspn(*line, " ");

    if (length == 0 || length >= size)
        return false;
    memcpy(word, *line, length);
    word[length] = '\0';
    *line += length;
    if (**line == ' ')
        ++*line;
    return true;
}

static bool next_address(const char **line, int family, uint8_t *address)
{
    char word[INET6_ADDRSTRLEN];

    return next_word(line, word, sizeof(word)) && inet_pton(family, word, address) == 1;
}

/* Decimal, without leading zeros. */
static bool next_port(const char **line, uint16_t *port)
{
    char word[6];
    unsigned long number = 0;

    if (!next_word(line, word, sizeof(word)) || (word[0] == '0' && word[1] != '\0'))
        return false;
    for (const char *digit = word; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9')
            return false;
        number = number * 10 + (unsigned long)(*digit - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX;
}

static bool take_v1_addresses(const char *line, int family, struct proxy_header *header)
{
    uint8_t destination[16];
    uint16_t destination_port;

    return next_address(&line, family, header->source) &&
           next_address(&line, family, destination) && next_port(&line, &header->source_port) &&
           line[-1] == ' ' && next_port(&line, &destination_port) && *line == '\0' &&
           line[-1] != ' ';
}

static enum proxy_verdict take_v1(const uint8_t *data, size_t size, struct proxy_header *header,
                                  const char **why)
{
    char text[PROXY_V1_MAX];
    size_t looked_at = size < PROXY_V1_MAX ? size : PROXY_V1_MAX;
    const uint8_t *end = memchr(data, '\n', looked_at);
    const char *line = text;
    char kind[8];

    if (end == NULL)
        return looked_at == PROXY_V1_MAX ? bad(why, "its line is too long") : PROXY_NEED_MORE;
    size_t length = (size_t)(end - data);
    if (data[length - 1] != '\r' || memchr(data, '\0', length) != NULL)
        return bad(why, "its line does not end with CR LF");
    memcpy(text, data + sizeof(v1_start) - 1, length - sizeof(v1_start));
    text[length - sizeof(v1_start)] = '\0';
    header->size = length + 1;
    if (!next_word(&line, kind, sizeof(kind)))
        return bad(why, "it names no family");
    if (strcmp(kind, "UNKNOWN") == 0)
        return PROXY_TAKEN; /* whatever stands behind it is to be skipped */
    header->family = strcmp(kind, "TCP4") == 0   ? PROXY_IPV4
                     : strcmp(kind, "TCP6") == 0 ? PROXY_IPV6
                                                 : PROXY_NOBODY;
    if (header->family == PROXY_NOBODY)
        return bad(why, "it names an unknown family");
    return take_v1_addresses(line, header->family == PROXY_IPV4 ? AF_INET : AF_INET6, header)
               ? PROXY_TAKEN
               : bad(why, "its addresses are wrong");
}

/* ---- v2 ---- */

static enum proxy_verdict take_v2_addresses(struct cursor *body, size_t size, size_t family,
                                            struct proxy_header *header, const char **why)
{
    static const struct {
        size_t all, address;
        enum proxy_family family;
    } families[] = {
        {0, 0, PROXY_NOBODY},
        {IPV4_ADDRESSES, 4, PROXY_IPV4},
        {IPV6_ADDRESSES, 16, PROXY_IPV6},
        {UNIX_ADDRESSES, 0, PROXY_NOBODY},
    };

    if (family > FAMILY_UNIX)
        return PROXY_TAKEN; /* of the future: nobody that we know */
    if (size < families[family].all)
        return bad(why, "it is too short for its addresses");
    header->family = families[family].family;
    if (header->family == PROXY_NOBODY)
        return PROXY_TAKEN;
    struct span source = cursor_bytes(body, families[family].address);
    cursor_bytes(body, families[family].address); /* the destination */
    memcpy(header->source, source.data, source.size);
    header->source_port = cursor_u16(body);
    return PROXY_TAKEN;
}

static enum proxy_verdict take_v2(const uint8_t *data, size_t size, struct proxy_header *header,
                                  const char **why)
{
    struct cursor cursor = cursor_over(data, size);

    cursor_bytes(&cursor, sizeof(v2_signature) - 1);
    uint8_t command = cursor_u8(&cursor), family = cursor_u8(&cursor);
    size_t length = cursor_u16(&cursor);
    if (!cursor_ok(&cursor))
        return PROXY_NEED_MORE;
    if (command >> 4 != V2_VERSION || (command & 0x0f) > COMMAND_PROXY)
        return bad(why, "its version or command is unknown");
    if (V2_HEAD + length > PROXY_HEADER_MAX)
        return bad(why, "it is longer than 536 bytes");
    if (size < V2_HEAD + length)
        return PROXY_NEED_MORE;
    header->size = V2_HEAD + length;
    if ((command & 0x0f) == COMMAND_LOCAL)
        return PROXY_TAKEN;
    if ((family & 0x0f) != PROTOCOL_TCP && family != PROTOCOL_NONE)
        return bad(why, "it is about another kind of connection than a stream");
    return take_v2_addresses(&cursor, length, (size_t)family >> 4, header, why);
}

/* ---- door ---- */

static bool begins_as(const uint8_t *data, size_t size, const uint8_t *start, size_t start_size)
{
    return memcmp(data, start, size < start_size ? size : start_size) == 0;
}

enum proxy_verdict proxy_header_parse(const uint8_t *data, size_t size, struct proxy_header *header,
                                      const char **why)
{
    *header = (struct proxy_header){0};
    *why = "";
    if (size == 0)
        return PROXY_NEED_MORE;
    if (begins_as(data, size, v1_start, sizeof(v1_start) - 1))
        return size < sizeof(v1_start) - 1 ? PROXY_NEED_MORE : take_v1(data, size, header, why);
    if (begins_as(data, size, v2_signature, sizeof(v2_signature) - 1))
        return take_v2(data, size, header, why);
    return bad(why, "there is none");
}
