#include "client/scram_cache.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "auth/crypto.h"
#include "auth/key_cache.h"
#include "auth/verifier.h"
#include "base/memory.h"

#define PROFILE_USERS_MAX  1000
#define PROFILE_SHAPES_MAX 8

/* One who waits for a derivation. Belongs to the cache until its answer was delivered. */
struct scram_cache_wait {
    LIST_ENTRY(scram_cache_wait) link; /* of the derivation, then of those who are being told */
    struct scram_cache *cache;
    struct loop *loop;
    void (*answer)(void *argument, bool ok); /* the loop's thread alone; NULL: forgotten */
    void *argument;
    bool ok;
    struct mail mail;
};
LIST_HEAD(scram_cache_waits, scram_cache_wait);

struct derivation {
    struct offload_job job;
    LIST_ENTRY(derivation) link;
    struct scram_cache *cache;
    struct scram_cache_waits waits;
    char *user, *password; /* owned */
    uint8_t salt[SCRAM_DERIVED_SALT];
    uint32_t iterations;
    bool ok;         /* written by the helper, read when it is done */
    bool is_running; /* under the mutex */
};
LIST_HEAD(derivations, derivation);

/* A cleartext password that is compared with a verifier. Belongs to the cache until it is done, for
 * the helpers' end drops what they have not begun. */
struct scram_check {
    struct offload_job job;
    LIST_ENTRY(scram_check) link;
    struct scram_cache *cache;
    scram_check_answer *answer; /* the loop's thread alone; NULL: forgotten */
    void *argument;
    char *password; /* owned */
    struct auth_secret secret;
    bool is_right; /* this and the key: written by the helper, read when it is done */
    uint8_t client_key[SCRAM_KEY_SIZE];
    bool is_running; /* under the mutex */
};
LIST_HEAD(scram_checks, scram_check);

struct scram_cache {
    struct key_cache *keys; /* has a mutex of its own */
    pthread_mutex_t mutex;  /* guards what follows, and the lists of derivations */
    struct derivations derivations;
    struct scram_checks checks;
    struct scram_cache_waits told; /* their mail is under way */
    int count;                     /* of derivations */
    bool has_profile;
    uint64_t profile_generation;
    int profile_iterations;
    struct login_profile profile;
};

struct scram_cache *scram_cache_create(void)
{
    struct scram_cache *cache = memory_zalloc(sizeof(*cache));

    if (cache == NULL)
        return NULL;
    cache->keys = key_cache_create(KEY_CACHE_ENTRIES_MAX);
    if (cache->keys == NULL) {
        memory_free(cache);
        return NULL;
    }
    LIST_INIT(&cache->derivations);
    LIST_INIT(&cache->checks);
    LIST_INIT(&cache->told);
    (void)pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

static void free_waits(struct scram_cache_waits *waits)
{
    struct scram_cache_wait *wait;

    while ((wait = LIST_FIRST(waits)) != NULL) {
        LIST_REMOVE(wait, link);
        memory_free(wait);
    }
}

static void free_derivation(struct derivation *derivation)
{
    free_waits(&derivation->waits);
    memory_free(derivation->user);
    memory_free_secret(derivation->password);
    memory_free(derivation);
}

static void free_check(struct scram_check *check)
{
    memory_free_secret(check->password);
    auth_secret_finish(&check->secret);
    memory_wipe(check->client_key, sizeof(check->client_key));
    memory_free(check);
}

/* What outlasted the helpers' end still needs its memory, and all of this with it. */
static bool is_in_use(struct scram_cache *cache)
{
    struct derivation *derivation;
    struct scram_check *check;
    bool is_running = false;

    (void)pthread_mutex_lock(&cache->mutex);
    LIST_FOREACH (derivation, &cache->derivations, link)
        is_running |= derivation->is_running;
    LIST_FOREACH (check, &cache->checks, link)
        is_running |= check->is_running;
    (void)pthread_mutex_unlock(&cache->mutex);
    return is_running;
}

void scram_cache_destroy(struct scram_cache *cache)
{
    struct derivation *derivation;
    struct scram_check *check;

    if (cache == NULL || is_in_use(cache))
        return;
    while ((derivation = LIST_FIRST(&cache->derivations)) != NULL) {
        LIST_REMOVE(derivation, link);
        free_derivation(derivation);
    }
    while ((check = LIST_FIRST(&cache->checks)) != NULL) {
        LIST_REMOVE(check, link);
        free_check(check);
    }
    free_waits(&cache->told);
    key_cache_destroy(cache->keys);
    (void)pthread_mutex_destroy(&cache->mutex);
    memory_free(cache);
}

/* ---- keys ---- */

static struct key_cache_subject key_subject(const char *user, const char *password,
                                            const uint8_t *salt, uint32_t iterations)
{
    return (struct key_cache_subject){
        .identity = {(const uint8_t *)user, strlen(user)},
        .salt = {salt, SCRAM_DERIVED_SALT},
        .iterations = iterations,
        .password = password,
    };
}

bool scram_cache_get(struct scram_cache *cache, const struct scram_cache_subject *subject,
                     uint8_t stored_key[SCRAM_KEY_SIZE], uint8_t server_key[SCRAM_KEY_SIZE])
{
    struct key_cache_subject key =
        key_subject(subject->user, subject->password, subject->salt, subject->iterations);
    uint8_t client_key[SCRAM_KEY_SIZE];

    if (!key_cache_get(cache->keys, &key, client_key, server_key))
        return false;
    auth_crypto_sha256(client_key, sizeof(client_key), stored_key);
    memory_wipe(client_key, sizeof(client_key));
    return true;
}

void scram_cache_clear(struct scram_cache *cache)
{
    key_cache_clear(cache->keys);
}

static bool derive(const struct derivation *derivation)
{
    uint8_t salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE], stored_key[SCRAM_KEY_SIZE],
        server_key[SCRAM_KEY_SIZE];
    struct key_cache_subject key = key_subject(derivation->user, derivation->password,
                                               derivation->salt, derivation->iterations);

