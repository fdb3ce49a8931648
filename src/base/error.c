#include "base/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Texts of peers come in here: a line break or an escape sequence must not reach a terminal or a
 * log. */
static void replace_control_bytes(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

/* Takes a UTF-8 character that a cut left incomplete off the end. */
static void trim_partial_character(char *text, size_t length)
{
    size_t start = length;

    while (start > 0 && length - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t expected = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (expected > 1 && length - start + 1 < expected)
        text[start - 1] = '\0';
}

static void finish_text(char *text, size_t size, int length)
{
    if (length < 0)
        text[0] = '\0';
    else if ((size_t)length >= size)
        trim_partial_character(text, size - 1);
    replace_control_bytes(text);
}

bool error_set(struct error *error, const char *sqlstate, const char *format, ...)
{
    if (error == NULL)
        return false;
    /* By way of a copy: the arguments may be texts of this very error. */
    struct error made = {.hint = ""};
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(made.message, sizeof(made.message), format, arguments);
    va_end(arguments);
    finish_text(made.message, sizeof(made.message), length);
    snprintf(made.sqlstate, sizeof(made.sqlstate), "%s", sqlstate);
    *error = made;
    return false;
}

bool error_hint(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return false;
    char hint[ERROR_HINT_MAX];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(hint, sizeof(hint), format, arguments);
    va_end(arguments);
    finish_text(hint, sizeof(hint), length);
    memcpy(error->hint, hint, sizeof(hint));
    return false;
}

bool error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return false;
    char where[ERROR_MESSAGE_MAX], message[ERROR_MESSAGE_MAX];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(where, sizeof(where), format, arguments);
    va_end(arguments);
    finish_text(where, sizeof(where), length);
    memcpy(message, error->message, sizeof(message));
    length = snprintf(error->message, sizeof(error->message), "%s: %s", where, message);
    finish_text(error->message, sizeof(error->message), length);
    return false;
}
