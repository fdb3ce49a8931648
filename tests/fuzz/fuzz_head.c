/* Heads of HTTP requests: what is found lies inside the bytes, and more bytes behind a whole head
 * change nothing. */
#include <assert.h>
#include <string.h>

#include "http/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct span part, const uint8_t *data, size_t size)
{
    assert(part.size == 0 || (part.data >= data && part.data + part.size <= data + size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head head, again;
    enum http_verdict verdict = http_head_read((struct span){data, size}, &head);
    if (verdict == HTTP_BAD)
        assert((head.status == 400 || head.status == 431) && head.why);
    if (verdict != HTTP_WHOLE)
        return 0;
    assert(head.size <= size && head.size <= HTTP_HEAD_MAX && head.count <= HTTP_FIELDS_MAX);
    assert(!(head.is_chunked && head.has_length));
    check_inside(head.path, data, head.size);
    check_inside(head.query, data, head.size);
    for (int i = 0; i < head.count; i++) {
        check_inside(head.fields[i].name, data, head.size);
        check_inside(head.fields[i].value, data, head.size);
        assert(!memchr(head.fields[i].value.data, '\n', head.fields[i].value.size));
    }
    assert(http_head_read((struct span){data, head.size}, &again) == HTTP_WHOLE);
    assert(again.size == head.size && again.count == head.count);
    assert(http_head_read((struct span){data, head.size - 1}, &again) == HTTP_MORE);
    return 0;
}