    if (!scram_salt_password(derivation->password, derivation->salt, SCRAM_DERIVED_SALT,
                             derivation->iterations, salted))
        return false;
    scram_keys(salted, client_key, stored_key, server_key);
    key_cache_put(derivation->cache->keys, &key, client_key, server_key);
    memory_wipe(salted, sizeof(salted));
    memory_wipe(client_key, sizeof(client_key));
    memory_wipe(stored_key, sizeof(stored_key));
    memory_wipe(server_key, sizeof(server_key));
    return true;
}

/* ---- derivations ---- */

static void deliver(struct mail *mail, struct loop *loop)
{
    struct scram_cache_wait *wait =
        (struct scram_cache_wait *)((char *)mail - offsetof(struct scram_cache_wait, mail));
    struct scram_cache *cache = wait->cache;

    (void)loop;
    (void)pthread_mutex_lock(&cache->mutex);
    LIST_REMOVE(wait, link);
    (void)pthread_mutex_unlock(&cache->mutex);
    if (wait->answer != NULL)
        wait->answer(wait->argument, wait->ok);
    memory_free(wait);
}

static void set_running(struct derivation *derivation, bool is_running)
{
    (void)pthread_mutex_lock(&derivation->cache->mutex);
    derivation->is_running = is_running;
    (void)pthread_mutex_unlock(&derivation->cache->mutex);
}

/* On a helper thread. It tells nobody: the loops may have ended meanwhile. */
static void run(struct offload_job *job)
{
    struct derivation *derivation = (struct derivation *)job;

    set_running(derivation, true);
    derivation->ok = derive(derivation);
    set_running(derivation, false);
}

/* On the loop of who began it. Whoever asks from now on finds the keys, or begins anew. */
static void done(struct offload_job *job, struct loop *loop)
{
    struct derivation *derivation = (struct derivation *)job;
    struct scram_cache *cache = derivation->cache;
    struct scram_cache_wait *wait;

    (void)loop;
    (void)pthread_mutex_lock(&cache->mutex);
    LIST_REMOVE(derivation, link);
    cache->count--;
    while ((wait = LIST_FIRST(&derivation->waits)) != NULL) {
        LIST_REMOVE(wait, link);
        LIST_INSERT_HEAD(&cache->told, wait, link);
        wait->ok = derivation->ok;
        wait->mail.deliver = deliver;
        loop_post(wait->loop, &wait->mail);
    }
    (void)pthread_mutex_unlock(&cache->mutex);
    free_derivation(derivation);
}

