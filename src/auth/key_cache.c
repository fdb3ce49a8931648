#include "auth/key_cache.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "auth/crypto.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/table.h"

struct entry {
    uint8_t name[AUTH_SHA256_SIZE];
    uint8_t client_key[SCRAM_KEY_SIZE];
    uint8_t server_key[SCRAM_KEY_SIZE];
    TAILQ_ENTRY(entry) age;
    UT_hash_handle hh;
};

struct key_cache {
    struct auth_crypto_key secret; /* never changes */
    unsigned entries_max;          /* nor does this */
    pthread_mutex_t mutex;         /* guards what follows */
    struct entry *table;
    TAILQ_HEAD(entries, entry) by_age; /* the longest unused one first */
};

/* Each part with its size in front, so that no two subjects are the same bytes. False: the identity
 * is too long. */
static bool name_of(const struct key_cache *cache, const struct key_cache_subject *subject,
                    uint8_t name[AUTH_SHA256_SIZE])
{
    const uint64_t numbers[] = {subject->identity.size, subject->salt.size, subject->iterations};
    const struct span parts[] = {
        {(const uint8_t *)numbers, sizeof(numbers)},
        subject->identity,
        subject->salt,
        {(const uint8_t *)subject->password, strlen(subject->password)},
    };

    if (subject->identity.size > KEY_CACHE_IDENTITY_MAX)
        return false;
    auth_crypto_hmac(&cache->secret, parts, sizeof(parts) / sizeof(parts[0]), name);
    return true;
}

struct key_cache *key_cache_create(unsigned entries_max)
{
    uint8_t secret[AUTH_SHA256_SIZE];
    struct key_cache *cache = memory_zalloc_secret(sizeof(*cache));

    if (cache == NULL)
        return NULL;
    if (pthread_mutex_init(&cache->mutex, NULL) != 0) {
        memory_wipe_and_free(cache, sizeof(*cache));
        return NULL;
    }
    TAILQ_INIT(&cache->by_age);
    cache->entries_max = entries_max;
    random_bytes(secret, sizeof(secret));
    auth_crypto_key_set(&cache->secret, secret, sizeof(secret));
    memory_wipe(secret, sizeof(secret));
    return cache;
}

static void forget(struct entry *entry)
{
    memory_wipe_and_free(entry, sizeof(*entry));
}

static void take_out(struct key_cache *cache, struct entry *entry)
{
    HASH_DEL(cache->table, entry);
    TAILQ_REMOVE(&cache->by_age, entry, age);
    forget(entry);
}

void key_cache_clear(struct key_cache *cache)
{
    pthread_mutex_lock(&cache->mutex);
    while (!TAILQ_EMPTY(&cache->by_age))
        take_out(cache, TAILQ_FIRST(&cache->by_age));
    pthread_mutex_unlock(&cache->mutex);
}

void key_cache_destroy(struct key_cache *cache)
{
    if (cache == NULL)
        return;
    key_cache_clear(cache);
    pthread_mutex_destroy(&cache->mutex);
    memory_wipe_and_free(cache, sizeof(*cache));
}

/* The entry, now the youngest, or NULL. */
static struct entry *find(struct key_cache *cache, const uint8_t name[AUTH_SHA256_SIZE])
{
    struct entry *entry;

    HASH_FIND(hh, cache->table, name, AUTH_SHA256_SIZE, entry);
    if (entry != NULL) {
        TAILQ_REMOVE(&cache->by_age, entry, age);
        TAILQ_INSERT_TAIL(&cache->by_age, entry, age);
    }
    return entry;
}

bool key_cache_get(struct key_cache *cache, const struct key_cache_subject *subject,
                   uint8_t client_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE])
{
    uint8_t name[AUTH_SHA256_SIZE];

    if (!name_of(cache, subject, name))
        return false;
    pthread_mutex_lock(&cache->mutex);
    struct entry *entry = find(cache, name);
    if (entry != NULL) {
        memcpy(client_key, entry->client_key, SCRAM_KEY_SIZE);
        memcpy(server_key, entry->server_key, SCRAM_KEY_SIZE);
    }
    pthread_mutex_unlock(&cache->mutex);
    return entry != NULL;
}

static void add(struct key_cache *cache, struct entry *entry)
{
    struct entry *old = find(cache, entry->name);

    if (old != NULL)
        take_out(cache, old);
    HASH_ADD(hh, cache->table, name, AUTH_SHA256_SIZE, entry);
    if (!TABLE_ADDED(entry)) {
        forget(entry);
        return;
    }
    TAILQ_INSERT_TAIL(&cache->by_age, entry, age);
    if (HASH_COUNT(cache->table) > cache->entries_max)
        take_out(cache, TAILQ_FIRST(&cache->by_age));
}

void key_cache_put(struct key_cache *cache, const struct key_cache_subject *subject,
                   const uint8_t client_key[SCRAM_KEY_SIZE],
                   const uint8_t server_key[SCRAM_KEY_SIZE])
{
    struct entry *entry = memory_zalloc_secret(sizeof(*entry));

    if (entry == NULL)
        return;
    if (!name_of(cache, subject, entry->name)) {
        forget(entry);
        return;
    }
    memcpy(entry->client_key, client_key, SCRAM_KEY_SIZE);
    memcpy(entry->server_key, server_key, SCRAM_KEY_SIZE);
    pthread_mutex_lock(&cache->mutex);
    add(cache, entry);
    pthread_mutex_unlock(&cache->mutex);
}

size_t key_cache_count(struct key_cache *cache)
{
    pthread_mutex_lock(&cache->mutex);
    size_t count = HASH_COUNT(cache->table);
    pthread_mutex_unlock(&cache->mutex);
    return count;
}
