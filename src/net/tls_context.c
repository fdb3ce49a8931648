#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "tls_private.h"

#define CHAIN_DEPTH_MAX 6
#define CERT_LIST_MAX   (16 * 1024)

static bool is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

static bool out_of_memory(struct error *error)
{
    ERR_clear_error();
    return error_set(error, SQLSTATE_OUT_OF_MEMORY, "TLS setup failed: out of memory");
}

static bool file_is_bad(const char *what, const char *path, struct error *error)
{
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "TLS setup failed: %s \"%s\": %s", what,
                     path, tls_take_reason());
}

/* --- Certificates ---------------------------------------------------------------------------- */

/* Without it OpenSSL would ask for the password at the terminal. */
static int no_password(char *buffer, int size, int is_writing, void *argument)
{
    (void)buffer;
    (void)size;
    (void)is_writing;
    (void)argument;
    return -1;
}

/* False when reading stopped for another reason than that the file has no more. */
static bool at_end_of_pem(void)
{
    unsigned long code = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;

    if (is_end)
        ERR_clear_error();
    return is_end;
}

static bool use_chain(SSL_CTX *ssl_ctx, BIO *pem)
{
    X509 *certificate = PEM_read_bio_X509_AUX(pem, NULL, no_password, NULL);

    if (certificate == NULL)
        return false;
    bool is_used = SSL_CTX_use_certificate(ssl_ctx, certificate) == 1;
    X509_free(certificate);
    while (is_used && (certificate = PEM_read_bio_X509(pem, NULL, no_password, NULL)) != NULL) {
        is_used = SSL_CTX_add0_chain_cert(ssl_ctx, certificate) == 1;
        if (!is_used)
            X509_free(certificate);
    }
    return is_used && at_end_of_pem();
}

static bool use_key(SSL_CTX *ssl_ctx, BIO *pem)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_password, NULL);

    if (key == NULL)
        return false;
    bool is_used =
        SSL_CTX_use_PrivateKey(ssl_ctx, key) == 1 && SSL_CTX_check_private_key(ssl_ctx) == 1;
    EVP_PKEY_free(key);
    return is_used;
}

static bool use_pem(SSL_CTX *ssl_ctx, const struct tls_file *file,
                    bool (*use)(SSL_CTX *ssl_ctx, BIO *pem))
{
    ERR_clear_error();
    BIO *pem = BIO_new_mem_buf(file->data, (int)file->size);
    bool is_used = pem != NULL && use(ssl_ctx, pem);

    BIO_free(pem);
    return is_used;
}

/* Certificate, chain and key; `certificate` is left for the caller to look at and to finish. */
static bool load_identity(SSL_CTX *ssl_ctx, const struct tls_settings *settings,
                          struct tls_file *certificate, struct error *error)
{
    struct tls_file key;
    bool is_loaded = false;

    if (!tls_file_read_pair(certificate, settings->cert_file, &key, settings->key_file, error))
        return false;
    tls_memory_wipe(true);
    if (!use_pem(ssl_ctx, certificate, use_chain))
        file_is_bad("certificate file", settings->cert_file, error);
    else if (!use_pem(ssl_ctx, &key, use_key))
        file_is_bad("key file", settings->key_file, error);
    else
        is_loaded = true;
    tls_memory_wipe(false);
    tls_file_finish(&key);
    return is_loaded;
}

/* Trusts what the file has; its names are told to clients, who choose their certificate by them. */
static bool use_roots(SSL_CTX *ssl_ctx, BIO *pem)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl_ctx);
    X509 *certificate;
    int count = 0;

    while ((certificate = PEM_read_bio_X509_AUX(pem, NULL, no_password, NULL)) != NULL) {
        bool is_added = X509_STORE_add_cert(store, certificate) == 1 &&
                        SSL_CTX_add_client_CA(ssl_ctx, certificate) == 1;
        X509_free(certificate);
        if (!is_added)
            return false;
        count++;
    }
    return count > 0 && at_end_of_pem();
}

static bool load_roots(SSL_CTX *ssl_ctx, const char *path, struct tls_file *roots,
                       struct error *error)
{
    if (!tls_file_read(roots, "CA file", path, error))
        return false;
    return use_pem(ssl_ctx, roots, use_roots) || file_is_bad("CA file", path, error);
}

/* --- What both sides have -------------------------------------------------------------------- */

static struct tls_context *create(enum tls_mode mode, const SSL_METHOD *method, struct error *error)
{
    struct tls_context *context = memory_zalloc(sizeof(*context));