/* Under the mutex. */
static struct derivation *find(struct scram_cache *cache, const struct scram_cache_subject *subject)
{
    struct derivation *derivation;

    LIST_FOREACH (derivation, &cache->derivations, link)
        if (strcmp(derivation->user, subject->user) == 0 &&
            strcmp(derivation->password, subject->password) == 0 &&
            derivation->iterations == subject->iterations &&
            memcmp(derivation->salt, subject->salt, SCRAM_DERIVED_SALT) == 0)
            return derivation;
    return NULL;
}

static struct derivation *make(struct scram_cache *cache, const struct scram_cache_subject *subject)
{
    struct derivation *derivation = memory_zalloc(sizeof(*derivation));

    if (derivation == NULL)
        return NULL;
    derivation->job = (struct offload_job){.run = run, .done = done};
    derivation->cache = cache;
    LIST_INIT(&derivation->waits);
    derivation->user = memory_strdup(subject->user);
    derivation->password = memory_strdup_secret(subject->password);
    memcpy(derivation->salt, subject->salt, SCRAM_DERIVED_SALT);
    derivation->iterations = subject->iterations;
    if (derivation->user != NULL && derivation->password != NULL)
        return derivation;
    free_derivation(derivation);
    return NULL;
}

/* Under the mutex. NULL: too many, or no memory. */
static struct derivation *begin(struct scram_cache *cache, struct offload *offload,
                                struct loop *loop, const struct scram_cache_subject *subject)
{
    struct derivation *derivation =
        cache->count < SCRAM_DERIVATIONS_MAX ? make(cache, subject) : NULL;

    if (derivation == NULL)
        return NULL;
    LIST_INSERT_HEAD(&cache->derivations, derivation, link);
    cache->count++;
    if (offload_submit(offload, OFFLOAD_PBKDF2, &derivation->job, loop))
        return derivation;
    LIST_REMOVE(derivation, link);
    cache->count--;
    free_derivation(derivation);
    return NULL;
}

struct scram_cache_wait *scram_cache_derive(struct scram_cache *cache, struct offload *offload,
                                            struct loop *loop,
                                            const struct scram_cache_subject *subject,
                                            void (*answer)(void *argument, bool ok), void *argument)
{
    struct scram_cache_wait *wait = memory_zalloc(sizeof(*wait));
    struct derivation *derivation;

    if (wait == NULL)
        return NULL;
    wait->cache = cache;
    wait->loop = loop;
    wait->answer = answer;
    wait->argument = argument;
    (void)pthread_mutex_lock(&cache->mutex);
    derivation = find(cache, subject);
    if (derivation == NULL)
        derivation = begin(cache, offload, loop, subject);
    if (derivation != NULL)
        LIST_INSERT_HEAD(&derivation->waits, wait, link);
    (void)pthread_mutex_unlock(&cache->mutex);
    if (derivation != NULL)
        return wait;
    memory_free(wait);
    return NULL;
}

void scram_cache_forget(struct scram_cache_wait *wait)
{
    wait->answer = NULL;
}

/* ---- cleartext passwords ---- */

static void set_check_running(struct scram_check *check, bool is_running)
{
    (void)pthread_mutex_lock(&check->cache->mutex);
    check->is_running = is_running;
    (void)pthread_mutex_unlock(&check->cache->mutex);
}

static void run_check(struct offload_job *job)
{
    struct scram_check *check = (struct scram_check *)job;

    set_check_running(check, true);
    check->is_right =
        verifier_check_cleartext_slow(&check->secret, check->password, check->client_key);
    set_check_running(check, false);
}

static void unlist_check(struct scram_check *check)
{
    (void)pthread_mutex_lock(&check->cache->mutex);
    LIST_REMOVE(check, link);
    (void)pthread_mutex_unlock(&check->cache->mutex);
}

static void check_done(struct offload_job *job, struct loop *loop)
{
    struct scram_check *check = (struct scram_check *)job;

    (void)loop;
    unlist_check(check);
    if (check->answer != NULL)
        check->answer(check->argument, check->is_right, check->client_key);
    free_check(check);
}

