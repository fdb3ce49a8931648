/* The server's side: what pgweir says to clients. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "auth/base64.h"
#include "auth/scram.h"
#include "base/memory.h"
#include "scram_message.h"

/* Both nonces and a zero byte fit SCRAM_NONCE_MAX. */
#define CLIENT_NONCE_MAX (SCRAM_NONCE_MAX - SCRAM_NONCE_TEXT - 1)

static bool no_memory(struct error *error)
{
    return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory in a SCRAM login");
}

static void copy_verifier(struct scram_verifier *to, const struct scram_verifier *from)
{
    if (to == from)
        return;
    assert(from->salt_size <= SCRAM_SALT_MAX);
    to->iterations = from->iterations;
    to->salt_size = from->salt_size;
    memcpy(to->salt, from->salt, from->salt_size);
    memcpy(to->stored_key, from->stored_key, sizeof(to->stored_key));
    memcpy(to->server_key, from->server_key, sizeof(to->server_key));
}

/* Behind the flag 'p': the binding's name. */
static bool take_binding_name(const struct scram_server *server, struct cursor *message,
                              struct error *error)
{
    static const char name[] = "=tls-server-end-point";

    if (server->binding.size == 0)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "client requires SCRAM channel binding, but it is not supported");
    if (!server->is_plus)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: channel binding in " SCRAM_MECHANISM);
    struct span said = cursor_bytes(message, sizeof(name) - 1);
    if (!cursor_ok(message) || memcmp(said.data, name, said.size) != 0)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "unsupported SCRAM channel-binding type");
    return true;
}

/* RFC 5802 §6: one who could bind the channel, and believes that we cannot, was lied to about what
 * we offer. */
static bool check_unbound(const struct scram_server *server, struct error *error)
{
    if (server->is_plus)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: no channel binding in " SCRAM_MECHANISM_PLUS);
    if (server->gs2 == 'y' && server->binding.size > 0)
        return error_set(error, SQLSTATE_INVALID_AUTHORIZATION,
                         "SCRAM channel binding negotiation error: the client believes that "
                         "channel binding is not offered, and it is");
    return true;
}

/* gs2-header: a channel-binding flag and an authorization identity, each with a comma behind. */
static bool take_gs2_header(struct scram_server *server, struct cursor *message,
                            struct error *error)
{
    server->gs2 = (char)cursor_u8(message);
    if (server->gs2 != 'p' && server->gs2 != 'n' && server->gs2 != 'y')
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: it begins with no channel-binding flag");
    if (server->gs2 == 'p' ? !take_binding_name(server, message, error)
                           : !check_unbound(server, error))
        return false;
    if (cursor_u8(message) != ',')
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: comma expected behind the channel-binding flag");
    uint8_t next = cursor_u8(message);
    if (next == 'a')
        return error_set(error, SQLSTATE_FEATURE_NOT_SUPPORTED,
                         "client uses authorization identity, but it is not supported");
    if (next != ',')
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: authorization identity or comma expected");
    return true;
}

/* client-first-message-bare; the user's name in it is ignored, the startup packet's counts. */
static bool read_client_first(struct scram_server *server, struct span message, struct span *nonce,
                              struct error *error)
{
    struct cursor cursor = cursor_over(message.data, message.size);
    struct span name;

    if (!take_gs2_header(server, &cursor, error))
        return false;
    const struct span bare = {cursor.at, cursor_left(&cursor)};
    if (!scram_take(&cursor, 'n', &name, error) || !scram_take_next(&cursor, 'r', nonce, error) ||
        !scram_check_nonce(*nonce, CLIENT_NONCE_MAX, error) ||
        !scram_skip_extensions(&cursor, 0, error))
        return false;
    server->client_first_bare = memory_strndup((const char *)bare.data, bare.size);
    return server->client_first_bare != NULL || no_memory(error);
}

static bool write_server_first(struct scram_server *server, struct bytes *out, struct error *error)
{
    const struct scram_verifier *verifier = &server->verifier;
    char salt[BASE64_TEXT_SIZE(SCRAM_SALT_MAX) + 1];
    char text[SCRAM_NONCE_MAX + sizeof(salt) + 32];

    base64_encode(verifier->salt, verifier->salt_size, salt);
    struct bytes message = bytes_over(text, sizeof(text));
    bytes_format(&message, "r=%s,s=%s,i=%" PRIu32, server->nonce, salt, verifier->iterations);
    server->server_first = bytes_ok(&message) ? memory_strndup(text, message.size) : NULL;
    if (server->server_first == NULL)
        return no_memory(error);
    bytes_put(out, text, message.size);
    return bytes_ok(out) || no_memory(error);
}

static void forget_messages(struct scram_server *server)
{
    memory_free(server->client_first_bare);
    memory_free(server->server_first);
    server->client_first_bare = NULL;
    server->server_first = NULL;
}

bool scram_server_first(struct scram_server *server, const struct scram_verifier *verifier,
                        struct span client_first, struct bytes *out, struct error *error)
{
    struct span nonce = {NULL, 0};

