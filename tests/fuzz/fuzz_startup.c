/* Startup packets: what is found lies inside the bytes, needs all of them, and is built again
 * alike. */
#include <assert.h>
#include <string.h>

#include "wire/build.h"
#include "wire/startup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_options(const char *options)
{
    char memory[64];
    const char *name, *value, *end = options + strlen(options);
    struct error error;

    while (startup_next_option(&options, memory, sizeof(memory), &name, &value, &error) == 1) {
        assert(options <= end);
        assert(name >= memory && name[0] != '\0' && name < value);
        assert(value + strlen(value) < memory + sizeof(memory));
    }
}

static void check_message(const uint8_t *data, const struct startup_packet *packet)
{
    const struct startup_message *message = &packet->message;
    uint8_t memory[STARTUP_PACKET_MAX];
    struct bytes bytes = bytes_over(memory, sizeof(memory));

    assert(message->count <= STARTUP_PARAMETERS_MAX && message->protocol >> 16 == 3);
    build_startup(&bytes, message->protocol, message->parameters, message->count);
    assert(bytes_ok(&bytes));
    assert(span_equal(bytes_span(&bytes), (struct span){data, packet->size}));
    for (size_t i = 0; i < message->count; i++) {
        assert(startup_parameter(message, message->parameters[i].name) != NULL);
        check_options(message->parameters[i].value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct startup_packet packet;
    struct error error = {.sqlstate = ""};
    enum startup_verdict verdict = startup_parse(data, size, &packet, &error);

    if (verdict == STARTUP_BAD)
        assert(strcmp(error.sqlstate, SQLSTATE_PROTOCOL_VIOLATION) == 0 && error.message[0] != 0);
    if (verdict == STARTUP_BAD || verdict == STARTUP_NEED_MORE)
        return 0;
    assert(packet.size >= 8 && packet.size <= STARTUP_PACKET_MAX && packet.size <= size);
    if (verdict == STARTUP_MESSAGE)
        check_message(data, &packet);
    if (verdict == STARTUP_CANCEL_REQUEST)
        assert(packet.cancel.key.data + packet.cancel.key.size == data + packet.size);
    assert(startup_parse(data, packet.size - 1, &packet, &error) == STARTUP_NEED_MORE);
    return 0;
}
