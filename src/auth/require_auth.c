#include "auth/require_auth.h"

#include <string.h>

static unsigned method_called(const char *word, size_t size)
{
    static const struct {
        const char *name;
        unsigned method;
    } methods[] = {
        {"password", SERVER_AUTH_PASSWORD},   {"md5", SERVER_AUTH_MD5},
        {"scram-sha-256", SERVER_AUTH_SCRAM}, {"none", SERVER_AUTH_NONE},
        {"gss", SERVER_AUTH_OTHER},           {"sspi", SERVER_AUTH_OTHER},
    };

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strlen(methods[i].name) == size && memcmp(methods[i].name, word, size) == 0)
            return methods[i].method;
    return 0;
}

bool require_auth_parse(const char *text, unsigned *allowed, struct error *error)
{
    unsigned named = 0;
    bool is_negative = false;

    *allowed = SERVER_AUTH_ALL;
    if (text == NULL || text[strspn(text, ", \t")] == '\0')
        return true;
    for (const char *at = text + strspn(text, ", \t"); *at != '\0'; at += strspn(at, ", \t")) {
        size_t size = strcspn(at, ", \t");
        bool has_mark = *at == '!';
        unsigned method = method_called(at + has_mark, size - has_mark);
        if (method == 0)
            return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                             "\"%.*s\" is none of password, md5, scram-sha-256, none, gss, sspi",
                             (int)(size < 32 ? size : 32), at);
        if (named != 0 && has_mark != is_negative)
            return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                             "words with and without ! cannot be mixed");
        is_negative = has_mark;
        named |= method;
        at += size;
    }
    *allowed = is_negative ? SERVER_AUTH_ALL & ~named : named;
    return true;
}
