/* The words of client_tls_* and server_tls_* that choose algorithms. */
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tls_private.h"

#define VERSION_1_0     0x1u
#define VERSION_1_1     0x2u
#define VERSION_1_2     0x4u
#define VERSION_1_3     0x8u
#define VERSIONS_SECURE (VERSION_1_2 | VERSION_1_3)
#define VERSIONS_ALL    (VERSION_1_0 | VERSION_1_1 | VERSIONS_SECURE)

static const struct {
    const char *word;
    unsigned versions;
} version_words[] = {
    {"tlsv1.0", VERSION_1_0}, {"tlsv1.1", VERSION_1_1},     {"tlsv1.2", VERSION_1_2},
    {"tlsv1.3", VERSION_1_3}, {"tlsv1", VERSIONS_ALL},      {"all", VERSIONS_ALL},
    {"legacy", VERSIONS_ALL}, {"default", VERSIONS_SECURE}, {"secure", VERSIONS_SECURE},
};

static const struct {
    unsigned version;
    uint64_t option;
    int number;
} version_options[] = {
    {VERSION_1_0, SSL_OP_NO_TLSv1, TLS1_VERSION},
    {VERSION_1_1, SSL_OP_NO_TLSv1_1, TLS1_1_VERSION},
    {VERSION_1_2, SSL_OP_NO_TLSv1_2, TLS1_2_VERSION},
    {VERSION_1_3, SSL_OP_NO_TLSv1_3, TLS1_3_VERSION},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

static bool refuse(struct error *error, const char *side, const char *option, const char *value)
{
    ERR_clear_error();
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "invalid %s_tls_%s: %s", side, option,
                     value);
}

static unsigned versions_of_word(const char *word, size_t size)
{
    for (size_t i = 0; i < COUNT(version_words); i++)
        if (strlen(version_words[i].word) == size &&
            strncasecmp(version_words[i].word, word, size) == 0)
            return version_words[i].versions;
    return 0;
}

/* Words with ',' or ':' between, each perhaps with '!' in front; a list that begins with one takes
 * away from all. 0: refused. */
static unsigned parse_versions(const char *list)
{
    unsigned versions = 0;
    bool is_first = true;

    for (const char *at = list;; at++) {
        at += strspn(at, " \t");
        bool is_negated = *at == '!';
        if (is_negated)
            at++;
        size_t size = strcspn(at, ",:");
        const char *next = at + size;
        while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t'))
            size--;
        unsigned word = versions_of_word(at, size);
        if (word == 0)
            return 0;
        if (is_negated)
            versions = (is_first ? VERSIONS_ALL : versions) & ~word;
        else
            versions |= word;
        is_first = false;
        at = next;
        if (*at == '\0')
            return versions;
    }
}

static bool apply_versions(SSL_CTX *ssl_ctx, const char *list, const char *side,
                           struct error *error)
{
    unsigned versions = is_empty(list) ? VERSIONS_SECURE : parse_versions(list);

    if (versions == 0)
        return refuse(error, side, "protocols", list);
    /* The bounds of the system's openssl.cnf give way to what was asked for. */
    int lowest = 0, highest = 0;
    for (size_t i = 0; i < COUNT(version_options); i++) {
        if (!(versions & version_options[i].version)) {
            SSL_CTX_set_options(ssl_ctx, version_options[i].option);
            continue;
        }
        lowest = lowest == 0 ? version_options[i].number : lowest;
        highest = version_options[i].number;
    }
    if (SSL_CTX_set_min_proto_version(ssl_ctx, lowest) != 1 ||
        SSL_CTX_set_max_proto_version(ssl_ctx, highest) != 1)
        return refuse(error, side, "protocols", list);
    return true;
}

static bool is_library_default(const char *ciphers)
{
    return is_empty(ciphers) || strcasecmp(ciphers, "default") == 0 ||
           strcasecmp(ciphers, "secure") == 0 || strcasecmp(ciphers, "normal") == 0 ||
           strcasecmp(ciphers, "fast") == 0;
}

static bool apply_curve(SSL_CTX *ssl_ctx, const char *curve, const char *side, struct error *error)
{
    /* "none" is as "auto": since TLS 1.3 there is no connection without a group. */
    if (is_empty(curve) || strcasecmp(curve, "auto") == 0 || strcasecmp(curve, "none") == 0)
        return true;
    char list[256]; /* OpenSSL's macro wants it without const */
    int size = snprintf(list, sizeof(list), "%s", curve);
    return ((size_t)size < sizeof(list) && SSL_CTX_set1_groups_list(ssl_ctx, list) == 1) ||
           refuse(error, side, "ecdhcurve", curve);
}

bool tls_parameters_apply(SSL_CTX *ssl_ctx, const struct tls_settings *settings, const char *side,
                          struct error *error)
{
    const char *dh = is_empty(settings->dheparams) ? "auto" : settings->dheparams;

    if (!apply_versions(ssl_ctx, settings->protocols, side, error) ||
        !apply_curve(ssl_ctx, settings->ecdhcurve, side, error))
        return false;
    if (!is_library_default(settings->ciphers) &&
        SSL_CTX_set_cipher_list(ssl_ctx, settings->ciphers) != 1)
        return refuse(error, side, "ciphers", settings->ciphers);
    if (!is_empty(settings->tls13_ciphers) &&
        SSL_CTX_set_ciphersuites(ssl_ctx, settings->tls13_ciphers) != 1) {
        ERR_clear_error();
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR,
                         "TLS setup failed: failed to set the TLSv1.3 cipher suites "
                         "(%s_tls13_ciphers: %s)",
                         side, settings->tls13_ciphers);
    }
    if (strcasecmp(dh, "auto") != 0 && strcasecmp(dh, "none") != 0)
        return refuse(error, side, "dheparams", dh);
    SSL_CTX_set_dh_auto(ssl_ctx, strcasecmp(dh, "auto") == 0);
    return true;
}