    if (context == NULL) {
        out_of_memory(error);
        return NULL;
    }
    atomic_init(&context->references, 1);
    context->mode = mode;
    if (mode == TLS_DISABLE)
        return context;
    context->ssl_ctx = SSL_CTX_new(method);
    if (context->ssl_ctx == NULL) {
        out_of_memory(error);
        memory_free(context);
        return NULL;
    }
    SSL_CTX *ssl_ctx = context->ssl_ctx;
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                     SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_read_ahead(ssl_ctx, 1);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify_depth(ssl_ctx, CHAIN_DEPTH_MAX);
    /* Whatever the environment says (SSLKEYLOGFILE), keys are not written down. */
    SSL_CTX_set_keylog_callback(ssl_ctx, NULL);
    return context;
}

struct tls_context *tls_context_acquire(struct tls_context *context)
{
    if (context != NULL)
        atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void tls_context_release(struct tls_context *context)
{
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(context->ssl_ctx); /* connections that use it keep it */
    memory_free(context);
}

enum tls_mode tls_context_mode(const struct tls_context *context)
{
    return context->mode;
}

/* --- Accepting clients ----------------------------------------------------------------------- */

static const unsigned char alpn_postgresql[] = "\x0apostgresql";
static const unsigned char alpn_http[] = "\x08http/1.1";
static const unsigned char alpn_both[] = "\x0apostgresql\x08http/1.1";

static int choose_alpn(const unsigned char *ours, size_t ours_size, const unsigned char **chosen,
                       unsigned char *chosen_size, const unsigned char *offered,
                       unsigned offered_size)
{
    unsigned char *match;

    if (SSL_select_next_proto(&match, chosen_size, ours, (unsigned)ours_size, offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = match;
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn_postgresql(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
                              const unsigned char *offered, unsigned size, void *argument)
{
    (void)ssl;
    (void)argument;
    return choose_alpn(alpn_postgresql, sizeof(alpn_postgresql) - 1, chosen, chosen_size, offered,
                       size);
}

static int on_alpn_http(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
                        const unsigned char *offered, unsigned size, void *argument)
{
    (void)ssl;
    (void)argument;
    return choose_alpn(alpn_http, sizeof(alpn_http) - 1, chosen, chosen_size, offered, size);
}

static int on_alpn_both(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
                        const unsigned char *offered, unsigned size, void *argument)
{
    (void)ssl;
    (void)argument;
    return choose_alpn(alpn_both, sizeof(alpn_both) - 1, chosen, chosen_size, offered, size);
}

static void set_alpn(SSL_CTX *ssl_ctx, unsigned alpn)
{
    SSL_CTX_set_alpn_select_cb(ssl_ctx,
                               alpn == TLS_ALPN_HTTP_1_1  ? on_alpn_http
                               : alpn & TLS_ALPN_HTTP_1_1 ? on_alpn_both
                                                          : on_alpn_postgresql,
                               NULL);
}

/* A certificate is looked at anew each time: a ticket would outlive its revocation (THREATS §3.1).
 * Called only if there is one. */
static int on_client_certificate(int is_good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

    SSL_set_num_tickets(ssl, 0);
    return is_good;
}

static void set_client_verification(SSL_CTX *ssl_ctx, const struct tls_settings *settings)
{
    if (settings->mode >= TLS_VERIFY_CA)
        SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           on_client_certificate);
    else if (!is_empty(settings->ca_file))
        SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, on_client_certificate);
    else
        SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_NONE, NULL);
}

static bool hash_part(EVP_MD_CTX *hash, const void *data, size_t size)
{
    uint64_t length = size; /* so that "ab", "c" is not "a", "bc" */

    return EVP_DigestUpdate(hash, &length, sizeof(length)) == 1 &&
           (size == 0 || EVP_DigestUpdate(hash, data, size) == 1);
}

static bool hash_text(EVP_MD_CTX *hash, const char *text)
{
    return hash_part(hash, text, text != NULL ? strlen(text) : 0);
}

/* A ticket opens only contexts that ask the same of a client as the one that gave it (THREATS
 * §3.1). Made from contents, not from file names, so that it is the same on all nodes of a fleet.
 */
static bool set_session_id_context(SSL_CTX *ssl_ctx, const struct tls_settings *settings,
                                   const struct tls_file *certificate, const struct tls_file *roots)
{
    unsigned char id[SSL_MAX_SID_CTX_LENGTH];
    unsigned id_size = 0;
    uint8_t mode = (uint8_t)settings->mode;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();

    bool is_set = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
                  hash_text(hash, settings->listener_name) &&
                  hash_part(hash, certificate->data, certificate->size) &&
                  hash_part(hash, roots->data, roots->size) && hash_part(hash, &mode, 1) &&
                  hash_text(hash, settings->protocols) && hash_text(hash, settings->ciphers) &&
                  hash_text(hash, settings->tls13_ciphers) &&
                  hash_text(hash, settings->ecdhcurve) && hash_text(hash, settings->dheparams) &&
                  EVP_DigestFinal_ex(hash, id, &id_size) == 1 &&
                  SSL_CTX_set_session_id_context(ssl_ctx, id, id_size) == 1;
    EVP_MD_CTX_free(hash);
    return is_set;
}

static bool fill_client_side(SSL_CTX *ssl_ctx, const struct tls_settings *settings,
                             struct tls_ticket_keys *keys, struct error *error)
{
    struct tls_file certificate = {0}, roots = {0};
    bool is_filled = false;

