/* auth_file: whatever stands in it, users come with whole strings, in order, and written anew they
 * are read the same. */
#include <assert.h>
#include <string.h>

#include "auth/auth_file.h"
#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    int last_line;
    struct bytes written; /* the users, as a file */
};

static void write_field(struct bytes *file, const char *text)
{
    bytes_u8(file, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            bytes_u8(file, '"');
        bytes_u8(file, (uint8_t)*text);
    }
    bytes_u8(file, '"');
}

static bool note_user(void *argument, int line, const char *name, const char *secret,
                      struct error *error)
{
    struct seen *seen = argument;
    struct auth_secret kind;

    (void)error;
    assert(line > seen->last_line);
    assert(strlen(name) <= AUTH_NAME_MAX && strlen(secret) <= AUTH_SECRET_MAX);
    seen->last_line = line;
    write_field(&seen->written, name);
    bytes_u8(&seen->written, ' ');
    write_field(&seen->written, secret);
    bytes_u8(&seen->written, '\n');

    bool is_set = auth_secret_set(&kind, secret);
    assert(is_set);
    assert((kind.kind == AUTH_SECRET_NONE) == (secret[0] == '\0'));
    auth_secret_finish(&kind);
    return true;
}

static bool parse(const void *data, size_t size, struct seen *seen, struct error *error)
{
    *seen = (struct seen){.last_line = 0};
    bytes_init(&seen->written, (size_t)1 << 24);
    return auth_file_parse("users.txt", data, size, note_user, seen, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen first, second;
    struct error error = {.message = ""};

    bool is_whole = parse(data, size, &first, &error);
    assert(is_whole == (error.message[0] == '\0'));
    bool is_read = parse(first.written.data, first.written.size, &second, NULL);
    assert(is_read);
    assert(span_equal(bytes_span(&first.written), bytes_span(&second.written)));
    bytes_finish(&first.written);
    bytes_finish(&second.written);
    return 0;
}
