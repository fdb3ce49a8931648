#include "auth/crypto.h"

/* SHA-256 goes through OpenSSL's low-level functions, which 3.0 calls deprecated, because a login
 * is made of many short hashes and EVP's price is per call. Measured with OpenSSL 3.0 on a
 * processor with SHA instructions: SHA-256 of 32 bytes 0.05 us (EVP_Digest: 0.12 us with a fetched
 * EVP_MD, 0.29 us without); HMAC of 200 bytes 0.26 us (0.38 us over a fetched EVP_MD, 1.2 us with
 * HMAC()); PBKDF2 of 4,096 iterations 370 us (915 us with PKCS5_PBKDF2_HMAC). They allocate
 * nothing, take no lock and cannot fail. The price: an OpenSSL provider (FIPS) is not asked. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/memory.h"

#define BLOCK_SIZE 64

/* Set once by auth_crypto_init, before any thread starts. NULL: looked up at each call. */
static EVP_MD *md5_algorithm;

static void put_u32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

void auth_crypto_sha256(const void *data, size_t size, uint8_t digest[AUTH_SHA256_SIZE])
{
    SHA256_CTX hash;
    SHA256_Init(&hash);
    SHA256_Update(&hash, data, size);
    SHA256_Final(digest, &hash);
    memory_wipe(&hash, sizeof(hash));
}

static void state_behind(uint32_t state[8], const uint8_t block[BLOCK_SIZE])
{
    SHA256_CTX hash;
    SHA256_Init(&hash);
    SHA256_Transform(&hash, block);
    memcpy(state, hash.h, sizeof(hash.h));
    memory_wipe(&hash, sizeof(hash));
}

void auth_crypto_key_set(struct auth_crypto_key *key, const void *secret, size_t size)
{
    uint8_t block[BLOCK_SIZE] = {0};

    if (size > BLOCK_SIZE)
        auth_crypto_sha256(secret, size, block);
    else if (size > 0)
        memcpy(block, secret, size);
    for (size_t i = 0; i < BLOCK_SIZE; i++)
        block[i] ^= 0x36;
    state_behind(key->inner, block);
    for (size_t i = 0; i < BLOCK_SIZE; i++)
        block[i] ^= 0x36 ^ 0x5c;
    state_behind(key->outer, block);
    memory_wipe(block, sizeof(block));
}

/* Goes on behind the one block that made `state`. */
static void resume(SHA256_CTX *hash, const uint32_t state[8])
{
    SHA256_Init(hash);
    memcpy(hash->h, state, sizeof(hash->h));
    hash->Nl = BLOCK_SIZE * 8;
}

void auth_crypto_hmac(const struct auth_crypto_key *key, const struct span *parts, size_t count,
                      uint8_t mac[AUTH_SHA256_SIZE])
{
    SHA256_CTX hash;

    resume(&hash, key->inner);
    for (size_t i = 0; i < count; i++)
        if (parts[i].size > 0)
            SHA256_Update(&hash, parts[i].data, parts[i].size);
    SHA256_Final(mac, &hash);
    resume(&hash, key->outer);
    SHA256_Update(&hash, mac, AUTH_SHA256_SIZE);
    SHA256_Final(mac, &hash);
    memory_wipe(&hash, sizeof(hash));
}

/* One hash of HMAC over the 32 bytes that stand in `block`, in place: the padding behind them never
 * changes, so an iteration is two bare compressions. */
static void turn(SHA256_CTX *hash, const uint32_t state[8], uint8_t block[BLOCK_SIZE])
{
    memcpy(hash->h, state, sizeof(hash->h));
    SHA256_Transform(hash, block);
    for (size_t i = 0; i < 8; i++)
        put_u32(block + 4 * i, hash->h[i]);
}

