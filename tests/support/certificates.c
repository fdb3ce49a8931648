#include "support/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VALID_SECONDS 86400

static void need(int is_done, const char *what)
{
    if (is_done)
        return;
    fprintf(stderr, "cannot make a certificate: %s\n", what);
    exit(1);
}

static FILE *open_file(const char *dir, const char *name, const char *ending, const char *mode)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s.%s", dir, name, ending);
    FILE *file = fopen(path, mode);
    need(file != NULL, path);
    return file;
}

static void add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    need(extension != NULL && X509_add_ext(x509, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

static X509 *fill(const struct certificate *certificate, EVP_PKEY *key)
{
    static long serial;
    X509 *x509 = X509_new();

    need(x509 != NULL && X509_set_version(x509, 2) == 1, "X509_new");
    ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), VALID_SECONDS);
    X509_set_pubkey(x509, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
                               (const unsigned char *)certificate->common_name, -1, -1, 0);
    return x509;
}

static void sign(X509 *x509, const char *dir, const struct certificate *certificate, EVP_PKEY *key)
{
    X509 *issuer = x509;
    EVP_PKEY *issuer_key = key;

    if (certificate->issuer != NULL) {
        FILE *file = open_file(dir, certificate->issuer, "crt", "r");
        issuer = PEM_read_X509(file, NULL, NULL, NULL);
        fclose(file);
        file = open_file(dir, certificate->issuer, "key", "r");
        issuer_key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        fclose(file);
        need(issuer != NULL && issuer_key != NULL, certificate->issuer);
    }
    X509_set_issuer_name(x509, X509_get_subject_name(issuer));
    add_extension(x509, issuer, NID_basic_constraints,
                  certificate->is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (certificate->alternative_name != NULL)
        add_extension(x509, issuer, NID_subject_alt_name, certificate->alternative_name);
    need(X509_sign(x509, issuer_key, EVP_sha256()) > 0, "X509_sign");
    if (issuer != x509) {
        X509_free(issuer);
        EVP_PKEY_free(issuer_key);
    }
}

void certificate_make(const char *dir, const char *name, const struct certificate *certificate)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    need(key != NULL, "EVP_EC_gen");
    X509 *x509 = fill(certificate, key);
    sign(x509, dir, certificate, key);
    FILE *file = open_file(dir, name, "crt", "w");
    need(PEM_write_X509(file, x509) == 1, name);
    fclose(file);
    file = open_file(dir, name, "key", "w");
    need(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1, name);
    fclose(file);
    X509_free(x509);
    EVP_PKEY_free(key);
}

static pid_t maker;

/* Not by the processes that run single tests. */
static void remove_dir(void)
{
    char command[128];

    if (getpid() != maker)
        return;
    snprintf(command, sizeof(command), "rm -rf '%s'", certificates_dir());
    need(system(command) == 0, command);
}

const char *certificates_dir(void)
{
    static char dir[64];

    if (dir[0] == '\0') {
        snprintf(dir, sizeof(dir), "/tmp/pgweir-certificates-XXXXXX");
        need(mkdtemp(dir) != NULL, "mkdtemp");
        maker = getpid();
        atexit(remove_dir);
    }
    return dir;
}

const char *certificates_path(const char *file)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", certificates_dir(), file);
    return path;
}
