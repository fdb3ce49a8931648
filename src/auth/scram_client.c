/* The client's side: what pgweir says to servers. */
#include <inttypes.h>
#include <string.h>

#include "auth/base64.h"
#include "auth/scram.h"
#include "base/memory.h"
#include "scram_message.h"

#define FINAL_MAX (SCRAM_NONCE_MAX + SCRAM_BINDING_TEXT_MAX + 64)

static bool no_memory(struct error *error)
{
    return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory in a SCRAM login");
}

static void forget_messages(struct scram_client *client)
{
    memory_free(client->client_first_bare);
    memory_free(client->server_first);
    memory_free(client->full_nonce);
    client->client_first_bare = NULL;
    client->server_first = NULL;
    client->full_nonce = NULL;
}

bool scram_client_first(struct scram_client *client, struct bytes *out)
{
    char bare[SCRAM_NONCE_TEXT + 8];

    forget_messages(client);
    client->is_proof_sent = false;
    scram_make_nonce(client->nonce);
    struct bytes text = bytes_over(bare, sizeof(bare));
    bytes_text(&text, "n=,r=");
    bytes_string(&text, client->nonce);
    client->client_first_bare = memory_strdup(bare);
    if (client->client_first_bare == NULL)
        return false;
    bytes_text(out, scram_gs2_header(client->gs2));
    bytes_text(out, bare);
    return bytes_ok(out);
}

/* The server's nonce must be ours and something of its own behind it. */
static bool check_full_nonce(const struct scram_client *client, struct span nonce,
                             struct error *error)
{
    size_t own = strlen(client->nonce);

    if (!scram_check_nonce(nonce, SCRAM_NONCE_MAX - 1, error))
        return false;
    if (nonce.size <= own || memcmp(nonce.data, client->nonce, own) != 0)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: the server's nonce does not continue ours");
    return true;
}

static bool read_cost(struct scram_client *client, struct span salt, struct span iterations,
                      uint32_t iterations_max, struct error *error)
{
    if (!base64_decode(salt, client->salt, sizeof(client->salt), &client->salt_size) ||
        client->salt_size == 0)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: the salt is not base64 of 1 to %d bytes",
                         SCRAM_SALT_MAX);
    if (!scram_take_iterations(iterations, &client->iterations))
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: the iteration count is not a positive number");
    if (client->iterations > iterations_max)
        return error_set(error, SQLSTATE_LIMIT_EXCEEDED,
                         "server asks for %" PRIu32 " SCRAM iterations, allowed are %" PRIu32,
                         client->iterations, iterations_max);
    return true;
}

bool scram_client_server_first(struct scram_client *client, struct span server_first,
                               uint32_t iterations_max, struct error *error)
{
    struct cursor cursor;
    struct span nonce, salt, iterations;

    if (client->client_first_bare == NULL || client->server_first != NULL)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: server-first-message out of turn");
    if (!scram_message_check(server_first, error))
        return false;
    cursor = cursor_over(server_first.data, server_first.size);
    if (!scram_take(&cursor, 'r', &nonce, error) || !check_full_nonce(client, nonce, error) ||
        !scram_take_next(&cursor, 's', &salt, error) ||
        !scram_take_next(&cursor, 'i', &iterations, error) ||
        !scram_skip_extensions(&cursor, 0, error) ||
        !read_cost(client, salt, iterations, iterations_max, error))
        return false;
    client->full_nonce = memory_strndup((const char *)nonce.data, nonce.size);
    client->server_first = memory_strndup((const char *)server_first.data, server_first.size);
    return (client->full_nonce != NULL && client->server_first != NULL) || no_memory(error);
}

/* The proof: ClientKey XOR HMAC(StoredKey, AuthMessage). */
static void make_proof(const struct scram_client *client, const uint8_t client_key[SCRAM_KEY_SIZE],
                       struct span signed_part, uint8_t proof[SCRAM_KEY_SIZE])
{
    uint8_t stored_key[SCRAM_KEY_SIZE];

    auth_crypto_sha256(client_key, SCRAM_KEY_SIZE, stored_key);
    scram_sign(stored_key, client->client_first_bare, client->server_first, signed_part, proof);
    for (size_t i = 0; i < SCRAM_KEY_SIZE; i++)
        proof[i] ^= client_key[i];
    memory_wipe(stored_key, sizeof(stored_key));
}

bool scram_client_final(struct scram_client *client, const uint8_t client_key[SCRAM_KEY_SIZE],
                        const uint8_t server_key[SCRAM_KEY_SIZE], struct bytes *out,
                        struct error *error)
{
    char memory[FINAL_MAX], text[BASE64_TEXT_SIZE(SCRAM_KEY_SIZE) + 1];
    char binding[SCRAM_BINDING_TEXT_MAX];
    uint8_t proof[SCRAM_KEY_SIZE];

    if (client->full_nonce == NULL || client->server_first == NULL)
        return error_set(error, SQLSTATE_INTERNAL_ERROR,
                         "client-final-message before a server-first-message");
    struct bytes message = bytes_over(memory, sizeof(memory));
    scram_binding_text(client->gs2, &client->binding, binding);
    bytes_text(&message, "c=");
    bytes_text(&message, binding);
    bytes_text(&message, ",r=");
    bytes_text(&message, client->full_nonce);
    make_proof(client, client_key, bytes_span(&message), proof);
    memcpy(client->server_key, server_key, SCRAM_KEY_SIZE);
    scram_sign(server_key, client->client_first_bare, client->server_first, bytes_span(&message),
               client->server_signature);
    base64_encode(proof, sizeof(proof), text);
    bytes_text(&message, ",p=");
    bytes_text(&message, text);
    bytes_put(out, message.data, message.size);
    if (!bytes_ok(&message) || !bytes_ok(out))
        return no_memory(error);
    client->is_proof_sent = true;
    return true;
}

/* RFC 5802 §7: "e=" and a word, where the server could not go on. */
static bool server_refused(struct cursor *cursor, struct error *error)
{
    struct span reason;

    if (!scram_take(cursor, 'e', &reason, error))
        return false;
    return error_set(error, SQLSTATE_INVALID_PASSWORD, "server refused the SCRAM login: %.*s",
                     (int)(reason.size < 100 ? reason.size : 100), (const char *)reason.data);
}

bool scram_client_check_server(struct scram_client *client, struct span server_final,
                               struct error *error)
{
    struct cursor cursor;
    struct span text;
    uint8_t signature[SCRAM_KEY_SIZE];
    size_t size;

    if (!client->is_proof_sent)
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: server-final-message out of turn");
    if (!scram_message_check(server_final, error))
        return false;
    cursor = cursor_over(server_final.data, server_final.size);
    if (scram_begins_with(cursor, 'e'))
        return server_refused(&cursor, error);
    if (!scram_take(&cursor, 'v', &text, error) || !scram_skip_extensions(&cursor, 0, error))
        return false;
    if (!base64_decode(text, signature, sizeof(signature), &size) || size != sizeof(signature))
        return error_set(error, SQLSTATE_PROTOCOL_VIOLATION,
                         "malformed SCRAM message: the signature is not base64 of %d bytes",
                         SCRAM_KEY_SIZE);
    if (!memory_equal_constant_time(signature, client->server_signature, sizeof(signature)))
        return error_set(error, SQLSTATE_INVALID_PASSWORD, "invalid server signature");
    return true;
}

void scram_client_finish(struct scram_client *client)
{
    forget_messages(client);
    memory_wipe(client, sizeof(*client));
}
