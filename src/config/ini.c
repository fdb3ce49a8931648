#include "config/ini.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/memory.h"

/* Stands for a quoted key on its way through inih; no bare key can be this. */
#define QUOTED_KEY "'"

#define REASON_MAX 512
#define AT_KEY_MAX 64 /* bytes of a key that a mistake is told with */
/* inih's line buffer starts so large that passwords are not left behind by growing it. */
#define LINE_START_SIZE (64 << 10)
#define READ_START_SIZE (16 << 10)

struct file_name {
    SLIST_ENTRY(file_name) link;
    char text[];
};

struct input {
    const char *name;
    char *data;
    size_t size;
    size_t at;
    int line;
    bool is_owned; /* data is ours, to be wiped and freed */
};

struct ini {
    struct ini_events events;
    SLIST_HEAD(, file_name) names;
    int files;
    struct input inputs[INI_INCLUDE_DEPTH_MAX + 1]; /* the innermost is inputs[depth - 1] */
    int depth;
    bool out_of_memory;

    /* The pair that inih is reading. */
    struct ini_place place;
    char *quoted_key; /* owned; NULL: the key is bare */
    struct span parts[4];
    int part;
};

static void problem(struct ini *ini, const char *key, const char *reason)
{
    ini->events.problem(ini->events.argument, ini->place, key, reason);
}

static void syntax_error(struct ini *ini, const char *what)
{
    char reason[REASON_MAX];

    (void)snprintf(reason, sizeof reason, "syntax error in configuration (%s:%d): %s",
                   ini->place.file, ini->place.line, what);
    problem(ini, NULL, reason);
}

static void out_of_memory(struct ini *ini)
{
    if (!ini->out_of_memory)
        problem(ini, NULL, "out of memory");
    ini->out_of_memory = true;
}

static const char *remember_name(struct ini *ini, const char *name)
{
    size_t size = strlen(name) + 1;
    struct file_name *entry = memory_zalloc(sizeof *entry + size);

    if (entry == NULL)
        return NULL;
    memcpy(entry->text, name, size);
    SLIST_INSERT_HEAD(&ini->names, entry, link);
    return entry->text;
}

/* ---- files ---- */

static void input_finish(struct input *input)
{
    if (input->is_owned && input->data != NULL) {
        memory_wipe(input->data, input->size);
        memory_free(input->data);
    }
    *input = (struct input){0};
}

/* Doubles the memory of a file being read, without leaving its contents behind as realloc would. */
static bool grow(char **data, size_t used, size_t *capacity)
{
    size_t larger = *capacity * 2;
    char *copy = memory_zalloc(larger);

    if (copy == NULL)
        return false;
    memcpy(copy, *data, used);
    memory_wipe(*data, used);
    memory_free(*data);
    *data = copy;
    *capacity = larger;
    return true;
}

