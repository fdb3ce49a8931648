/* Bodies of POST /sql: cut in two at any place they mean the same, and what they become are whole
 * messages of the protocol. */
#include <assert.h>
#include <string.h>

#include "gateway/json_request.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json_request *read_in_two(const uint8_t *data, size_t size, size_t cut, bool *is_good)
{
    static const struct json_request_settings settings = {.begin = "START TRANSACTION"};
    struct json_request *request = json_request_create(&settings);

    assert(request);
    *is_good = json_request_feed(request, (struct span){data, cut}) &&
               json_request_feed(request, (struct span){data + cut, size - cut}) &&
               json_request_end(request);
    assert(*is_good == (json_request_problem(request) == NULL));
    return request;
}

static void check_messages(struct json_request *request)
{
    struct span left = bytes_span(json_request_messages(request));
    struct message message = {0};
    unsigned parses = 0;

    while (left.size > 0) {
        assert(message_peek(left.data, left.size, SIZE_MAX, &message) == MESSAGE_WHOLE);
        assert(strchr("PBDES", message.type));
        parses += message.type == 'P';
        left = (struct span){left.data + message.size, left.size - message.size};
    }
    assert(message.type == 'S');
    assert(parses == json_request_queries(request) + (json_request_is_batch(request) ? 2 : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool is_good, is_good_in_two;
    struct json_request *whole = read_in_two(data, size, 0, &is_good);
    struct json_request *cut =
        read_in_two(data, size, size > 0 ? data[0] % size : 0, &is_good_in_two);

    assert(is_good == is_good_in_two);
    if (is_good) {
        check_messages(whole);
        assert(span_equal(bytes_span(json_request_messages(whole)),
                          bytes_span(json_request_messages(cut))));
    }
    json_request_destroy(whole);
    json_request_destroy(cut);
    return 0;
}
