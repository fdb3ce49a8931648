#include "wire/query.h"

#include <string.h>

bool parse_message_read(struct span body, struct parse_message *parse)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    parse->name = cursor_string(&cursor);
    parse->query = cursor_string(&cursor);
    parse->type_count = cursor_u16(&cursor);
    parse->types = cursor_bytes(&cursor, (size_t)parse->type_count * 4);
    return cursor_finished(&cursor);
}

bool bind_message_read(struct span body_part, struct bind_message *bind, bool *need_more)
{
    struct cursor cursor = cursor_over(body_part.data, body_part.size);

    bind->portal = cursor_string(&cursor);
    bind->statement = cursor_string(&cursor);
    bind->rest = cursor_rest(&cursor, SIZE_MAX);
    *need_more = !cursor_ok(&cursor);
    return cursor_ok(&cursor);
}

bool bind_values_read(struct span rest, struct bind_values *values)
{
    struct cursor cursor = cursor_over(rest.data, rest.size);

    cursor_bytes(&cursor, (size_t)cursor_u16(&cursor) * 2);
    values->parameter_count = cursor_u16(&cursor);
    for (unsigned i = 0; i < values->parameter_count && cursor_ok(&cursor); i++) {
        int32_t size = cursor_i32(&cursor);
        if (size > 0)
            cursor_bytes(&cursor, (size_t)size);
    }
    values->format_count = cursor_u16(&cursor);
    values->formats = cursor_bytes(&cursor, (size_t)values->format_count * 2);
    return cursor_finished(&cursor);
}

bool target_message_read(struct span body, struct target_message *target)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    target->kind = cursor_u8(&cursor);
    target->name = cursor_string(&cursor);
    return cursor_finished(&cursor) && (target->kind == 'S' || target->kind == 'P');
}

bool execute_message_read(struct span body, const char **portal, uint32_t *max_rows)
{
    struct cursor cursor = cursor_over(body.data, body.size);

    *portal = cursor_string(&cursor);
    *max_rows = cursor_u32(&cursor);
    return cursor_finished(&cursor);
}

/* The text that is looked at; reads zero at its end, which no SQL text holds. */
struct text {
    const char *at, *end;
    bool is_open; /* a comment has no end */
};

static char peek(const struct text *text, size_t ahead)
{
    return (size_t)(text->end - text->at) > ahead ? text->at[ahead] : '\0';
}

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static void skip_line(struct text *text)
{
    while (peek(text, 0) != '\0' && peek(text, 0) != '\n' && peek(text, 0) != '\r')
        text->at++;
}

/* Comments nest in PostgreSQL. One that does not end takes the whole text. */
static void skip_comment(struct text *text)
{
    unsigned depth = 0;

    while (peek(text, 0) != '\0') {
        if (peek(text, 0) == '/' && peek(text, 1) == '*') {
            depth++;
            text->at += 2;
        } else if (peek(text, 0) == '*' && peek(text, 1) == '/') {
            depth--;
            text->at += 2;
            if (depth == 0)
                return;
        } else {
            text->at++;
        }
    }
    text->is_open = true;
}

/* White space and comments. */
static void skip_blank(struct text *text)
{
    for (;;) {
        if (is_space(peek(text, 0)))
            text->at++;
        else if (peek(text, 0) == '-' && peek(text, 1) == '-')
            skip_line(text);
        else if (peek(text, 0) == '/' && peek(text, 1) == '*')
            skip_comment(text);
        else
            return;
    }
}

static void skip_to_word(struct text *text)
{
    for (skip_blank(text); peek(text, 0) == ';'; skip_blank(text))
        text->at++;
}

/* PostgreSQL's rule for identifiers: a letter, '_' or a byte over 127, then digits and '$' too. */
static bool starts_word(char byte)
{
    char lower = (char)(byte | 0x20);

    return (lower >= 'a' && lower <= 'z') || byte == '_' || (byte & 0x80) != 0;
}

static bool continues_word(char byte)
{
    return starts_word(byte) || (byte >= '0' && byte <= '9') || byte == '$';
}

/* What of a word does not fit is left in the text. */
static void take_word(struct text *text, char *word, size_t word_size)
{
    size_t length = 0;

    if (starts_word(peek(text, 0))) {
        for (char byte; length + 1 < word_size && continues_word(byte = peek(text, 0)); text->at++)
            word[length++] = byte >= 'a' && byte <= 'z' ? (char)(byte - 'a' + 'A') : byte;
    }
    word[length] = '\0';
}

static struct text text_over(const char *text, size_t size)
{
    return (struct text){text, size > 0 ? text + size : text, false};
}

void query_first_word(const char *text, size_t size, char *word, size_t word_size)
{
    struct text rest = text_over(text, size);

    if (word_size == 0)
        return;
    skip_to_word(&rest);
    take_word(&rest, word, word_size);
}

