/* Session tickets of TLS 1.3, sealed with keys of our own.
 *
 * OpenSSL's own keys belong to one SSL_CTX: a ticket would die with each reload, and could not be
 * read by a context of another thread. What keeps a ticket of one listener from opening another is
 * the session id context, not the key. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "tls_private.h"

#define KEY_NAME_SIZE 16 /* fixed by SSL_CTX_set_tlsext_ticket_key_evp_cb */

struct tls_ticket_keys {
    uint8_t name[KEY_NAME_SIZE];
    uint8_t cipher_key[32];
    uint8_t mac_key[32];
    EVP_CIPHER
    *cipher; /* fetched once: OpenSSL looks algorithms up by name at each use otherwise */
};

struct tls_ticket_keys *tls_ticket_keys_create(void)
{
    struct tls_ticket_keys *keys = memory_zalloc_secret(sizeof(*keys));

    if (keys == NULL)
        return NULL;
    keys->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (keys->cipher == NULL) {
        memory_wipe_and_free(keys, sizeof(*keys));
        return NULL;
    }
    random_bytes(keys->name, sizeof(keys->name));
    random_bytes(keys->cipher_key, sizeof(keys->cipher_key));
    random_bytes(keys->mac_key, sizeof(keys->mac_key));
    return keys;
}

void tls_ticket_keys_destroy(struct tls_ticket_keys *keys)
{
    if (keys == NULL)
        return;
    EVP_CIPHER_free(keys->cipher);
    memory_wipe_and_free(keys, sizeof(*keys));
}

static bool set_mac(const struct tls_ticket_keys *keys, EVP_MAC_CTX *mac)
{
    /* OSSL_PARAM has no const; nothing is written through it. */
    uint8_t key[sizeof(keys->mac_key)];
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, sizeof(key)),
        OSSL_PARAM_construct_end(),
    };

    memcpy(key, keys->mac_key, sizeof(key));
    bool is_set = EVP_MAC_CTX_set_params(mac, parameters) == 1;
    memory_wipe(key, sizeof(key));
    return is_set;
}

static int seal(const struct tls_ticket_keys *keys, unsigned char *name, unsigned char *iv,
                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    memcpy(name, keys->name, KEY_NAME_SIZE);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(keys->cipher)) != 1 ||
        EVP_EncryptInit_ex(cipher, keys->cipher, NULL, keys->cipher_key, iv) != 1 ||
        !set_mac(keys, mac))
        return -1;
    return 1;
}

/* 0: not ours, a full handshake follows. 2: good, and the client gets a new ticket: many use one
 * only once. */
static int unseal(const struct tls_ticket_keys *keys, const unsigned char *name,
                  const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    if (memcmp(name, keys->name, KEY_NAME_SIZE) != 0)
        return 0;
    if (EVP_DecryptInit_ex(cipher, keys->cipher, NULL, keys->cipher_key, iv) != 1 ||
        !set_mac(keys, mac))
        return -1;
    return 2;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int is_sealing)
{
    const struct tls_ticket_keys *keys = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    return is_sealing ? seal(keys, name, iv, cipher, mac) : unseal(keys, name, iv, cipher, mac);
}

/* Before TLS 1.3 a ticket's key opens the whole recorded connection, so there is none. (An option
 * of the context would do the same to TLS 1.3, or rather turn its tickets into entries of a cache
 * that does not exist.) */
static int on_certificate_needed(SSL *ssl, void *argument)
{
    (void)argument;
    if (SSL_version(ssl) < TLS1_3_VERSION)
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
    return 1;
}

bool tls_tickets_enable(SSL_CTX *ssl_ctx, struct tls_ticket_keys *keys)
{
    if (!SSL_CTX_set_app_data(ssl_ctx, keys))
        return false;
    SSL_CTX_set_cert_cb(ssl_ctx, on_certificate_needed, NULL);
    /* One: each costs a key derivation, a seal and a MAC, and a client that resumes gets the next
     * one then. */
    return SSL_CTX_set_num_tickets(ssl_ctx, 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_ctx, on_ticket) == 1;
}
