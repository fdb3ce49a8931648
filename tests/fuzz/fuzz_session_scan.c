/* What texts may touch: the short way never says less than the tokenizer, and names fit. */
#include <assert.h>
#include <string.h>

#include "ledger/session_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session_names names;
    const char *text = (const char *)data;
    uint32_t whole = session_scan_names(text, size, &names);

    /* A backslash in front of a quote is a doubt that only a second statement makes real. In a
     * statement with an ordinary beginning EXECUTE is a name like others. */
    if ((whole & ~(uint32_t)SESSION_EXECUTES) != 0 && size <= SESSION_SCAN_MAX &&
        (size == 0 || !memchr(text, '\\', size)))
        assert(session_scan(text, size) == whole);
    assert(names.count >= 0 && names.count <= SESSION_NAMES_MAX);
    for (int i = 0; i < names.count; i++)
        assert(strnlen(names.names[i], SESSION_NAME_SIZE) < SESSION_NAME_SIZE);
    return 0;
}
