#include "auth/md5.h"

#include <string.h>

#include "auth/crypto.h"
#include "base/memory.h"

#define PREFIX      "md5"
#define PREFIX_SIZE 3
#define DIGITS      (2 * AUTH_MD5_SIZE)

static bool hash_to_text(struct span first, struct span second, char text[MD5_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    const struct span parts[] = {first, second};
    uint8_t digest[AUTH_MD5_SIZE];

    if (!auth_crypto_md5(parts, 2, digest))
        return false;
    memcpy(text, PREFIX, PREFIX_SIZE);
    for (size_t i = 0; i < sizeof(digest); i++) {
        text[PREFIX_SIZE + 2 * i] = digits[digest[i] >> 4];
        text[PREFIX_SIZE + 2 * i + 1] = digits[digest[i] & 15];
    }
    text[PREFIX_SIZE + DIGITS] = '\0';
    memory_wipe(digest, sizeof(digest));
    return true;
}

static struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

bool md5_stored(const char *password, const char *name, char text[MD5_TEXT_SIZE])
{
    return hash_to_text(span_of(password), span_of(name), text);
}

bool md5_answer(const char *stored, const uint8_t salt[4], char text[MD5_TEXT_SIZE])
{
    if (strlen(stored) != PREFIX_SIZE + DIGITS)
        return false;
    const struct span hash = {(const uint8_t *)stored + PREFIX_SIZE, DIGITS};
    return hash_to_text(hash, (struct span){salt, 4}, text);
}
