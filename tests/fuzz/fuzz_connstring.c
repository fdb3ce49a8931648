/* connstring: pieces lie inside the text, one behind the other, and no value is empty. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "config/connstring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = memory_strndup((const char *)data, size);
    const char *end = text + strlen(text), *key, *value;
    char *at = text, *before = text;

    while (connstring_next(&at, &key, &value) == CONNSTRING_PAIR) {
        assert(before <= key && key < value && value < at && at <= end);
        assert(*key != '\0' && *value != '\0' && strchr(key, '=') == NULL);
        assert(value + strlen(value) < at || at == end);
        before = at;
    }
    assert(at == before);
    memory_free(text);
    return 0;
}
