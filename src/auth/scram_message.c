#include "scram_message.h"

#include <string.h>

#include "auth/base64.h"
#include "base/memory.h"
#include "base/random.h"

#define MALFORMED "malformed SCRAM message: "

struct span scram_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

bool scram_message_check(struct span message, struct error *error)
{
    if (message.size == 0)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION, MALFORMED "it is empty");
    if (message.size > SCRAM_MESSAGE_MAX)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION, MALFORMED "longer than %d bytes",
                         SCRAM_MESSAGE_MAX);
    if (memchr(message.data, 0, message.size) != NULL)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION, MALFORMED "it holds a zero byte");
    return true;
}

/* What stands before the next comma, or all that is left. */
static struct span take_value(struct cursor *message)
{
    size_t left = cursor_left(message);
    const uint8_t *comma = left > 0 ? memchr(message->at, ',', left) : NULL;
    return cursor_bytes(message, comma != NULL ? (size_t)(comma - message->at) : left);
}

static bool mandatory_extension(struct error *error)
{
    return error_set(error, SQLSTATE_FEATURE_NOT_SUPPORTED,
                     "a mandatory SCRAM extension is required, but none is supported");
}

bool scram_begins_with(struct cursor message, char letter)
{
    return cursor_u8(&message) == (uint8_t)letter;
}

bool scram_take(struct cursor *message, char name, struct span *value, struct error *error)
{
    uint8_t letter = cursor_u8(message);
    uint8_t equals = cursor_u8(message);

    if (cursor_ok(message) && letter == 'm' && equals == '=')
        return mandatory_extension(error);
    if (!cursor_ok(message) || letter != (uint8_t)name || equals != '=')
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION, MALFORMED "attribute \"%c\" expected",
                         name);
    *value = take_value(message);
    return true;
}

bool scram_take_next(struct cursor *message, char name, struct span *value, struct error *error)
{
    if (cursor_left(message) == 0)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         MALFORMED "attribute \"%c\" is missing", name);
    cursor_u8(message); /* the comma at which the last value ended */
    return scram_take(message, name, value, error);
}

bool scram_skip_extensions(struct cursor *message, char last, struct error *error)
{
    while (cursor_left(message) > 0) {
        struct cursor ahead = *message;
        cursor_u8(&ahead); /* the comma */
        uint8_t letter = cursor_u8(&ahead);
        uint8_t equals = cursor_u8(&ahead);
        if (!cursor_ok(&ahead) || !is_letter(letter) || equals != '=')
            return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                             MALFORMED "an attribute expected behind a comma");
        if (letter == 'm')
            return mandatory_extension(error);
        if (letter == (uint8_t)last)
            return true;
        take_value(&ahead);
        *message = ahead;
    }
    return true;
}

bool scram_check_nonce(struct span nonce, size_t limit, struct error *error)
{
    if (nonce.size == 0)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION, MALFORMED "the nonce is empty");
    if (nonce.size > limit)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         MALFORMED "the nonce is longer than %zu bytes", limit);

    struct cursor cursor = cursor_over(nonce.data, nonce.size);
    while (cursor_left(&cursor) > 0) {
        uint8_t byte = cursor_u8(&cursor);
        if (byte <= ' ' || byte >= 0x7f)
            return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                             MALFORMED "the nonce holds other than printable ASCII");
    }
    return true;
}

const char *scram_gs2_header(char flag)
{
    return flag == 'p' ? SCRAM_GS2_PLUS : flag == 'y' ? "y,," : "n,,";
}

void scram_binding_text(char flag, const struct scram_binding *binding,
                        char text[SCRAM_BINDING_TEXT_MAX])
{
    uint8_t memory[sizeof(SCRAM_GS2_PLUS) + SCRAM_BINDING_MAX];
    struct bytes whole = bytes_over(memory, sizeof(memory));

    bytes_text(&whole, scram_gs2_header(flag));
    if (flag == 'p')
        bytes_put(&whole, binding->hash, binding->size);
    base64_encode(whole.data, whole.size, text);
}

void scram_make_nonce(char nonce[SCRAM_NONCE_TEXT + 1])
{
    uint8_t bytes[SCRAM_NONCE_BYTES];
    random_bytes(bytes, sizeof(bytes));
    base64_encode(bytes, sizeof(bytes), nonce);
}

void scram_sign(const uint8_t key[SCRAM_KEY_SIZE], const char *client_first_bare,
                const char *server_first, struct span final_without_proof,
                uint8_t signature[SCRAM_KEY_SIZE])
{
    const struct span comma = scram_span(",");
    const struct span parts[] = {scram_span(client_first_bare), comma, scram_span(server_first),
                                 comma, final_without_proof};
    struct auth_crypto_key ready;

    auth_crypto_key_set(&ready, key, SCRAM_KEY_SIZE);
    auth_crypto_hmac(&ready, parts, sizeof(parts) / sizeof(parts[0]), signature);
    memory_wipe(&ready, sizeof(ready));
}
