#include "wire/query.h"

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
}

static void skip_to_word(struct text *text)
{
    for (;;) {
        if (is_space(peek(text, 0)) || peek(text, 0) == ';')
            text->at++;
        else if (peek(text, 0) == '-' && peek(text, 1) == '-')
            skip_line(text);
        else if (peek(text, 0) == '/' && peek(text, 1) == '*')
            skip_comment(text);
        else
            return;
    }
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

void query_first_word(const char *text, size_t size, char *word, size_t word_size)
{
    struct text rest = {text, size > 0 ? text + size : text};
    size_t length = 0;

    if (word_size == 0)
        return;
    skip_to_word(&rest);
    if (starts_word(peek(&rest, 0))) {
        for (char byte; length + 1 < word_size && continues_word(byte = peek(&rest, 0)); rest.at++)
            word[length++] = byte >= 'a' && byte <= 'z' ? (char)(byte - 'a' + 'A') : byte;
    }
    word[length] = '\0';
}
