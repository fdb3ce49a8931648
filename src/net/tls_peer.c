/* What certificates say: a peer's, about who it is (it was verified in the handshake, or there is
 * none), and the server's, about which connection this is. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "tls_private.h"

/* Borrowed; NULL: none that verifies. */
static X509 *certificate_of(const struct stream *stream)
{
    const struct tls_state *tls = stream_is_tls(stream) ? stream->transport_state : NULL;

    if (tls == NULL || !tls->is_established || SSL_get_verify_result(tls->ssl) != X509_V_OK)
        return NULL;
    return SSL_get0_peer_certificate(tls->ssl);
}

bool stream_tls_has_peer(const struct stream *stream)
{
    return certificate_of(stream) != NULL;
}

bool stream_tls_peer_name(const struct stream *stream, char *text, size_t size)
{
    X509 *certificate = certificate_of(stream);

    if (certificate == NULL)
        return false;
    X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (index < 0)
        return false;
    unsigned char *name = NULL;
    int length =
        ASN1_STRING_to_UTF8(&name, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
    /* A zero byte inside would make a longer name look like a shorter one. */
    bool fits = length > 0 && (size_t)length < size && memchr(name, 0, (size_t)length) == NULL;
    if (fits) {
        memcpy(text, name, (size_t)length);
        text[length] = '\0';
    }
    OPENSSL_free(name);
    ERR_clear_error();
    return fits;
}

bool stream_tls_peer_fingerprint(const struct stream *stream, char *text, size_t size)
{
    X509 *certificate = certificate_of(stream);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;

    if (certificate == NULL || X509_digest(certificate, EVP_sha256(), digest, &digest_size) != 1 ||
        size <= 2 * (size_t)digest_size)
        return false;
    for (unsigned i = 0; i < digest_size; i++)
        snprintf(text + (size_t)2 * i, 3, "%02x", digest[i]);
    return true;
}

static bool is_called(X509 *certificate, const char *name)
{
    /* To OpenSSL a name that begins with a dot stands for all names below it. */
    if (certificate == NULL || name[0] == '\0' || name[0] == '.')
        return false;
    bool is_called_so =
        X509_check_host(certificate, name, 0,
                        X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                        NULL) == 1 ||
        X509_check_ip_asc(certificate, name, 0) == 1;
    ERR_clear_error();
    return is_called_so;
}

bool stream_tls_peer_is(const struct stream *stream, const char *name)
{
    return is_called(certificate_of(stream), name);
}

bool stream_tls_own_is(const struct stream *stream, const char *name)
{
    const struct tls_state *tls = stream_is_tls(stream) ? stream->transport_state : NULL;

    return tls != NULL && tls->is_established && is_called(SSL_get_certificate(tls->ssl), name);
}

/* RFC 5929 §4.1. */
static const EVP_MD *binding_hash(X509 *certificate)
{
    int hash = NID_undef;

    if (X509_get_signature_info(certificate, &hash, NULL, NULL, NULL) != 1)
        return NULL;
    if (hash == NID_md5 || hash == NID_sha1)
        return EVP_sha256();
    return hash != NID_undef ? EVP_get_digestbynid(hash) : NULL;
}

size_t stream_tls_end_point(const struct stream *stream, uint8_t hash[STREAM_END_POINT_MAX])
{
    const struct tls_state *tls = stream_is_tls(stream) ? stream->transport_state : NULL;
    unsigned size = 0;

    if (tls == NULL || !tls->is_established)
        return 0;
    /* Whether it verifies is another matter: the two ends compare what they have seen. */
    X509 *certificate = stream->handshake_is_server ? SSL_get_certificate(tls->ssl)
                                                    : SSL_get0_peer_certificate(tls->ssl);
    const EVP_MD *kind = certificate != NULL ? binding_hash(certificate) : NULL;
    if (kind == NULL || EVP_MD_get_size(kind) > STREAM_END_POINT_MAX ||
        X509_digest(certificate, kind, hash, &size) != 1)
        size = 0;
    ERR_clear_error();
    return size;
}
