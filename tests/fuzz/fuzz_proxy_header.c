/* PROXY headers: what is taken lies inside the bytes and the bounds, needs all of them, and does
 * not depend on what stands behind. */
#include <assert.h>
#include <string.h>

#include "wire/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header header, again;
    const char *why;
    enum proxy_verdict verdict = proxy_header_parse(data, size, &header, &why);

    if (verdict == PROXY_NEED_MORE)
        assert(size < PROXY_HEADER_MAX);
    if (verdict == PROXY_BAD)
        assert(why[0] != '\0');
    if (verdict != PROXY_TAKEN)
        return 0;
    assert(header.size > 0 && header.size <= size && header.size <= PROXY_HEADER_MAX);
    assert(proxy_header_parse(data, header.size, &again, &why) == PROXY_TAKEN);
    assert(memcmp(&header, &again, sizeof(header)) == 0);
    for (size_t i = 0; i < header.size; i++)
        assert(proxy_header_parse(data, i, &again, &why) == PROXY_NEED_MORE);
    return 0;
}
