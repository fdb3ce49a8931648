#include "auth/password_cache.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "auth/crypto.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/table.h"

_Static_assert(PASSWORD_CACHE_HASH == AUTH_SHA256_SIZE, "it is an HMAC-SHA-256");

struct entry {
    UT_hash_handle hh;
    TAILQ_ENTRY(entry) age;
    uint8_t hash[PASSWORD_CACHE_HASH];
    usec_t found_at;
    size_t size;  /* of names */
    char names[]; /* database\0login_name\0, to be forgotten by */
};

struct password_cache {
    struct auth_crypto_key secret;     /* never changes */
    pthread_mutex_t mutex;             /* guards what follows */
    struct entry *table;               /* by hash */
    TAILQ_HEAD(entries, entry) by_age; /* the oldest one first */
    uint64_t era;
};

struct password_cache *password_cache_create(void)
{
    uint8_t secret[AUTH_SHA256_SIZE];
    struct password_cache *cache = memory_zalloc(sizeof(*cache));

    if (cache == NULL)
        return NULL;
    TAILQ_INIT(&cache->by_age);
    (void)pthread_mutex_init(&cache->mutex, NULL);
    random_bytes(secret, sizeof(secret));
    auth_crypto_key_set(&cache->secret, secret, sizeof(secret));
    memory_wipe(secret, sizeof(secret));
    return cache;
}

/* A text with its zero byte: none slides into the next, for none has one inside. */
static struct span text_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text) + 1};
}

void password_cache_hash(const struct password_cache *cache,
                         const struct password_cache_subject *subject,
                         uint8_t hash[PASSWORD_CACHE_HASH])
{
    const struct span parts[] = {
        text_of(subject->database), text_of(subject->login_name), text_of(subject->server_name),
        text_of(subject->method),   text_of(subject->verifier),   text_of(subject->password),
    };

    auth_crypto_hmac(&cache->secret, parts, sizeof(parts) / sizeof(parts[0]), hash);
}

/* ---- entries; all of this is under the mutex ---- */

static struct entry *find(struct password_cache *cache, const uint8_t hash[PASSWORD_CACHE_HASH])
{
    struct entry *entry = NULL;

    HASH_FIND(hh, cache->table, hash, PASSWORD_CACHE_HASH, entry);
    return entry;
}

static void free_entry(struct entry *entry)
{
    memory_wipe(entry, sizeof(*entry) + entry->size);
    memory_free(entry);
}

static void take_out(struct password_cache *cache, struct entry *entry)
{
    assert(cache->table != NULL);
    HASH_DEL(cache->table, entry);
    TAILQ_REMOVE(&cache->by_age, entry, age);
    free_entry(entry);
}

static void add(struct password_cache *cache, struct entry *entry, size_t size)
{
    struct entry *old = find(cache, entry->hash);

    if (old != NULL)
        take_out(cache, old);
    HASH_ADD(hh, cache->table, hash, PASSWORD_CACHE_HASH, entry);
    if (!TABLE_ADDED(entry)) {
        free_entry(entry);
        return;
    }
    TAILQ_INSERT_TAIL(&cache->by_age, entry, age);
    while (HASH_COUNT(cache->table) > size)
        take_out(cache, TAILQ_FIRST(&cache->by_age));
}

/* ---- doors ---- */

void password_cache_destroy(struct password_cache *cache)
{
    if (cache == NULL)
        return;
    password_cache_flush(cache, NULL, NULL);
    (void)pthread_mutex_destroy(&cache->mutex);
    memory_wipe(cache, sizeof(*cache));
    memory_free(cache);
}

bool password_cache_has(struct password_cache *cache, const struct password_cache_subject *subject,
                        usec_t ttl, usec_t now)
{
    uint8_t hash[PASSWORD_CACHE_HASH];

    password_cache_hash(cache, subject, hash);
    (void)pthread_mutex_lock(&cache->mutex);
    const struct entry *entry = find(cache, hash);
    bool has = entry != NULL && now - entry->found_at < ttl;
    (void)pthread_mutex_unlock(&cache->mutex);
    return has;
}

uint64_t password_cache_era(struct password_cache *cache)
{
    (void)pthread_mutex_lock(&cache->mutex);
    uint64_t era = cache->era;
    (void)pthread_mutex_unlock(&cache->mutex);
    return era;
}

/* NULL: no memory. */
static struct entry *make(const struct password_cache *cache,
                          const struct password_cache_subject *subject, usec_t now)
{
    size_t database = strlen(subject->database) + 1, name = strlen(subject->login_name) + 1;
    struct entry *entry = memory_zalloc(sizeof(*entry) + database + name);

    if (entry == NULL)
        return NULL;
    memcpy(entry->names, subject->database, database);
    memcpy(entry->names + database, subject->login_name, name);
    entry->size = database + name;
    entry->found_at = now;
    password_cache_hash(cache, subject, entry->hash);
    return entry;
}

void password_cache_put(struct password_cache *cache, const struct password_cache_subject *subject,
                        size_t size, uint64_t era, usec_t now)
{
    struct entry *entry = make(cache, subject, now);

    if (entry == NULL)
        return;
    (void)pthread_mutex_lock(&cache->mutex);
    if (cache->era == era)
        add(cache, entry, size);
    else
        free_entry(entry);
    (void)pthread_mutex_unlock(&cache->mutex);
}

void password_cache_drop(struct password_cache *cache, const struct password_cache_subject *subject)
{
    uint8_t hash[PASSWORD_CACHE_HASH];

    password_cache_hash(cache, subject, hash);
    (void)pthread_mutex_lock(&cache->mutex);
    struct entry *entry = find(cache, hash);
    if (entry != NULL)
        take_out(cache, entry);
    (void)pthread_mutex_unlock(&cache->mutex);
}

static bool is_meant(const struct entry *entry, const char *database, const char *name)
{
    return (database == NULL || strcmp(entry->names, database) == 0) &&
           (name == NULL || strcmp(entry->names + strlen(entry->names) + 1, name) == 0);
}

void password_cache_flush(struct password_cache *cache, const char *database, const char *name)
{
    struct entry *entry, *next;

    (void)pthread_mutex_lock(&cache->mutex);
    cache->era++;
    for (entry = TAILQ_FIRST(&cache->by_age); entry != NULL; entry = next) {
        next = TAILQ_NEXT(entry, age);
        if (is_meant(entry, database, name))
            take_out(cache, entry);
    }
    (void)pthread_mutex_unlock(&cache->mutex);
}

void password_cache_sweep(struct password_cache *cache, usec_t ttl, usec_t now)
{
    struct entry *entry;

    (void)pthread_mutex_lock(&cache->mutex);
    while ((entry = TAILQ_FIRST(&cache->by_age)) != NULL && now - entry->found_at >= ttl)
        take_out(cache, entry);
    (void)pthread_mutex_unlock(&cache->mutex);
}

size_t password_cache_count(struct password_cache *cache)
{
    (void)pthread_mutex_lock(&cache->mutex);
    size_t count = HASH_COUNT(cache->table);
    (void)pthread_mutex_unlock(&cache->mutex);
    return count;
}