    if (!tls_parameters_apply(ssl_ctx, settings, "client", error) ||
        !load_identity(ssl_ctx, settings, &certificate, error))
        goto done;
    if (!is_empty(settings->ca_file) && !load_roots(ssl_ctx, settings->ca_file, &roots, error))
        goto done;
    set_client_verification(ssl_ctx, settings);
    SSL_CTX_set_max_cert_list(ssl_ctx, CERT_LIST_MAX);
    set_alpn(ssl_ctx, settings->alpn);
    /* Where all have certificates nobody gets a ticket. */
    bool has_tickets = keys != NULL && settings->mode < TLS_VERIFY_CA;
    is_filled = set_session_id_context(ssl_ctx, settings, &certificate, &roots) &&
                (has_tickets ? tls_tickets_enable(ssl_ctx, keys)
                             : SSL_CTX_set_num_tickets(ssl_ctx, 0) == 1);
    if (!has_tickets)
        SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_TICKET);
    if (!is_filled)
        out_of_memory(error);
done:
    tls_file_finish(&certificate);
    tls_file_finish(&roots);
    return is_filled;
}

static bool client_settings_are_whole(const struct tls_settings *settings, struct error *error)
{
    if (settings->mode == TLS_DISABLE)
        return true;
    if (is_empty(settings->key_file) || is_empty(settings->cert_file))
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "To allow TLS connections from clients, client_tls_key_file and "
                         "client_tls_cert_file must be set.");
    if (settings->mode == TLS_VERIFY_FULL && is_empty(settings->ca_file))
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "client_tls_sslmode requires client_tls_ca_file");
    return true;
}

struct tls_context *tls_context_create_client_side(const struct tls_settings *settings,
                                                   struct tls_ticket_keys *keys,
                                                   struct error *error)
{
    if (!client_settings_are_whole(settings, error))
        return NULL;
    struct tls_context *context = create(settings->mode, TLS_server_method(), error);
    if (context == NULL || context->ssl_ctx == NULL ||
        fill_client_side(context->ssl_ctx, settings, keys, error))
        return context;
    tls_context_release(context);
    return NULL;
}

/* --- Connecting to servers ------------------------------------------------------------------- */

static bool trust_servers(SSL_CTX *ssl_ctx, const struct tls_settings *settings,
                          struct error *error)
{
    struct tls_file roots = {0};
    bool is_loaded = true;

    if (settings->mode < TLS_VERIFY_CA) {
        SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_NONE, NULL);
        return true;
    }
    SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, NULL);
    if (is_empty(settings->ca_file) || strcmp(settings->ca_file, "system") == 0) {
        if (SSL_CTX_set_default_verify_paths(ssl_ctx) != 1)
            return file_is_bad("CA file", "system", error);
        return true;
    }
    is_loaded = load_roots(ssl_ctx, settings->ca_file, &roots, error);
    tls_file_finish(&roots);
    return is_loaded;
}

static bool fill_server_side(SSL_CTX *ssl_ctx, const struct tls_settings *settings,
                             struct error *error)
{
    struct tls_file certificate = {0};

    /* The first is what we send a key share for. Up to version 17 PostgreSQL knows only P-256 by
     * default, and would ask for it in a round trip more. */
    if (is_empty(settings->ecdhcurve) &&
        SSL_CTX_set1_groups_list(ssl_ctx, "P-256:X25519:P-384:P-521") != 1)
        return out_of_memory(error);
    if (!tls_parameters_apply(ssl_ctx, settings, "server", error) ||
        !trust_servers(ssl_ctx, settings, error))
        return false;
    /* A session would be of no use: PostgreSQL gives no tickets. */
    SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_TICKET);
    if (is_empty(settings->cert_file) && is_empty(settings->key_file))
        return true;
    if (is_empty(settings->cert_file) || is_empty(settings->key_file))
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "server_tls_cert_file and server_tls_key_file must be set together");
    bool is_loaded = load_identity(ssl_ctx, settings, &certificate, error);
    tls_file_finish(&certificate);
    return is_loaded;
}

struct tls_context *tls_context_create_server_side(const struct tls_settings *settings,
                                                   struct error *error)
{
    struct tls_context *context = create(settings->mode, TLS_client_method(), error);

    if (context == NULL || context->ssl_ctx == NULL ||
        fill_server_side(context->ssl_ctx, settings, error))
        return context;
    tls_context_release(context);
    return NULL;
}

const char *tls_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}
