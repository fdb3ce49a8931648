/* Both sides of SCRAM against bytes of the other one. The first byte chooses what is fed, the rest
 * is the message; an '@' in it stands for the nonce of the dialogue, which no fuzzer can guess. */
#include <assert.h>
#include <string.h>

#include "auth/scram.h"
#include "base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct span with_nonce(struct span message, const char *nonce, struct bytes *made)
{
    struct cursor cursor = cursor_over(message.data, message.size);
    while (cursor_left(&cursor) > 0) {
        uint8_t byte = cursor_u8(&cursor);
        if (byte == '@')
            bytes_text(made, nonce);
        else
            bytes_u8(made, byte);
    }
    return bytes_span(made);
}

static void feed_server_first(struct span message)
{
    const struct scram_verifier verifier = {.iterations = 1, .salt_size = SCRAM_SALT_MAX};
    struct scram_server server = {.gs2 = 0};
    uint8_t memory[SCRAM_MESSAGE_MAX];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct error error = {.message = ""};

    if (scram_server_first(&server, &verifier, message, &out, &error)) {
        /* What was taken is what came behind the gs2 header, and the nonce begins with the
         * client's. */
        size_t bare = strlen(server.client_first_bare);
        assert(bare + 3 == message.size);
        assert(memcmp(server.client_first_bare, message.data + 3, bare) == 0);
        assert(strlen(server.nonce) > 24 && strlen(server.nonce) < SCRAM_NONCE_MAX);
        assert(out.size == strlen(server.server_first));
    } else {
        assert(error.message[0] != '\0' && out.size == 0);
    }
    scram_server_finish(&server);
}

/* The same where the channel can be bound. */
static void feed_bound_server_first(struct span message, bool is_plus)
{
    const struct scram_verifier verifier = {.iterations = 1, .salt_size = 16};
    struct scram_server server = {.binding = {.size = 32}, .is_plus = is_plus};
    uint8_t memory[SCRAM_MESSAGE_MAX];
    struct bytes out = bytes_over(memory, sizeof(memory));

    if (scram_server_first(&server, &verifier, message, &out, NULL))
        assert(server.gs2 == (is_plus ? 'p' : 'n'));
    scram_server_finish(&server);
}

static void feed_server_final(struct span message)
{
    const struct scram_verifier verifier = {.iterations = 1, .salt_size = 16};
    static const char hello[] = "n,,n=,r=abc";
    const struct span first = {(const uint8_t *)hello, sizeof(hello) - 1};
    struct scram_server server = {.gs2 = 0};
    uint8_t memory[2 * SCRAM_MESSAGE_MAX], message_memory[2 * SCRAM_MESSAGE_MAX];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct bytes made = bytes_over(message_memory, sizeof(message_memory));
    bool is_right = true;

    bool is_begun = scram_server_first(&server, &verifier, first, &out, NULL);
    assert(is_begun);
    bytes_clear(&out);
    scram_server_final(&server, with_nonce(message, server.nonce, &made), &is_right, &out, NULL);
    /* Nobody has a password for a stored key of zeroes. */
    assert(!is_right && out.size == 0);
    scram_server_finish(&server);
}

static void feed_client(struct span message, bool is_final)
{
    static const char reply[] = "r=@abc,s=AAAA,i=1";
    const struct span first = {(const uint8_t *)reply, sizeof(reply) - 1};
    static const uint8_t key[SCRAM_KEY_SIZE] = {1};
    struct scram_client client = {.nonce = ""};
    uint8_t memory[SCRAM_MESSAGE_MAX], message_memory[2 * SCRAM_MESSAGE_MAX];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct bytes made = bytes_over(message_memory, sizeof(message_memory));

    bool is_begun = scram_client_first(&client, &out);
    assert(is_begun);
    struct span server_first = with_nonce(is_final ? first : message, client.nonce, &made);
    if (scram_client_server_first(&client, server_first, 1000, NULL)) {
        assert(client.salt_size > 0 && client.salt_size <= SCRAM_SALT_MAX);
        assert(client.iterations > 0 && client.iterations <= 1000);
        bool is_sent = scram_client_final(&client, key, key, &out, NULL);
        assert(is_sent);
        bool is_proven = scram_client_check_server(&client, message, NULL);
        assert(!is_proven);
    }
    scram_client_finish(&client);
}

static void feed_verifier(struct span message)
{
    struct scram_verifier verifier;
    char *text = memory_strndup((const char *)message.data, message.size);

    if (text != NULL && scram_verifier_parse(text, &verifier)) {
        assert(verifier.iterations > 0);
        assert(verifier.salt_size > 0 && verifier.salt_size <= SCRAM_SALT_MAX);
    }
    memory_free(text);
}

static void feed_password(struct span message)
{
    uint8_t salted[SCRAM_KEY_SIZE];
    char *text = memory_strndup((const char *)message.data, message.size);

    if (text != NULL) {
        bool is_salted = scram_salt_password(text, (const uint8_t *)"salt", 4, 1, salted);
        assert(is_salted);
    }
    memory_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor cursor = cursor_over(data, size);
    uint8_t choice = cursor_u8(&cursor);
    struct span message = cursor_rest(&cursor, SIZE_MAX);

    switch (choice) {
    case '1':
        feed_server_first(message);
        break;
    case '2':
        feed_server_final(message);
        break;
    case '3':
        feed_client(message, false);
        break;
    case '4':
        feed_client(message, true);
        break;
    case '7':
    case '8':
        feed_bound_server_first(message, choice == '7');
        break;
    case '5':
        feed_verifier(message);
        break;
    case '6':
        feed_password(message);
        break;
    default:
        break;
    }
    return 0;
}
