/* Routes: a capture is a name in lower case that the text holds, and an answer fits its bounds. */
#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "config/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_capture(const char *capture, const char *text)
{
    size_t length = strlen(capture);

    assert(length <= ROUTE_CAPTURE_MAX && length <= strlen(text));
    for (size_t i = 0; i < length; i++)
        assert(strchr("abcdefghijklmnopqrstuvwxyz0123456789_-", capture[i]) != NULL);
}

/* A pattern, a text and a result, with zero bytes between them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char captures[3][ROUTE_CAPTURE_MAX + 1] = {""}, into[ROUTE_NAME_MAX + 1];
    char *copy = malloc(size + 3);

    assert(copy != NULL);
    memcpy(copy, data, size);
    memset(copy + size, 0, 3);
    const char *pattern = copy, *text = pattern + strlen(pattern) + 1;
    const char *result = text <= copy + size ? text + strlen(text) + 1 : "";
    if (text <= copy + size && route_pattern_fits(pattern, text, true, captures[0])) {
        check_capture(captures[0], text);
        assert((captures[0][0] != '\0') == (strchr(pattern, '*') != NULL));
    }
    if (result <= copy + size && route_expand(result, captures, 3, into, sizeof(into)))
        assert(strlen(into) <= ROUTE_NAME_MAX);
    free(copy);
    return 0;
}
