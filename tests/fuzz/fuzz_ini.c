/* ini: keys and values come as the grammar has them, with places that never go back within a file,
 * and the lines written anew from what came are read the same. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "base/bytes.h"
#include "config/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    int line;
    int problems;
    struct bytes written;
};

static void check_place(struct seen *seen, struct ini_place place)
{
    if (strcmp(place.file, "fuzz.ini") != 0)
        return;
    assert(place.line >= seen->line);
    seen->line = place.line;
}

static void take_section(void *argument, struct ini_place place, const char *name)
{
    struct seen *seen = argument;

    check_place(seen, place);
    assert(strpbrk(name, "]\n") == NULL);
    bytes_format(&seen->written, "[%s]\n", name);
}

static void take_key(void *argument, struct ini_place place, const char *key, const char *value)
{
    struct seen *seen = argument;
    size_t length = strlen(value);

    check_place(seen, place);
    assert(*key != '\0' && strchr(key, '\n') == NULL && strchr(value, '\n') == NULL);
    assert(length == 0 ||
           (!isspace((unsigned char)value[0]) && !isspace((unsigned char)value[length - 1])));
    bytes_text(&seen->written, strchr(key, '\'') != NULL ? "\"" : "'");
    bytes_text(&seen->written, key);
    bytes_text(&seen->written, strchr(key, '\'') != NULL ? "\"=" : "'=");
    bytes_text(&seen->written, value);
    bytes_text(&seen->written, "\n");
}

static void take_problem(void *argument, struct ini_place place, const char *key,
                         const char *reason)
{
    struct seen *seen = argument;

    (void)key;
    check_place(seen, place);
    assert(*reason != '\0');
    seen->problems++;
}

static void parse(const void *data, size_t size, struct seen *seen)
{
    struct ini_events events = {take_section, take_key, take_problem, seen};
    struct ini *ini = ini_create(&events);

    *seen = (struct seen){.line = 0};
    bytes_init(&seen->written, (size_t)1 << 24);
    ini_load_text(ini, "fuzz.ini", data, size);
    ini_destroy(ini);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen first, second;

    if (memmem(data, size, "%include", 8) != NULL)
        return 0; /* files of this machine are not to be read */
    parse(data, size, &first);
    parse(first.written.data, first.written.size, &second);
    assert(second.problems == 0);
    assert(span_equal(bytes_span(&first.written), bytes_span(&second.written)));
    bytes_finish(&first.written);
    bytes_finish(&second.written);
    return 0;
}
