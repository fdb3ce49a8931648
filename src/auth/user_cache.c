#include "auth/user_cache.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "auth/scram.h"
#include "base/memory.h"
#include "base/table.h"

#define SHAPES_MAX 8

/* What was said of one name. */
struct entry {
    UT_hash_handle hh; /* by key */
    TAILQ_ENTRY(entry) age;
    usec_t asked_at;
    struct auth_secret secret;
    size_t key_size;
    char key[]; /* database\0name */
};
TAILQ_HEAD(entries, entry);

/* Either those who exist or those who do not. */
struct half {
    struct entry *table;
    struct entries by_age; /* the longest unused one first */
};

struct flight {
    UT_hash_handle hh; /* by key */
    struct user_cache_waits waits;
    bool is_flushed; /* its answer is not to be kept */
    size_t key_size;
    char key[];
};

struct shape_count {
    struct user_cache_shape shape;
    unsigned count;
};

struct user_cache {
    pthread_mutex_t mutex; /* guards all that follows */
    struct half users, nobodies;
    struct flight *flights;
    double tokens; /* questions that may be put at once */
    usec_t tokens_at;
    struct shape_count shapes[SHAPES_MAX];
    uint64_t hits, questions, refused, stale;
};

struct user_cache *user_cache_create(void)
{
    struct user_cache *cache = memory_zalloc(sizeof(*cache));

    if (cache == NULL)
        return NULL;
    TAILQ_INIT(&cache->users.by_age);
    TAILQ_INIT(&cache->nobodies.by_age);
    (void)pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

/* ---- entries; all of this is under the mutex ---- */

static void drop(struct half *half, struct entry *entry)
{
    assert(half->table != NULL);
    HASH_DEL(half->table, entry);
    TAILQ_REMOVE(&half->by_age, entry, age);
    auth_secret_finish(&entry->secret);
    memory_free(entry);
}

/* database\0name\0 */
struct joined {
    size_t size;
    char text[USER_CACHE_NAMES_MAX];
};

/* False: the names are too long. */
static bool join(const struct user_cache_key *key, struct joined *joined)
{
    size_t database_size = strlen(key->database) + 1, name_size = strlen(key->name) + 1;

    if (database_size + name_size > sizeof(joined->text))
        return false;
    memcpy(joined->text, key->database, database_size);
    memcpy(joined->text + database_size, key->name, name_size);
    joined->size = database_size + name_size;
    return true;
}

static struct span joined_key(const struct joined *joined)
{
    return (struct span){(const uint8_t *)joined->text, joined->size};
}

static struct entry *find_in(struct half *half, struct span key)
{
    struct entry *entry = NULL;

    HASH_FIND(hh, half->table, key.data, key.size, entry);
    return entry;
}

static void touch(struct half *half, struct entry *entry)
{
    TAILQ_REMOVE(&half->by_age, entry, age);
    TAILQ_INSERT_TAIL(&half->by_age, entry, age);
}

static void forget(struct half *half, struct span key)
{
    struct entry *entry = find_in(half, key);

    if (entry != NULL)
        drop(half, entry);
}

/* No memory: nothing is kept. */
static void keep(struct half *half, struct span key, const char *secret,
                 const struct user_cache_limits *limits, usec_t now)
{
    struct entry *entry = memory_zalloc(sizeof(*entry) + key.size);

    forget(half, key);
    if (entry == NULL || limits->size == 0 || !auth_secret_set(&entry->secret, secret)) {
        memory_free(entry);
        return;
    }
    memcpy(entry->key, key.data, key.size);
    entry->key_size = key.size;
    entry->asked_at = now;
    HASH_ADD_KEYPTR(hh, half->table, entry->key, key.size, entry);
    if (!TABLE_ADDED(entry)) {
        auth_secret_finish(&entry->secret);
        memory_free(entry);
        return;
    }
    TAILQ_INSERT_TAIL(&half->by_age, entry, age);
    while (HASH_COUNT(half->table) > limits->size)
        drop(half, TAILQ_FIRST(&half->by_age));
}

static void empty(struct half *half)
{
    struct entry *entry;

    while ((entry = TAILQ_FIRST(&half->by_age)) != NULL)
        drop(half, entry);
}

void user_cache_destroy(struct user_cache *cache)
{
    struct flight *flight, *next;

    if (cache == NULL)
        return;
    empty(&cache->users);
    empty(&cache->nobodies);
    HASH_ITER (hh, cache->flights, flight, next) {
        HASH_DEL(cache->flights, flight);
        memory_free(flight);
    }
    (void)pthread_mutex_destroy(&cache->mutex);
    memory_free(cache);
}

/* ---- what is known ---- */

/* False: no memory. */
static bool set_answer(struct user_cache_answer *answer, const struct entry *entry,
                       enum user_cache_found found)
{
    *answer = (struct user_cache_answer){.found = found, .asked_at = entry->asked_at};
    return auth_secret_set(&answer->secret, entry->secret.text);
}

/* One that is not older than `age`, and still good. */
static bool answer_within(struct user_cache *cache, struct span key, usec_t age[2], usec_t now,
                          struct user_cache_answer *answer)
{
    struct half *const halves[] = {&cache->users, &cache->nobodies};