static struct scram_check *make_check(struct scram_cache *cache, const struct auth_secret *secret,
                                      const char *password)
{
    struct scram_check *check = memory_zalloc(sizeof(*check));

    if (check == NULL)
        return NULL;
    check->job = (struct offload_job){.run = run_check, .done = check_done};
    check->cache = cache;
    check->password = memory_strdup_secret(password);
    if (check->password != NULL && auth_secret_set(&check->secret, secret->text))
        return check;
    free_check(check);
    return NULL;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters, each of its own kind */
struct scram_check *scram_cache_check(struct scram_cache *cache, struct offload *offload,
                                      struct loop *loop, const struct auth_secret *secret,
                                      const char *password, scram_check_answer *answer,
                                      void *argument)
{
    struct scram_check *check = make_check(cache, secret, password);

    if (check == NULL)
        return NULL;
    check->answer = answer;
    check->argument = argument;
    (void)pthread_mutex_lock(&cache->mutex);
    LIST_INSERT_HEAD(&cache->checks, check, link);
    (void)pthread_mutex_unlock(&cache->mutex);
    if (offload_submit(offload, OFFLOAD_PBKDF2, &check->job, loop))
        return check;
    unlist_check(check);
    free_check(check);
    return NULL;
}

void scram_cache_forget_check(struct scram_check *check)
{
    check->answer = NULL;
}

/* ---- profile ---- */

struct shape {
    uint32_t iterations;
    size_t salt_size;
    int count;
};

struct census {
    struct shape shapes[PROFILE_SHAPES_MAX];
    uint32_t plain_iterations;
    int users, verifiers;
};

static void count_shape(struct census *census, uint32_t iterations, size_t salt_size)
{
    for (int i = 0; i < PROFILE_SHAPES_MAX; i++) {
        struct shape *shape = &census->shapes[i];
        if (shape->count == 0)
            *shape = (struct shape){.iterations = iterations, .salt_size = salt_size};
        if (shape->iterations == iterations && shape->salt_size == salt_size) {
            shape->count++;
            return;
        }
    }
}

static void count_user(struct user_entry *user, void *argument)
{
    struct census *census = argument;
    struct scram_verifier verifier;

    if (user->secret.kind == AUTH_SECRET_NONE || census->users == PROFILE_USERS_MAX)
        return;
    census->users++;
    if (user->secret.kind == AUTH_SECRET_PLAIN)
        count_shape(census, census->plain_iterations, SCRAM_DERIVED_SALT);
    if (user->secret.kind != AUTH_SECRET_SCRAM ||
        !scram_verifier_parse(user->secret.text, &verifier))
        return;
    census->verifiers++;
    count_shape(census, verifier.iterations, verifier.salt_size);
    memory_wipe(&verifier, sizeof(verifier));
}

static struct login_profile take_profile(const struct config *config)
{
    struct census census = {.plain_iterations = (uint32_t)config->settings.scram_iterations};
    const struct shape *best = &census.shapes[0];

    config_each_user(config, count_user, &census);
    for (int i = 1; i < PROFILE_SHAPES_MAX; i++)
        if (census.shapes[i].count > best->count)
            best = &census.shapes[i];
    if (best->count == 0)
        return (struct login_profile){.iterations = census.plain_iterations,
                                      .salt_size = SCRAM_DERIVED_SALT};
    return (struct login_profile){.is_scram = 2 * census.verifiers > census.users,
                                  .iterations = best->iterations,
                                  .salt_size = best->salt_size};
}

void scram_cache_profile(struct scram_cache *cache, const struct config *config,
                         struct login_profile *profile)
{
    (void)pthread_mutex_lock(&cache->mutex);
    bool is_known = cache->has_profile && cache->profile_generation == config->generation &&
                    cache->profile_iterations == config->settings.scram_iterations;
    *profile = cache->profile;
    (void)pthread_mutex_unlock(&cache->mutex);
    if (is_known)
        return;
    *profile = take_profile(config);
    (void)pthread_mutex_lock(&cache->mutex);
    cache->has_profile = true;
    cache->profile_generation = config->generation;
    cache->profile_iterations = config->settings.scram_iterations;
    cache->profile = *profile;
    (void)pthread_mutex_unlock(&cache->mutex);
}