static char lower_of(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

static void keep(char name[QUERY_NAME_SIZE], size_t *length, char byte)
{
    if (*length + 1 < QUERY_NAME_SIZE)
        name[(*length)++] = byte;
}

/* Behind the opening quote; two quotes are one. */
static bool take_quoted(struct text *text, char name[QUERY_NAME_SIZE])
{
    size_t length = 0;

    for (; peek(text, 0) != '\0'; text->at++) {
        if (*text->at == '"' && peek(text, 1) != '"') {
            text->at++;
            name[length] = '\0';
            return length > 0;
        }
        if (*text->at == '"')
            text->at++;
        keep(name, &length, *text->at);
    }
    name[length] = '\0';
    return false;
}

/* An identifier, if one comes next. */
static bool take_name(struct text *text, char name[QUERY_NAME_SIZE], bool *is_quoted)
{
    size_t length = 0;

    *is_quoted = peek(text, 0) == '"';
    if (*is_quoted) {
        text->at++;
        return take_quoted(text, name);
    }
    if (!starts_word(peek(text, 0)))
        return false;
    for (; continues_word(peek(text, 0)); text->at++)
        keep(name, &length, lower_of(*text->at));
    name[length] = '\0';
    return true;
}

static bool take_next_name(struct text *text, char name[QUERY_NAME_SIZE], bool *is_quoted)
{
    skip_blank(text);
    return take_name(text, name, is_quoted);
}

/* An EXECUTE stands near the beginning of an EXPLAIN or CREATE, or not at all. */
#define EXECUTE_WITHIN 512

static bool goes_on_to_execute(struct text *text)
{
    char word[QUERY_NAME_SIZE];
    bool is_quoted;
    const char *start = text->at;

    while (text->at < text->end && text->at - start < EXECUTE_WITHIN && *text->at != '\0') {
        if (!take_next_name(text, word, &is_quoted))
            text->at += text->at < text->end;
        else if (!is_quoted && strcmp(word, "execute") == 0)
            return true;
    }
    return false;
}

static enum query_name_use use_in_deallocate(struct text *text, char name[QUERY_NAME_SIZE])
{
    char next[QUERY_NAME_SIZE];
    bool is_quoted;

    if (!take_next_name(text, name, &is_quoted))
        return QUERY_NAMES_NOTHING;
    if (!is_quoted && strcmp(name, "prepare") == 0 && take_next_name(text, next, &is_quoted))
        memcpy(name, next, sizeof(next));
    return !is_quoted && strcmp(name, "all") == 0 ? QUERY_FORGETS_ALL : QUERY_DEALLOCATES;
}

static enum query_name_use use_in_discard(struct text *text, char name[QUERY_NAME_SIZE])
{
    bool is_quoted;

    return take_next_name(text, name, &is_quoted) && strcmp(name, "all") == 0 ? QUERY_FORGETS_ALL
                                                                              : QUERY_NAMES_NOTHING;
}

static enum query_name_use use_of_next_name(struct text *text, char name[QUERY_NAME_SIZE],
                                            enum query_name_use use)
{
    bool is_quoted;

    return take_next_name(text, name, &is_quoted) ? use : QUERY_NAMES_NOTHING;
}

/* Behind the text's first word. */
static enum query_name_use use_behind(const char *word, struct text *text,
                                      char name[QUERY_NAME_SIZE])
{
    if (strcmp(word, "execute") == 0)
        return use_of_next_name(text, name, QUERY_EXECUTES);
    if (strcmp(word, "prepare") == 0)
        return use_of_next_name(text, name, QUERY_PREPARES);
    if (strcmp(word, "deallocate") == 0)
        return use_in_deallocate(text, name);
    if (strcmp(word, "discard") == 0)
        return use_in_discard(text, name);
    return QUERY_NAMES_NOTHING;
}

void query_name_read(const char *text, size_t size, struct query_name *read)
{
    struct text rest = text_over(text, size);
    char word[QUERY_NAME_SIZE];
    bool is_quoted;

    read->use = QUERY_NAMES_NOTHING;
    read->name[0] = '\0';
    read->end = 0;
    skip_to_word(&rest);
    if (!take_name(&rest, word, &is_quoted) || is_quoted)
        return;
    if (strcmp(word, "explain") == 0 || strcmp(word, "create") == 0) {
        if (goes_on_to_execute(&rest))
            read->use = use_of_next_name(&rest, read->name, QUERY_EXECUTES);
        return;
    }
    read->use = use_behind(word, &rest, read->name);
    read->end = (size_t)(rest.at - text);
}

static enum query_ending ending_of(const char *word)
{
    if (strcmp(word, "ROLLBACK") == 0 || strcmp(word, "ABORT") == 0)
        return QUERY_ROLLBACK;
    if (strcmp(word, "COMMIT") == 0 || strcmp(word, "END") == 0)
        return QUERY_COMMIT;
    return QUERY_OTHER;
}

static bool is_at_end(const struct text *text)
{
    return text->at == text->end && !text->is_open;
}

enum query_ending query_ending(const char *text, size_t size)
{
    struct text rest = text_over(text, size);
    char word[16];

    skip_to_word(&rest);
    if (is_at_end(&rest))
        return QUERY_EMPTY;
    take_word(&rest, word, sizeof(word));
    enum query_ending ending = ending_of(word);
    skip_blank(&rest);
    take_word(&rest, word, sizeof(word));
    if (word[0] != '\0' && strcmp(word, "WORK") != 0 && strcmp(word, "TRANSACTION") != 0)
        return QUERY_OTHER;
    skip_to_word(&rest);
    return is_at_end(&rest) ? ending : QUERY_OTHER;
}
