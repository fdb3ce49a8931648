#include "wire/startup.h"

#include <string.h>

#define STARTUP_HEAD   8 /* length and code */
#define CODE_CANCEL    UINT32_C(80877102)
#define CODE_SSL       UINT32_C(80877103)
#define CODE_GSSENC    UINT32_C(80877104)
#define CANCEL_HEAD    12 /* length, code, process */
#define CANCEL_KEY_MIN 4

static enum startup_verdict bad_header(const uint8_t *data, size_t available, struct error *error)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * STARTUP_HEAD + 1];
    size_t shown = available < STARTUP_HEAD ? available : STARTUP_HEAD;
    struct cursor cursor = cursor_over(data, shown);

    for (size_t i = 0; i < shown; i++) {
        uint8_t byte = cursor_u8(&cursor);
        hex[2 * i] = digits[byte >> 4];
        hex[2 * i + 1] = digits[byte & 15];
    }
    hex[2 * shown] = '\0';
    error_set(error, SQLSTATE_PROTOCOL_VIOLATION, "bad packet header: '%s'", hex);
    return STARTUP_BAD;
}

static enum startup_verdict bad_layout(struct error *error)
{
    error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
              "invalid startup packet layout: expected terminator as last byte");
    return STARTUP_BAD;
}

static enum startup_verdict take_cancel(struct cursor body, struct cancel_request *cancel)
{
    cancel->process = cursor_u32(&body);
    cancel->key = cursor_rest(&body, CANCEL_KEY_MAX);
    return STARTUP_CANCEL_REQUEST;
}

/* Names and values up to an empty name, which must be the packet's last byte. */
static enum startup_verdict take_parameters(struct cursor body, struct startup_message *message,
                                            struct error *error)
{
    message->count = 0;
    for (;;) {
        const char *name = cursor_string(&body);
        if (name == NULL)
            return bad_layout(error);
        if (name[0] == '\0')
            break;
        const char *value = cursor_string(&body);
        if (value == NULL)
            return bad_layout(error);
        if (message->count == STARTUP_PARAMETERS_MAX) {
            error_set(error, SQLSTATE_PROTOCOL_VIOLATION, "more than %d startup parameters",
                      STARTUP_PARAMETERS_MAX);
            return STARTUP_BAD;
        }
        message->parameters[message->count++] = (struct startup_parameter){name, value};
    }
    return cursor_finished(&body) ? STARTUP_MESSAGE : bad_layout(error);
}

/* What a head announces, judged before any byte behind it is waited for. */
static enum startup_verdict judge_head(uint32_t size, uint32_t code)
{
    if (code == CODE_SSL)
        return size == STARTUP_HEAD ? STARTUP_SSL_REQUEST : STARTUP_BAD;
    if (code == CODE_GSSENC)
        return size == STARTUP_HEAD ? STARTUP_GSSENC_REQUEST : STARTUP_BAD;
    if (code == CODE_CANCEL)
        return size >= CANCEL_HEAD + CANCEL_KEY_MIN && size <= CANCEL_HEAD + CANCEL_KEY_MAX
                   ? STARTUP_CANCEL_REQUEST
                   : STARTUP_BAD;
    if (code >> 16 == 3 && size > STARTUP_HEAD && size <= STARTUP_PACKET_MAX)
        return STARTUP_MESSAGE;
    return STARTUP_BAD;
}

enum startup_verdict startup_parse(const uint8_t *data, size_t available,
                                   struct startup_packet *packet, struct error *error)
{
    struct cursor head = cursor_over(data, available);
    uint32_t size = cursor_u32(&head);
    uint32_t code = cursor_u32(&head);

    if (!cursor_ok(&head))
        return STARTUP_NEED_MORE;
    if (code >> 16 == 2 && size >= STARTUP_HEAD && size <= STARTUP_PACKET_MAX) {
        error_set(error, SQLSTATE_PROTOCOL_VIOLATION, "old V2 protocol not supported");
        return STARTUP_BAD;
    }
    enum startup_verdict verdict = judge_head(size, code);
    if (verdict == STARTUP_BAD)
        return bad_header(data, available, error);
    if (available < size)
        return STARTUP_NEED_MORE;
    packet->size = size;
    struct span body = cursor_bytes(&head, size - STARTUP_HEAD);
    if (verdict == STARTUP_CANCEL_REQUEST)
        return take_cancel(cursor_over(body.data, body.size), &packet->cancel);
    if (verdict != STARTUP_MESSAGE)
        return verdict;
    packet->message.protocol = code;
    return take_parameters(cursor_over(body.data, body.size), &packet->message, error);
}

const char *startup_parameter(const struct startup_message *message, const char *name)
{
    for (size_t i = message->count; i > 0; i--)
        if (strcmp(message->parameters[i - 1].name, name) == 0)
            return message->parameters[i - 1].value;
    return NULL;
}

/* isspace() of the C locale: what a client sends must not depend on ours. */
static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Takes one word, unescaped, into `memory`. A '\' at the very end escapes nothing and is dropped,
 * as in PostgreSQL. False: it does not fit. An empty word: none was left. */
static bool take_word(const char **options, char *memory, size_t memory_size)
{
    const char *at = *options;
    size_t length = 0;

    if (memory_size == 0)
        return false;
    while (is_space(*at))
        at++;
    while (*at != '\0' && !is_space(*at)) {
        if (*at == '\\' && *++at == '\0')
            break;
        if (length + 1 == memory_size)
            return false;
        memory[length++] = *at++;
    }
    memory[length] = '\0';
    *options = at;
    return true;
}

static int bad_option(struct error *error)
{
    error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
              "unsupported options startup parameter: only '-c config=val' and '--config=val' "
              "are allowed");
    return -1;
}

static int option_too_long(size_t limit, struct error *error)
{
    error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
              "unsupported options startup parameter: a setting is longer than %zu bytes", limit);
    return -1;
}

/* Splits "name=value" in place; '-' in a name means '_', as in PostgreSQL. */
static bool split_setting(char *setting, const char **name, const char **value)
{
    char *equals = strchr(setting, '=');

    if (equals == NULL || equals == setting)
        return false;
    *equals = '\0';
    for (char *at = setting; at < equals; at++)
        if (*at == '-')
            *at = '_';
    *name = setting;
    *value = equals + 1;
    return true;
}

int startup_next_option(const char **options, char *memory, size_t memory_size, const char **name,
                        const char **value, struct error *error)
{
    char *setting = memory;

    if (!take_word(options, memory, memory_size))
        return option_too_long(memory_size, error);
    if (memory[0] == '\0')
        return 0;
    if (strcmp(memory, "-c") == 0) {
        if (!take_word(options, memory, memory_size))
            return option_too_long(memory_size, error);
    } else if (strncmp(memory, "-c", 2) == 0 || strncmp(memory, "--", 2) == 0) {
        setting += 2;
    } else {
        return bad_option(error);
    }
    return split_setting(setting, name, value) ? 1 : bad_option(error);
}
