#include "auth/saslprep.h"

#include <idn-free.h>
#include <string.h>
#include <stringprep.h>

#include "base/memory.h"

/* NFKC makes 18 characters of one (U+FDFA); nothing makes more. */
#define EXPANSION_MAX 18

static bool is_ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static void free_characters(uint32_t *characters, size_t count)
{
    if (characters == NULL)
        return;
    memory_wipe(characters, count * sizeof(*characters));
    idn_free(characters);
}

/* Copies what libidn allocated, so that callers have one way to free. */
static bool take_text(char *text, size_t size, char **prepared)
{
    *prepared = memory_strndup_secret(text, size);
    memory_wipe(text, size);
    idn_free(text);
    return *prepared != NULL;
}

static bool prepare_characters(const uint32_t *characters, size_t count, char **prepared)
{
    size_t capacity = count * EXPANSION_MAX + 1;
    uint32_t *work = memory_zalloc_array(capacity, sizeof(*work));
    bool is_good = work != NULL;

    if (is_good) {
        memcpy(work, characters, count * sizeof(*work));
        int result =
            stringprep_4i(work, &count, capacity, STRINGPREP_NO_UNASSIGNED, stringprep_saslprep);
        is_good = result != STRINGPREP_MALLOC_ERROR;
        /* Nothing left (soft hyphens alone): PostgreSQL takes that as refused. */
        if (result == STRINGPREP_OK && count > 0) {
            size_t size = 0;
            char *text = stringprep_ucs4_to_utf8(work, (ssize_t)count, NULL, &size);
            is_good = text != NULL && take_text(text, size, prepared);
        }
        memory_wipe(work, capacity * sizeof(*work));
    }
    memory_free(work);
    return is_good;
}

bool saslprep(const char *password, char **prepared)
{
    size_t size = strlen(password);
    size_t count = 0;

    *prepared = NULL;
    if (is_ascii(password) || size > SASLPREP_BYTES_MAX)
        return true;
    uint32_t *characters = stringprep_utf8_to_ucs4(password, (ssize_t)size, &count);
    if (characters == NULL)
        return true; /* not UTF-8 */
    bool is_good = prepare_characters(characters, count, prepared);
    free_characters(characters, count);
    return is_good;
}