    forget_messages(server);
    copy_verifier(&server->verifier, verifier);
    if (!scram_message_check(client_first, error) ||
        !read_client_first(server, client_first, &nonce, error))
        return false;
    memcpy(server->nonce, nonce.data, nonce.size);
    scram_make_nonce(server->nonce + nonce.size);
    return write_server_first(server, out, error);
}

void scram_server_keys(struct scram_server *server, const uint8_t stored_key[SCRAM_KEY_SIZE],
                       const uint8_t server_key[SCRAM_KEY_SIZE])
{
    memcpy(server->verifier.stored_key, stored_key, SCRAM_KEY_SIZE);
    memcpy(server->verifier.server_key, server_key, SCRAM_KEY_SIZE);
}

static bool equals_text(struct span value, const char *text)
{
    size_t size = strlen(text);
    return value.size == size && memory_equal_constant_time(value.data, text, size);
}

/* Up to the proof; what stands before ",p=" is *signed_part. */
static bool read_client_final(const struct scram_server *server, struct span message,
                              struct span *signed_part, uint8_t proof[SCRAM_KEY_SIZE],
                              struct error *error)
{
    struct cursor cursor = cursor_over(message.data, message.size);
    struct span binding = {NULL, 0}, nonce = {NULL, 0}, text = {NULL, 0};
    char expected[SCRAM_BINDING_TEXT_MAX];
    size_t size = 0;

    if (!scram_take(&cursor, 'c', &binding, error))
        return false;
    scram_binding_text(server->gs2, &server->binding, expected);
    if (!equals_text(binding, expected) && server->gs2 == 'p')
        return error_set(error, SQLSTATE_INVALID_AUTHORIZATION,
                         "SCRAM channel binding check failed");
    if (!equals_text(binding, expected)) /* the header was changed on the way */
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "unexpected SCRAM channel-binding attribute in client-final-message");
    if (!scram_take_next(&cursor, 'r', &nonce, error))
        return false;
    if (!equals_text(nonce, server->nonce))
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: the nonce is not the one of this login");
    if (!scram_skip_extensions(&cursor, 'p', error))
        return false;
    *signed_part = (struct span){message.data, (size_t)(cursor.at - message.data)};
    if (!scram_take_next(&cursor, 'p', &text, error))
        return false;
    if (!base64_decode(text, proof, SCRAM_KEY_SIZE, &size) || size != SCRAM_KEY_SIZE)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: the proof is not base64 of %d bytes",
                         SCRAM_KEY_SIZE);
    if (cursor_left(&cursor) > 0)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: something stands behind the proof");
    return true;
}

/* ClientKey = proof XOR HMAC(StoredKey, AuthMessage); right if its hash is StoredKey. */
static bool check_proof(struct scram_server *server, struct span signed_part,
                        const uint8_t proof[SCRAM_KEY_SIZE])
{
    uint8_t client_key[SCRAM_KEY_SIZE], hash[SCRAM_KEY_SIZE];

    scram_sign(server->verifier.stored_key, server->client_first_bare, server->server_first,
               signed_part, client_key);
    for (size_t i = 0; i < SCRAM_KEY_SIZE; i++)
        client_key[i] ^= proof[i];
    auth_crypto_sha256(client_key, SCRAM_KEY_SIZE, hash);
    bool is_right = memory_equal_constant_time(hash, server->verifier.stored_key, SCRAM_KEY_SIZE);
    if (is_right)
        memcpy(server->client_key, client_key, SCRAM_KEY_SIZE);
    memory_wipe(client_key, sizeof(client_key));
    memory_wipe(hash, sizeof(hash));
    return is_right;
}

static void write_server_final(const struct scram_server *server, struct span signed_part,
                               struct bytes *out)
{
    uint8_t signature[SCRAM_KEY_SIZE];
    char text[BASE64_TEXT_SIZE(SCRAM_KEY_SIZE) + 1];

    scram_sign(server->verifier.server_key, server->client_first_bare, server->server_first,
               signed_part, signature);
    base64_encode(signature, sizeof(signature), text);
    bytes_text(out, "v=");
    bytes_text(out, text);
}

bool scram_server_final(struct scram_server *server, struct span client_final, bool *proof_is_right,
                        struct bytes *out, struct error *error)
{
    struct span signed_part = {NULL, 0};
    uint8_t proof[SCRAM_KEY_SIZE] = {0};

    *proof_is_right = false;
    if (server->client_first_bare == NULL || server->server_first == NULL)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: client-final-message out of turn");
    if (!scram_message_check(client_final, error) ||
        !read_client_final(server, client_final, &signed_part, proof, error))
        return false;

    bool is_right = check_proof(server, signed_part, proof);
    if (is_right)
        write_server_final(server, signed_part, out);
    forget_messages(server); /* one proof for each nonce */
    if (is_right && !bytes_ok(out))
        return no_memory(error);
    *proof_is_right = is_right;
    return true;
}

void scram_server_finish(struct scram_server *server)
{
    forget_messages(server);
    memory_wipe(server, sizeof(*server));
}