    for (int i = 0; i < 2; i++) {
        struct entry *entry = find_in(halves[i], key);
        if (entry == NULL || now - entry->asked_at >= age[i] || entry->asked_at > now)
            continue;
        touch(halves[i], entry);
        return set_answer(answer, entry, i == 0 ? USER_CACHE_USER : USER_CACHE_NOBODY);
    }
    return false;
}

static bool is_in_time(struct user_cache *cache, struct span key,
                       const struct user_cache_limits *limits, usec_t max_age, usec_t now,
                       struct user_cache_answer *answer)
{
    usec_t age[] = {limits->ttl < max_age ? limits->ttl : max_age,
                    limits->negative_ttl < max_age ? limits->negative_ttl : max_age};

    return answer_within(cache, key, age, now, answer);
}

/* ---- questions ---- */

/* The rate is a bucket that holds what may be asked in a second. */
static bool take_token(struct user_cache *cache, unsigned rate, usec_t now)
{
    usec_t passed = cache->tokens_at > 0 ? now - cache->tokens_at : USEC_PER_SEC;

    if (passed > USEC_PER_SEC)
        passed = USEC_PER_SEC;
    if (passed > 0) {
        cache->tokens += (double)rate * (double)passed / USEC_PER_SEC;
        cache->tokens_at = now;
    }
    if (cache->tokens > rate)
        cache->tokens = rate;
    if (cache->tokens < 1)
        return false;
    cache->tokens -= 1;
    return true;
}

static struct span key_of(const struct flight *flight)
{
    return (struct span){(const uint8_t *)flight->key, flight->key_size};
}

static struct flight *find_flight(const struct user_cache *cache, struct span key)
{
    struct flight *flight = NULL;

