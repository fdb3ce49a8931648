/* Files that hold secrets: who else can read them, and the key that is read from one. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/crypto.h"
#include "base/memory.h"
#include "load_private.h"

#define KEY_FILE_MAX   4096
#define KEY_FILE_LEAST 32
/* Other keys that are ever made from the same file have other labels. */
#define MOCK_KEY_LABEL "pgweir auth_mock_key"

static bool is_empty(const char *text)
{
    return text == NULL || *text == '\0';
}

/* ---- who can read them ---- */

/* What is wrong with the rights of a file that should be 0600, or 0640 and root's; NULL: nothing.
 */
static const char *find_fault(const char *path)
{
    struct stat file;

    if (stat(path, &file) != 0 || !S_ISREG(file.st_mode))
        return NULL;
    if ((file.st_mode & S_IWOTH) != 0)
        return "can be changed by everybody";
    if ((file.st_mode & S_IROTH) != 0)
        return "can be read by everybody";
    if ((file.st_mode & S_IWGRP) != 0)
        return "can be changed by its group";
    if ((file.st_mode & S_IRGRP) != 0 && file.st_uid != 0)
        return "can be read by its group, and is not root's";
    return NULL;
}

static void check_file(struct loader *loader, struct ini_place place, const char *key,
                       const char *path)
{
    const char *fault = find_fault(path);

    if (fault != NULL)
        problems_add(loader->warnings, place, key,
                     "the file %s holds secrets and %s: make it 0600, or 0640 owned by root", path,
                     fault);
}

void secrets_check_files(struct loader *loader)
{
    const struct settings *settings = &loader->config->settings;
    const struct {
        const char *key, *path;
    } files[] = {
        {"auth_file", settings->auth_file},
        {"auth_mock_key_file", settings->auth_mock_key_file},
        {"client_tls_key_file", settings->client_tls_key_file},
        {"server_tls_key_file", settings->server_tls_key_file},
    };

    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        if (!is_empty(files[i].path))
            check_file(loader, place_of(loader, files[i].key), files[i].key, files[i].path);
}

/* Once for the file that was told last: a file's secrets are mostly read in a row. */
void secrets_found(struct loader *loader, struct ini_place place)
{
    if (place.file == NULL ||
        (loader->told_file != NULL && strcmp(loader->told_file, place.file) == 0))
        return;
    loader->told_file = place.file;
    check_file(loader, place, NULL, place.file);
}

/* ---- auth_mock_key_file ---- */

/* The size; -1: errno says why. */
static ssize_t read_file(const char *path, uint8_t *data, size_t limit)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = 0, got;

    if (descriptor < 0)
        return -1;
    do {
        got = read(descriptor, data + size, limit - (size_t)size);
        size += got > 0 ? got : 0;
    } while ((got > 0 && (size_t)size < limit) || (got < 0 && errno == EINTR));
    int cause = errno;
    close(descriptor);
    errno = cause;
    return got < 0 ? -1 : size;
}

static void make_key(const uint8_t *data, size_t size, uint8_t key[AUTH_SHA256_SIZE])
{
    const struct span label = {(const uint8_t *)MOCK_KEY_LABEL, sizeof(MOCK_KEY_LABEL) - 1};
    struct auth_crypto_key secret;

    auth_crypto_key_set(&secret, data, size);
    auth_crypto_hmac(&secret, &label, 1, key);
    memory_wipe(&secret, sizeof(secret));
}

void build_mock_key(struct loader *loader)
{
    static const char key[] = "auth_mock_key_file";
    const char *path = loader->config->settings.auth_mock_key_file;
    uint8_t data[KEY_FILE_MAX];

    if (is_empty(path))
        return;
    ssize_t size = read_file(path, data, sizeof(data));
    if (size < 0) {
        problems_add(loader->problems, place_of(loader, key), key, "could not read %s: %s", path,
                     strerror(errno));
    } else if (size < KEY_FILE_LEAST) {
        problems_add(loader->problems, place_of(loader, key), key,
                     "%s holds fewer than %d bytes: head -c %d /dev/urandom makes a key", path,
                     KEY_FILE_LEAST, KEY_FILE_LEAST);
    } else {
        make_key(data, (size_t)size, loader->config->mock_key);
        loader->config->has_mock_key = true;
    }
    memory_wipe(data, sizeof(data));
}