void auth_crypto_pbkdf2(const struct auth_crypto_key *password, struct span salt,
                        uint32_t iterations, uint8_t derived[AUTH_SHA256_SIZE])
{
    uint8_t first_block[4] = {0, 0, 0, 1};
    uint8_t block[BLOCK_SIZE] = {0};
    uint32_t sum[8];
    SHA256_CTX hash;
    const struct span parts[] = {salt, {first_block, sizeof(first_block)}};

    auth_crypto_hmac(password, parts, 2, block);
    block[AUTH_SHA256_SIZE] = 0x80;
    put_u32(block + BLOCK_SIZE - 4, (BLOCK_SIZE + AUTH_SHA256_SIZE) * 8);
    memcpy(derived, block, AUTH_SHA256_SIZE);
    memset(sum, 0, sizeof(sum));
    SHA256_Init(&hash);
    for (uint32_t i = 1; i < iterations; i++) {
        turn(&hash, password->inner, block);
        turn(&hash, password->outer, block);
        for (size_t word = 0; word < 8; word++)
            sum[word] ^= hash.h[word];
    }
    for (size_t i = 0; i < AUTH_SHA256_SIZE; i++)
        derived[i] ^= (uint8_t)(sum[i / 4] >> (24 - 8 * (i % 4)));
    memory_wipe(&hash, sizeof(hash));
    memory_wipe(sum, sizeof(sum));
    memory_wipe(block, sizeof(block));
}

static EVP_MD *fetch_md5(void)
{
    EVP_MD *algorithm = EVP_MD_fetch(NULL, "MD5", NULL);
    if (algorithm == NULL)
        ERR_clear_error(); /* else the next TLS call of this thread finds our error in its queue */
    return algorithm;
}

static bool digest_parts(const EVP_MD *algorithm, const struct span *parts, size_t count,
                         uint8_t digest[AUTH_MD5_SIZE])
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool is_good = hash != NULL && EVP_DigestInit_ex(hash, algorithm, NULL) == 1;
    for (size_t i = 0; is_good && i < count; i++)
        is_good = EVP_DigestUpdate(hash, parts[i].data, parts[i].size) == 1;
    is_good = is_good && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash); /* wipes */
    if (!is_good)
        ERR_clear_error();
    return is_good;
}

bool auth_crypto_md5(const struct span *parts, size_t count, uint8_t digest[AUTH_MD5_SIZE])
{
    if (md5_algorithm != NULL)
        return digest_parts(md5_algorithm, parts, count, digest);

    EVP_MD *algorithm = fetch_md5();
    bool is_good = algorithm != NULL && digest_parts(algorithm, parts, count, digest);
    EVP_MD_free(algorithm);
    return is_good;
}

/* RFC 4231, test case 2. It proves that the states we keep between calls mean to this OpenSSL what
 * they mean to us. */
static bool hmac_is_right(void)
{
    static const uint8_t expected[AUTH_SHA256_SIZE] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
        0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
        0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const char text[] = "what do ya want for nothing?";
    const struct span part = {(const uint8_t *)text, sizeof(text) - 1};
    struct auth_crypto_key key;
    uint8_t mac[AUTH_SHA256_SIZE];

    auth_crypto_key_set(&key, "Jefe", 4);
    auth_crypto_hmac(&key, &part, 1, mac);
    return memcmp(mac, expected, sizeof(mac)) == 0;
}

/* Where OpenSSL keeps private keys: memory that no core file holds, locked as far as allowed. */
#define SECURE_HEAP_SIZE  ((size_t)4 << 20)
#define SECURE_HEAP_LEAST 32

bool auth_crypto_init(struct error *error)
{
    if (!hmac_is_right())
        return error_set(error, SQLSTATE_INTERNAL_ERROR,
                         "SHA-256 of the OpenSSL library gives wrong results");
    if (md5_algorithm == NULL)
        md5_algorithm = fetch_md5();
    if (!CRYPTO_secure_malloc_initialized())
        (void)CRYPTO_secure_malloc_init(SECURE_HEAP_SIZE, SECURE_HEAP_LEAST);
    return true;
}

void auth_crypto_finish(void)
{
    EVP_MD_free(md5_algorithm);
    md5_algorithm = NULL;
}