    HASH_FIND(hh, cache->flights, key.data, key.size, flight);
    return flight;
}

/* NULL: too many, or no memory. */
static struct flight *begin_flight(struct user_cache *cache, struct span key, unsigned rate,
                                   usec_t now)
{
    struct flight *flight;

    if (HASH_COUNT(cache->flights) >= USER_CACHE_FLIGHTS_MAX || !take_token(cache, rate, now))
        return NULL;
    flight = memory_zalloc(sizeof(*flight) + key.size);
    if (flight == NULL)
        return NULL;
    LIST_INIT(&flight->waits);
    memcpy(flight->key, key.data, key.size);
    flight->key_size = key.size;
    HASH_ADD_KEYPTR(hh, cache->flights, flight->key, key.size, flight);
    if (!TABLE_ADDED(flight)) {
        memory_free(flight);
        return NULL;
    }
    cache->questions++;
    return flight;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters, each of its own kind */
static enum user_cache_verdict look(struct user_cache *cache, struct span key,
                                    const struct user_cache_limits *limits, usec_t max_age,
                                    usec_t now, struct user_cache_wait *wait,
                                    struct user_cache_answer *answer)
{
    struct flight *flight = find_flight(cache, key);
    bool is_new = flight == NULL;

    if (is_in_time(cache, key, limits, max_age, now, answer)) {
        cache->hits++;
        return USER_CACHE_HIT;
    }
    if (is_new)
        flight = begin_flight(cache, key, limits->rate, now);
    if (flight != NULL) {
        LIST_INSERT_HEAD(&flight->waits, wait, link);
        return is_new ? USER_CACHE_ASK : USER_CACHE_WAIT;
    }
    cache->refused++;
    return is_in_time(cache, key, limits, INT64_MAX, now, answer) ? USER_CACHE_HIT
                                                                  : USER_CACHE_FULL;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters, each of its own kind */
enum user_cache_verdict user_cache_get(struct user_cache *cache, const struct user_cache_key *key,
                                       const struct user_cache_limits *limits, usec_t max_age,
                                       usec_t now, struct user_cache_wait *wait,
                                       struct user_cache_answer *answer)
{
    enum user_cache_verdict verdict;
    struct joined joined;

    if (!join(key, &joined))
        return USER_CACHE_FULL;
    (void)pthread_mutex_lock(&cache->mutex);
    verdict = look(cache, joined_key(&joined), limits, max_age, now, wait, answer);
    (void)pthread_mutex_unlock(&cache->mutex);
    return verdict;
}

/* ---- answers ---- */

static void count_shape(struct user_cache *cache, const char *secret)
{
    struct scram_verifier verifier;

    if (!scram_verifier_parse(secret, &verifier))
        return;
    for (int i = 0; i < SHAPES_MAX; i++) {
        struct shape_count *place = &cache->shapes[i];
        if (place->count == 0)
            place->shape = (struct user_cache_shape){verifier.iterations, verifier.salt_size};
        if (place->shape.iterations == verifier.iterations &&
            place->shape.salt_size == verifier.salt_size) {
            place->count++;
            break;
        }
    }
    memory_wipe(&verifier, sizeof(verifier));
}

bool user_cache_shape(struct user_cache *cache, struct user_cache_shape *shape)
{
    unsigned most = 0;

    (void)pthread_mutex_lock(&cache->mutex);
    for (int i = 0; i < SHAPES_MAX; i++) {
        if (cache->shapes[i].count <= most)
            continue;
        most = cache->shapes[i].count;
        *shape = cache->shapes[i].shape;
    }
    (void)pthread_mutex_unlock(&cache->mutex);
    return most > 0;
}

static void keep_news(struct user_cache *cache, const struct flight *flight,
                      const struct user_cache_limits *limits, const struct user_cache_news *news,
                      usec_t now)
{
    if (flight->is_flushed || news->found == USER_CACHE_UNKNOWN)
        return;
    bool is_user = news->found == USER_CACHE_USER;
    if (is_user && news->secret != NULL && find_in(&cache->users, key_of(flight)) == NULL)
        count_shape(cache, news->secret);
    forget(is_user ? &cache->nobodies : &cache->users, key_of(flight));
    keep(is_user ? &cache->users : &cache->nobodies, key_of(flight), news->secret, limits, now);
}

/* What was known before serves where the question failed: within its time, and longer where no
 * server could be asked. */
static void set_told(struct user_cache *cache, const struct flight *flight,
                     const struct user_cache_limits *limits, const struct user_cache_news *news,
                     usec_t now, struct user_cache_answer *answer)
{
    *answer = (struct user_cache_answer){.found = news->found, .asked_at = now};
    if (news->found != USER_CACHE_UNKNOWN) {
        if (!auth_secret_set(&answer->secret, news->secret))
            answer->found = USER_CACHE_UNKNOWN;
        return;
    }
    if (is_in_time(cache, key_of(flight), limits, INT64_MAX, now, answer))
        return;
    usec_t longer[] = {limits->ttl + limits->stale, 0};
    if (news->was_not_reached && limits->stale > 0 &&
        answer_within(cache, key_of(flight), longer, now, answer)) {
        answer->is_stale = true;
        cache->stale++;
    }
}

static void land(struct user_cache *cache, struct flight *flight,
                 const struct user_cache_limits *limits, const struct user_cache_news *news,
                 usec_t now, struct user_cache_waits *told)
{
    struct user_cache_wait *wait;

    keep_news(cache, flight, limits, news, now);
    while ((wait = LIST_FIRST(&flight->waits)) != NULL) {
        LIST_REMOVE(wait, link);
        set_told(cache, flight, limits, news, now, &wait->answer);
        LIST_INSERT_HEAD(told, wait, link);
    }
    HASH_DEL(cache->flights, flight);
    memory_free(flight);
}

void user_cache_tell(struct user_cache *cache, const struct user_cache_key *key,
                     const struct user_cache_limits *limits, const struct user_cache_news *news,
                     usec_t now, struct user_cache_waits *told)
{
    struct joined joined;

    LIST_INIT(told);
    if (!join(key, &joined))
        return;
    (void)pthread_mutex_lock(&cache->mutex);
    struct flight *flight = find_flight(cache, joined_key(&joined));
    if (flight != NULL)
        land(cache, flight, limits, news, now, told);
    (void)pthread_mutex_unlock(&cache->mutex);
}

/* ---- forgetting ---- */

static bool is_meant(const char *key, const char *database, const char *name)
{
    return (database == NULL || strcmp(key, database) == 0) &&
           (name == NULL || strcmp(key + strlen(key) + 1, name) == 0);
}

static void flush_half(struct half *half, const char *database, const char *name)
{
    struct entry *entry, *next;

    for (entry = TAILQ_FIRST(&half->by_age); entry != NULL; entry = next) {
        next = TAILQ_NEXT(entry, age);
        if (is_meant(entry->key, database, name))
            drop(half, entry);
    }
}

void user_cache_flush(struct user_cache *cache, const char *database, const char *name)
{
    struct flight *flight, *next;

    (void)pthread_mutex_lock(&cache->mutex);
    flush_half(&cache->users, database, name);
    flush_half(&cache->nobodies, database, name);
    HASH_ITER (hh, cache->flights, flight, next)
        flight->is_flushed |= is_meant(flight->key, database, name);
    (void)pthread_mutex_unlock(&cache->mutex);
}

void user_cache_counts(struct user_cache *cache, struct user_cache_counts *counts)
{
    (void)pthread_mutex_lock(&cache->mutex);
    *counts = (struct user_cache_counts){
        .users = HASH_COUNT(cache->users.table),
        .nobodies = HASH_COUNT(cache->nobodies.table),
        .flights = HASH_COUNT(cache->flights),
        .hits = cache->hits,
        .questions = cache->questions,
        .refused = cache->refused,
        .stale = cache->stale,
    };
    (void)pthread_mutex_unlock(&cache->mutex);
}
