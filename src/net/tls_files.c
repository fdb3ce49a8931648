#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "tls_private.h"

#define PAIR_ATTEMPTS 3

const char *tls_take_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    if (code != 0 && ERR_SYSTEM_ERROR(code))
        reason = strerror(ERR_GET_REASON(code));
    ERR_clear_error();
    return reason != NULL ? reason : "not understood";
}

static bool refuse(struct tls_file *file, const char *what, const char *path, const char *why,
                   struct error *error)
{
    tls_file_finish(file);
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "TLS setup failed: %s \"%s\": %s", what,
                     path, why);
}

/* Reads to the end, whatever size the file said it had: it may be a pipe, or grow. */
static const char *read_all(struct tls_file *file, int fd)
{
    size_t capacity = 0;

    for (;;) {
        if (file->size == capacity) {
            if (capacity >= TLS_FILE_MAX)
                return "is larger than 1 MiB";
            /* Not realloc: it would leave a copy of a key behind. */
            size_t larger = capacity == 0 ? 16384 : capacity * 4;
            uint8_t *data = memory_zalloc(larger);
            if (data == NULL)
                return "out of memory";
            if (file->size > 0)
                memcpy(data, file->data, file->size);
            if (file->data != NULL)
                memory_wipe(file->data, file->size);
            memory_free(file->data);
            file->data = data;
            capacity = larger;
        }
        ssize_t got = read(fd, file->data + file->size, capacity - file->size);
        if (got == 0)
            return NULL;
        if (got < 0 && errno != EINTR)
            return strerror(errno);
        if (got > 0)
            file->size += (size_t)got;
    }
}

bool tls_file_read(struct tls_file *file, const char *what, const char *path, struct error *error)
{
    *file = (struct tls_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(file, what, path, strerror(errno), error);
    const char *why = fstat(fd, &file->identity) == 0 ? read_all(file, fd) : strerror(errno);
    close(fd);
    return why == NULL || refuse(file, what, path, why, error);
}

void tls_file_finish(struct tls_file *file)
{
    if (file->data != NULL)
        memory_wipe(file->data, file->size);
    memory_free(file->data);
    *file = (struct tls_file){0};
}

static bool is_still(const struct tls_file *file, const char *path)
{
    struct stat now;

    return stat(path, &now) == 0 && now.st_dev == file->identity.st_dev &&
           now.st_ino == file->identity.st_ino && now.st_size == file->identity.st_size &&
           now.st_mtim.tv_sec == file->identity.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == file->identity.st_mtim.tv_nsec;
}

bool tls_file_read_pair(struct tls_file *certificate, const char *certificate_path,
                        struct tls_file *key, const char *key_path, struct error *error)
{
    *certificate = *key = (struct tls_file){0};
    for (int attempt = 0; attempt < PAIR_ATTEMPTS; attempt++) {
        tls_file_finish(certificate);
        tls_file_finish(key);
        if (!tls_file_read(certificate, "certificate file", certificate_path, error) ||
            !tls_file_read(key, "key file", key_path, error))
            break;
        if (is_still(certificate, certificate_path) && is_still(key, key_path))
            return true;
        error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                  "TLS setup failed: certificate file \"%s\" and key file \"%s\" change while they "
                  "are read",
                  certificate_path, key_path);
    }
    tls_file_finish(certificate);
    tls_file_finish(key);
    return false;
}
