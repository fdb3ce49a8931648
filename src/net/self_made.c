#include "net/self_made.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VALID_SECONDS (10L * 365 * 24 * 3600)
#define NAMES         "DNS:localhost,IP:127.0.0.1,IP:::1"

static bool refuse(struct error *error, const char *file, const char *why)
{
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "the self-made certificate: \"%s\": %s",
                     file, why);
}

static bool add_names(X509 *certificate)
{
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, NAMES);
    bool ok = names != NULL && X509_add_ext(certificate, names, -1) == 1;
    X509_EXTENSION_free(names);
    return ok;
}

static bool set_serial(X509 *certificate)
{
    uint64_t serial;

    return RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1;
}

static X509 *make(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    X509_NAME *name = certificate != NULL ? X509_get_subject_name(certificate) : NULL;

    if (name != NULL && X509_set_version(certificate, 2) == 1 && set_serial(certificate) &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_SECONDS) != NULL &&
        X509_set_pubkey(certificate, key) == 1 &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"pgweir", -1,
                                   -1, 0) == 1 &&
        X509_set_issuer_name(certificate, name) == 1 && add_names(certificate) &&
        X509_sign(certificate, key, EVP_sha256()) > 0)
        return certificate;
    X509_free(certificate);
    return NULL;
}

/* In place of what stood there. */
static FILE *create(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return NULL;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL && fd >= 0)
        close(fd);
    return file;
}

static bool write_key(const char *path, EVP_PKEY *key)
{
    FILE *file = create(path);

    if (file == NULL)
        return false;
    bool ok = PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;
    return fclose(file) == 0 && ok;
}

static bool write_certificate(const char *path, X509 *certificate)
{
    FILE *file = create(path);

    if (file == NULL)
        return false;
    bool ok = PEM_write_X509(file, certificate) == 1;
    return fclose(file) == 0 && ok;
}

static bool make_files(const char *certificate_file, const char *key_file, struct error *error)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key != NULL ? make(key) : NULL;
    bool ok = false;

    errno = 0;
    if (certificate == NULL)
        refuse(error, certificate_file, "OpenSSL cannot make it");
    else if (!write_key(key_file, key))
        refuse(error, key_file, errno != 0 ? strerror(errno) : "cannot be written");
    else if (!write_certificate(certificate_file, certificate))
        refuse(error, certificate_file, errno != 0 ? strerror(errno) : "cannot be written");
    else
        ok = true;
    X509_free(certificate);
    EVP_PKEY_free(key);
    return ok;
}

static bool read_fingerprint(const char *path, char fingerprint[SELF_MADE_FINGERPRINT])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    FILE *file = fopen(path, "re");
    X509 *certificate = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    bool ok = certificate != NULL && X509_digest(certificate, EVP_sha256(), hash, &size) == 1;

    for (unsigned i = 0; ok && i < size; i++)
        snprintf(fingerprint + 2 * (size_t)i, 3, "%02x", hash[i]);
    X509_free(certificate);
    if (file != NULL)
        (void)fclose(file);
    return ok;
}

bool self_made_certificate(const char *certificate_file, const char *key_file,
                           char fingerprint[SELF_MADE_FINGERPRINT], struct error *error)
{
    if ((access(certificate_file, F_OK) != 0 || access(key_file, F_OK) != 0) &&
        !make_files(certificate_file, key_file, error))
        return false;
    return read_fingerprint(certificate_file, fingerprint) ||
           refuse(error, certificate_file, "is no certificate");
}
