/* Bodies of what clients send: what is read lies inside the body and is built again alike. */
#include <assert.h>
#include <string.h>

#include "wire/build.h"
#include "wire/message.h"
#include "wire/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(struct bytes *bytes, struct span body)
{
    struct span built = bytes_span(bytes);

    assert(bytes_ok(bytes) && built.size == MESSAGE_HEAD + body.size);
    assert(body.size == 0 || memcmp(built.data + MESSAGE_HEAD, body.data, body.size) == 0);
    bytes_clear(bytes);
}

static void check_bind(struct span body)
{
    struct bind_message bind;
    bool need_more;
    bool read = bind_message_read(body, &bind, &need_more);

    assert(read != need_more);
    struct bind_values values;
    if (read && bind_values_read(bind.rest, &values))
        assert(values.formats.size == (size_t)values.format_count * 2 &&
               values.formats.size <= bind.rest.size);
    if (read)
        assert(strlen(bind.portal) + strlen(bind.statement) + 2 + bind.rest.size == body.size);
}

static void check_first_word(struct span body)
{
    char word[12], again[12];

    query_first_word((const char *)body.data, body.size, word, sizeof(word));
    assert(memchr(word, 0, sizeof(word)) != NULL);
    query_first_word(word, strlen(word), again, sizeof(again));
    assert(strcmp(word, again) == 0);
}

static void check_name(struct span body)
{
    struct query_name read;

    query_name_read((const char *)body.data, body.size, &read);
    assert(memchr(read.name, 0, sizeof(read.name)) != NULL);
    assert(read.end <= body.size);
    if (read.use != QUERY_NAMES_NOTHING)
        assert(read.name[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = {data, size};
    struct parse_message parse;
    struct target_message target;
    struct bytes bytes;
    const char *portal;
    uint32_t max_rows;

    bytes_init(&bytes, size + 64);
    if (parse_message_read(body, &parse)) {
        build_parse(&bytes, parse.name, parse.query, parse.types, parse.type_count);
        check_same(&bytes, body);
    }
    if (target_message_read(body, &target)) {
        build_target(&bytes, 'D', target.kind, target.name);
        check_same(&bytes, body);
    }
    if (execute_message_read(body, &portal, &max_rows)) {
        build_execute(&bytes, portal, max_rows);
        check_same(&bytes, body);
    }
    check_bind(body);
    check_first_word(body);
    check_name(body);
    bytes_finish(&bytes);
    return 0;
}
