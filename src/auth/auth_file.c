#include "auth/auth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/scram.h"
#include "base/bytes.h"
#include "base/memory.h"

#define MD5_SECRET_SIZE 35 /* "md5" and 32 digits */

static bool is_md5(const char *text)
{
    return strlen(text) == MD5_SECRET_SIZE && strncmp(text, "md5", 3) == 0 &&
           strspn(text + 3, "0123456789abcdef") == MD5_SECRET_SIZE - 3;
}

static bool is_scram(const char *text)
{
    struct scram_verifier verifier;
    bool is_well_formed = scram_verifier_parse(text, &verifier);
    memory_wipe(&verifier, sizeof(verifier));
    return is_well_formed;
}

bool auth_secret_set(struct auth_secret *secret, const char *text)
{
    *secret = (struct auth_secret){.kind = AUTH_SECRET_NONE};
    if (text == NULL || text[0] == '\0')
        return true;
    secret->text = memory_strdup_secret(text);
    if (secret->text == NULL)
        return false;
    secret->kind = is_md5(text)     ? AUTH_SECRET_MD5
                   : is_scram(text) ? AUTH_SECRET_SCRAM
                                    : AUTH_SECRET_PLAIN;
    return true;
}

bool auth_secret_set_plain(struct auth_secret *secret, const char *password)
{
    bool is_set = auth_secret_set(secret, password);

    if (secret->kind != AUTH_SECRET_NONE)
        secret->kind = AUTH_SECRET_PLAIN;
    return is_set;
}

void auth_secret_finish(struct auth_secret *secret)
{
    memory_free_secret(secret->text);
    *secret = (struct auth_secret){.kind = AUTH_SECRET_NONE};
}

/* One line's fields; the memory is used again for the next line, and wiped at the end. */
struct fields {
    char name[AUTH_NAME_MAX + 1];
    char secret[AUTH_SECRET_MAX + 1];
};

enum field_end { FIELD_WHOLE, FIELD_BROKEN, FIELD_TOO_LONG };

static uint8_t peek(struct cursor line)
{
    return cursor_u8(&line);
}

/* What stands behind an opening quote, up to the closing one, which is taken too; "" is one quote.
 */
static enum field_end take_field(struct cursor *line, char *text, size_t limit)
{
    size_t size = 0;

    for (;;) {
        uint8_t byte = cursor_u8(line);
        if (!cursor_ok(line) || byte == '\0')
            return FIELD_BROKEN;
        if (byte == '"') {
            if (peek(*line) != '"')
                break;
            cursor_u8(line);
        }
        if (size < limit)
            text[size] = (char)byte;
        size++;
    }
    text[size <= limit ? size : limit] = '\0';
    return size <= limit ? FIELD_WHOLE : FIELD_TOO_LONG;
}

/* Up to and with the next quote; false when the line has none. */
static bool take_opening_quote(struct cursor *line)
{
    while (cursor_left(line) > 0)
        if (cursor_u8(line) == '"')
            return true;
    return false;
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool broken(struct error *error, const char *file, int number)
{
    error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s:%d: broken auth file", file, number);
    return error_hint(error,
                      "A line reads \"name\" \"secret\", both in double quotes (\"\" inside is "
                      "one quote), or begins with ;.");
}

static bool take_name(struct cursor *line, struct fields *fields, const char *file, int number,
                      struct error *error)
{
    if (cursor_u8(line) != '"')
        return broken(error, file, number);
    switch (take_field(line, fields->name, AUTH_NAME_MAX)) {
    case FIELD_WHOLE:
        return true;
    case FIELD_BROKEN:
        return broken(error, file, number);
    case FIELD_TOO_LONG:
        break;
    }
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s:%d: username too long in auth file",
                     file, number);
}

static bool take_secret(struct cursor *line, struct fields *fields, const char *file, int number,
                        struct error *error)
{
    if (!take_opening_quote(line))
        return broken(error, file, number);
    switch (take_field(line, fields->secret, AUTH_SECRET_MAX)) {
    case FIELD_WHOLE:
        return true;
    case FIELD_BROKEN:
        return broken(error, file, number);
    case FIELD_TOO_LONG:
        break;
    }
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s:%d: password too long in auth file",
                     file, number);
}

/* Without its line break, which is taken too. */
static struct cursor take_line(struct cursor *text)
{
    size_t left = cursor_left(text);
    const uint8_t *end = memchr(text->at, '\n', left);
    struct span line = cursor_bytes(text, end != NULL ? (size_t)(end - text->at) : left);
    if (end != NULL)
        cursor_u8(text);
    return cursor_over(line.data, line.size);
}

static bool parse_lines(const char *file, struct cursor text, struct fields *fields,
                        auth_file_user *call, void *argument, struct error *error)
{
    for (int number = 1; cursor_left(&text) > 0; number++) {
        struct cursor line = take_line(&text);
        while (is_space(peek(line)))
            cursor_u8(&line);
        if (cursor_left(&line) == 0 || peek(line) == ';')
            continue;
        if (!take_name(&line, fields, file, number, error) ||
            !take_secret(&line, fields, file, number, error) ||
            !call(argument, number, fields->name, fields->secret, error))
            return false;
    }
    return true;
}

bool auth_file_parse(const char *file, const char *data, size_t size, auth_file_user *call,
                     void *argument, struct error *error)
{
    if (size == 0)
        return true;
    if (size > AUTH_FILE_MAX)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "%s: longer than %d bytes", file,
                         AUTH_FILE_MAX);
    struct fields *fields = memory_zalloc(sizeof(*fields));
    if (fields == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "%s: out of memory", file);
    bool is_good = parse_lines(file, cursor_over(data, size), fields, call, argument, error);
    memory_wipe(fields, sizeof(*fields));
    memory_free(fields);
    return is_good;
}

static bool read_all(int descriptor, struct bytes *text)
{
    uint8_t chunk[65536];
    ssize_t count;

    do {
        count = read(descriptor, chunk, sizeof(chunk));
        if (count > 0)
            bytes_put(text, chunk, (size_t)count);
    } while ((count > 0 && bytes_ok(text)) || (count < 0 && errno == EINTR));
    int cause = errno;
    memory_wipe(chunk, sizeof(chunk));
    errno = cause;
    return count >= 0;
}

bool auth_file_load(const char *file, auth_file_user *call, void *argument, struct error *error)
{
    struct bytes text;
    bool is_good = false;
    int descriptor = open(file, O_RDONLY | O_CLOEXEC);

    if (descriptor < 0)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "could not open auth_file %s: %s", file,
                         strerror(errno));
    bytes_init(&text, AUTH_FILE_MAX);
    if (!read_all(descriptor, &text))
        error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "could not read auth_file %s: %s", file,
                  strerror(errno));
    else if (!bytes_ok(&text))
        error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                  "could not read auth_file %s: longer than %d bytes, or no memory", file,
                  AUTH_FILE_MAX);
    else
        is_good = auth_file_parse(file, (const char *)text.data, text.size, call, argument, error);
    bytes_finish_secret(&text);
    close(descriptor);
    return is_good;
}
