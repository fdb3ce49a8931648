#include "admin/command.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static void skip_space(const char **at)
{
    while (is_space(**at))
        ++*at;
}

/* What stands between two quotes, a doubled one being one. */
static enum command_verdict take_quoted(const char **at, char *text, size_t size)
{
    char quote = **at;
    size_t used = 0;
    for (++*at; **at; ++*at) {
        if (**at == quote && (*at)[1] == quote)
            ++*at;
        else if (**at == quote)
            break;
        if (used + 1 >= size)
            return COMMAND_BAD_ARGUMENTS;
        text[used++] = **at;
    }
    text[used] = 0;
    if (**at != quote)
        return COMMAND_INVALID;
    ++*at;
    return COMMAND_OK;
}

static enum command_verdict take_word(const char **at, char *text, size_t size)
{
    if (**at == '"')
        return take_quoted(at, text, size);
    size_t length = 0;
    while (is_word((*at)[length]))
        length++;
    if (length == 0)
        return COMMAND_INVALID;
    if (length >= size)
        return COMMAND_BAD_ARGUMENTS;
    memcpy(text, *at, length);
    text[length] = 0;
    *at += length;
    return COMMAND_OK;
}

static bool is_at_end(const char *at)
{
    skip_space(&at);
    if (*at == ';')
        at++;
    skip_space(&at);
    return *at == 0;
}

/* `key = value` or `key TO value`. */
static enum command_verdict parse_set(const char *at, struct command *command)
{
    enum command_verdict verdict = take_word(&at, command->argument, sizeof(command->argument));
    if (verdict != COMMAND_OK)
        return verdict;
    skip_space(&at);
    if (*at == '=')
        at++;
    else if (strncasecmp(at, "to", 2) == 0 && is_space(at[2]))
        at += 2;
    else
        return COMMAND_INVALID;
    skip_space(&at);
    verdict = *at == '\'' ? take_quoted(&at, command->value, sizeof(command->value))
                          : take_word(&at, command->value, sizeof(command->value));
    if (verdict != COMMAND_OK)
        return verdict;
    command->is_set = true;
    return is_at_end(at) ? COMMAND_OK : COMMAND_INVALID;
}

/* The commands of three words: KILL USER name, SHOW WHY id. */
static bool takes_a_third(const struct command *command)
{
    bool is_kill = strcmp(command->word, "KILL") == 0;
    return strcasecmp(command->argument, is_kill ? "USER" : "WHY") == 0 &&
           (is_kill || strcmp(command->word, "SHOW") == 0);
}

static enum command_verdict parse_third(const char *at, struct command *command)
{
    enum command_verdict verdict = take_word(&at, command->value, sizeof(command->value));
    if (verdict != COMMAND_OK)
        return verdict;
    command->is_kill_user = strcmp(command->word, "KILL") == 0;
    return is_at_end(at) ? COMMAND_OK : COMMAND_INVALID;
}

/* FLUSH AUTH [database [user]] */
static enum command_verdict parse_flush(const char *at, struct command *command)
{
    enum command_verdict verdict = take_word(&at, command->argument, sizeof(command->argument));
    if (verdict != COMMAND_OK)
        return verdict;
    skip_space(&at);
    if (!is_at_end(at))
        verdict = take_word(&at, command->value, sizeof(command->value));
    if (verdict != COMMAND_OK)
        return verdict;
    skip_space(&at);
    if (!is_at_end(at))
        verdict = take_word(&at, command->fourth, sizeof(command->fourth));
    if (verdict != COMMAND_OK)
        return verdict;
    return is_at_end(at) ? COMMAND_OK : COMMAND_INVALID;
}

enum command_verdict command_parse(const char *text, struct command *command)
{
    memset(command, 0, sizeof(*command));
    skip_space(&text);
    enum command_verdict verdict = take_word(&text, command->word, sizeof(command->word));
    if (verdict != COMMAND_OK)
        return verdict;
    for (char *c = command->word; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    bool is_separated = is_space(*text) || *text == 0 || *text == ';' || *text == '"';
    if (!is_separated)
        return COMMAND_INVALID;
    skip_space(&text);
    if (strcmp(command->word, "SET") == 0)
        return parse_set(text, command);
    if (strcmp(command->word, "FLUSH") == 0)
        return parse_flush(text, command);
    if (is_at_end(text))
        return COMMAND_OK;
    verdict = take_word(&text, command->argument, sizeof(command->argument));
    if (verdict != COMMAND_OK)
        return verdict;
    if (is_at_end(text))
        return COMMAND_OK;
    skip_space(&text);
    return takes_a_third(command) ? parse_third(text, command) : COMMAND_INVALID;
}