/* Reads to the end, not to the size that fstat tells: a pipe has none. Gives 0 or an errno. */
static int read_all(int descriptor, size_t capacity, char **data, size_t *size)
{
    *size = 0;
    *data = memory_zalloc(capacity);
    if (*data == NULL)
        return ENOMEM;
    for (;;) {
        ssize_t got;

        if (*size == capacity && !grow(data, *size, &capacity))
            return ENOMEM;
        got = read(descriptor, *data + *size, capacity - *size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            return 0;
        *size += (size_t)got;
        if (*size > INI_FILE_SIZE_MAX)
            return EFBIG;
    }
}

static int read_file(const char *file, char **data, size_t *size)
{
    struct stat status;
    size_t capacity = READ_START_SIZE;
    int descriptor, failure;

    *data = NULL;
    *size = 0;
    descriptor = open(file, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return errno;
    if (fstat(descriptor, &status) == 0 && status.st_size > 0 && status.st_size < INI_FILE_SIZE_MAX)
        capacity = (size_t)status.st_size + 1;
    failure = read_all(descriptor, capacity, data, size);
    (void)close(descriptor);
    if (failure != 0 && *data != NULL) {
        memory_wipe(*data, *size);
        memory_free(*data);
        *data = NULL;
    }
    return failure;
}

/* Puts a file on top of the inputs. The problem, if any, is told at ini->place. */
static void open_input(struct ini *ini, const char *file, const char *key)
{
    struct input input = {.is_owned = true};
    char reason[REASON_MAX];
    int failure;

    if (++ini->files > INI_FILES_MAX) {
        if (ini->files == INI_FILES_MAX + 1) {
            (void)snprintf(reason, sizeof reason, "more than %d files are included", INI_FILES_MAX);
            problem(ini, key, reason);
        }
        return;
    }
    failure = read_file(file, &input.data, &input.size);
    if (failure != 0) {
        (void)snprintf(reason, sizeof reason, "could not load file \"%s\": %s", file,
                       strerrordesc_np(failure));
        problem(ini, key, reason);
        return;
    }
    input.name = remember_name(ini, file);
    if (input.name == NULL) {
        input_finish(&input);
        out_of_memory(ini);
        return;
    }
    ini->inputs[ini->depth++] = input;
}

/* ---- lines ---- */

/* White space as isspace has it in the C locale; a file does not mean something else in another
 * one. */
static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool is_key_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '.' || byte == '*' || byte == '-';
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    return at;
}

static const char *trim_end(const char *at, const char *end)
{
    while (end > at && is_space(end[-1]))
        end--;
    return end;
}

/* `at` is behind "%include". */
static void take_include(struct ini *ini, const char *at, const char *end)
{
    char reason[REASON_MAX];
    char *file;

    if (at == end || (*at != ' ' && *at != '\t')) {
        syntax_error(ini, "%include wants a space and the name of a file");
        return;
    }
    if (ini->depth > INI_INCLUDE_DEPTH_MAX) {
        (void)snprintf(reason, sizeof reason, "include nesting level too deep (%s:%d)",
                       ini->place.file, ini->place.line);
        problem(ini, "%include", reason);
        return;
    }
    at = skip_space(at, end);
    file = memory_strndup(at, (size_t)(trim_end(at, end) - at));
    if (file == NULL) {
        out_of_memory(ini);
        return;
    }
    open_input(ini, file, "%include");
    memory_free(file);
}

/* `at` is behind the '['. Gives the place behind the ']', or NULL. */
static const char *take_section(struct ini *ini, const char *at, const char *end)
{
    const char *close = memchr(at, ']', (size_t)(end - at));
    char *name;

    if (close == NULL) {
        syntax_error(ini, "no ] behind the name of a section");
        return NULL;
    }
    name = memory_strndup(at, (size_t)(close - at));
    if (name == NULL) {
        out_of_memory(ini);
        return NULL;
    }
    ini->events.section(ini->events.argument, ini->place, name);
    memory_free(name);
    return close + 1;
}

/* Takes a key in quotes to ini->quoted_key; gives the place behind the closing quote, or NULL. */
static const char *take_quoted_key(struct ini *ini, const char *at, const char *end)
{
    const char *close = memchr(at + 1, *at, (size_t)(end - at - 1));

    if (close == NULL) {
        syntax_error(ini, "the quote before a key is not closed");
        return NULL;
    }
    if (close == at + 1) {
        syntax_error(ini, "an empty key");
        return NULL;
    }
    ini->quoted_key = memory_strndup(at + 1, (size_t)(close - at - 1));
    if (ini->quoted_key == NULL) {
        out_of_memory(ini);
        return NULL;
    }
    return close + 1;
}

static struct span span_between(const char *at, const char *end)
{
    return (struct span){(const uint8_t *)at, (size_t)(end - at)};
}

static struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static void missing_equals(struct ini *ini, struct span key)
{
    char what[REASON_MAX];

    (void)snprintf(what, sizeof what, "no = behind the key %.*s",
                   key.size < AT_KEY_MAX ? (int)key.size : AT_KEY_MAX, (const char *)key.data);
    syntax_error(ini, what);
}

/* Lays a pair out for inih as "key=value\n". False: a mistake, already told. */
static bool take_pair(struct ini *ini, const char *at, const char *end)
{
    const char *key_end = at;

    if (*at == '\'' || *at == '"') {
        key_end = take_quoted_key(ini, at, end);
        if (key_end == NULL)
            return false;
        ini->parts[0] = span_of(QUOTED_KEY);
    } else {
        while (key_end < end && is_key_byte(*key_end))
            key_end++;
        if (key_end == at) {
            syntax_error(ini, "a key cannot start like this");
            return false;
        }
        ini->parts[0] = span_between(at, key_end);
    }
    while (key_end < end && (*key_end == ' ' || *key_end == '\t'))
        key_end++;
    if (key_end == end || *key_end != '=') {
        missing_equals(ini, ini->quoted_key != NULL ? span_of(ini->quoted_key) : ini->parts[0]);
        return false;
    }
    ini->parts[1] = span_of("=");
    ini->parts[2] = span_between(key_end + 1, end);
    ini->parts[3] = span_of("\n");
    ini->part = 0;
    return true;
}

/* True: the line holds a pair for inih. A section head may have more behind it on its line. */
static bool take_line(struct ini *ini, const char *at, const char *end)
{
    if (memchr(at, '\0', (size_t)(end - at)) != NULL) {
        syntax_error(ini, "a zero byte");
        return false;
    }
    for (;;) {
        at = skip_space(at, end);
        if (at == end || *at == ';' || *at == '#')
            return false;
        if (*at == '%' && end - at >= 8 && memcmp(at, "%include", 8) == 0) {
            take_include(ini, at + 8, end);
            return false;
        }
        if (*at != '[')
            return take_pair(ini, at, end);
        at = take_section(ini, at + 1, end);
        if (at == NULL)
            return false;
    }
}

/* Goes on to the next line that holds a pair, through ends of files and into included ones. False:
 * all is read. */
static bool next_pair(struct ini *ini)
{
    memory_free(ini->quoted_key);
    ini->quoted_key = NULL;
    while (ini->depth > 0 && !ini->out_of_memory) {
        struct input *input = &ini->inputs[ini->depth - 1];
        const char *start = input->data + input->at, *end;
        size_t left = input->size - input->at;

        if (left == 0) {
            input_finish(input);
            ini->depth--;
            continue;
        }
        end = memchr(start, '\n', left);
        input->at = end != NULL ? input->at + (size_t)(end + 1 - start) : input->size;
        if (end == NULL)
            end = start + left;
        input->line++;
        ini->place = (struct ini_place){input->name, input->line};
        if (take_line(ini, start, end))
            return true;
        memory_free(ini->quoted_key);
        ini->quoted_key = NULL;
    }
    return false;
}

/* ---- inih ---- */

/* As fgets: at most size - 1 bytes of the laid out line, the next call goes on with it; NULL at the
 * end. */
static char *read_for_inih(char *line, int size, void *stream)
{
    struct ini *ini = stream;
    size_t room = (size_t)size - 1, used = 0;

    if (ini->part == (int)(sizeof ini->parts / sizeof *ini->parts) && !next_pair(ini)) {
        memory_wipe(line, (size_t)size);
        return NULL;
    }
    while (ini->part < (int)(sizeof ini->parts / sizeof *ini->parts) && used < room) {
        struct span *part = &ini->parts[ini->part];
        size_t some = part->size < room - used ? part->size : room - used;

        memcpy(line + used, part->data, some);
        used += some;
        part->data += some;
        part->size -= some;
        if (part->size == 0)
            ini->part++;
    }
    line[used] = '\0';
    return line;
}

static int handle_pair(void *user, const char *section, const char *name, const char *value)
{
    struct ini *ini = user;

    (void)section;
    ini->events.key(ini->events.argument, ini->place,
                    ini->quoted_key != NULL ? ini->quoted_key : name, value);
    return 1;
}

/* A value that holds ';' is whole, an indented line is no continuation, and lines are as long as
 * they like. */
static void set_inih_switches(void)
{
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    ini_allow_no_value = false;
    ini_allow_bom = false;
    ini_stop_on_first_error = false;
    ini_use_stack = false;
    ini_allow_realloc = true;
    ini_initial_alloc = LINE_START_SIZE;
    ini_max_line = 4 * INI_FILE_SIZE_MAX;
}

static void run(struct ini *ini)
{
    set_inih_switches();
    ini->part = (int)(sizeof ini->parts / sizeof *ini->parts);
    if (ini_parse_stream(read_for_inih, ini, handle_pair, ini) != 0)
        out_of_memory(ini);
    while (ini->depth > 0)
        input_finish(&ini->inputs[--ini->depth]);
    memory_free(ini->quoted_key);
    ini->quoted_key = NULL;
}

void ini_load(struct ini *ini, const char *file)
{
    ini->place = (struct ini_place){remember_name(ini, file), 0};
    if (ini->place.file == NULL) {
        ini->place.file = "";
        out_of_memory(ini);
        return;
    }
    open_input(ini, file, NULL);
    run(ini);
}

void ini_load_text(struct ini *ini, const char *name, const char *data, size_t size)
{
    struct input input = {.name = remember_name(ini, name), .size = size, .is_owned = true};

    ini->place = (struct ini_place){input.name != NULL ? input.name : "", 0};
    input.data = memory_dup(data, size);
    if (input.data == NULL || input.name == NULL) {
        input_finish(&input);
        out_of_memory(ini);
        return;
    }
    ini->inputs[ini->depth++] = input;
    run(ini);
}

struct ini *ini_create(const struct ini_events *events)
{
    struct ini *ini = memory_zalloc(sizeof *ini);

    if (ini != NULL)
        ini->events = *events;
    return ini;
}

void ini_destroy(struct ini *ini)
{
    struct file_name *name;

    if (ini == NULL)
        return;
    while ((name = SLIST_FIRST(&ini->names)) != NULL) {
        SLIST_REMOVE_HEAD(&ini->names, link);
        memory_free(name);
    }
    memory_free(ini);
}
