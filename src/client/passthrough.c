#include "client/passthrough.h"

#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "base/table.h"
#include "client/client_set.h"

#define TURNS     1024 /* of the table of who was served when */
#define NAMES_MAX 1024 /* names of an identity, joined */

/* Between two attempts while no server can be asked. */
#define REST_FIRST (100 * USEC_PER_MSEC)
#define REST_MOST  (2 * USEC_PER_SEC)

/* One who waits. Belongs to the flight until its mail is under way, then to that. */
struct passthrough_wait {
    LIST_ENTRY(passthrough_wait) link;
    struct loop *loop;
    passthrough_answer *answer; /* the loop's thread alone; NULL: forgotten */
    void *argument;
    _Atomic bool is_gone;
    enum probe_verdict verdict;
    struct error error;
    struct mail mail;
};
LIST_HEAD(waits, passthrough_wait);

enum flight_state {
    FLIGHT_QUEUED,
    FLIGHT_ASKING, /* or on the way to its worker, which will ask */
    FLIGHT_RESTING /* until its deadline: no server could be asked */
};

/* A question. Made by a worker, and asked there. */
struct flight {
    UT_hash_handle hh; /* by hash */
    struct passthrough *passthrough;
    struct client_set *set; /* of its worker */
    uint8_t hash[PASSWORD_CACHE_HASH];
    char *database, *asked_at, *user, *server_name, *password; /* owned */
    char *line;        /* the line of [databases] that its server stands in; owned */
    uint64_t era;      /* of the password cache */
    unsigned turns[2]; /* places of its identity, and of that and its origin, in `served` */
    uint64_t number;
    struct deadline deadline; /* its worker's alone */
    usec_t rest;              /* likewise */
    struct mail mail;
    enum flight_state state; /* this and the list: under the mutex */
    struct waits waits;
};

struct passthrough {
    pthread_mutex_t mutex; /* guards what follows */
    struct flight *flights;
    uint64_t numbers;       /* of flights */
    uint64_t services;      /* flights that were let go */
    uint64_t served[TURNS]; /* when (in services) the last of those that fall on this place was; a
                               stranger's names allocate nothing */
};

struct passthrough *passthrough_create(void)
{
    struct passthrough *passthrough = memory_zalloc(sizeof(*passthrough));

    if (passthrough != NULL)
        (void)pthread_mutex_init(&passthrough->mutex, NULL);
    return passthrough;
}

struct password_cache_subject passthrough_key(const struct passthrough_subject *subject)
{
    return (struct password_cache_subject){
        .database = subject->database,
        .login_name = subject->user,
        .server_name = subject->server_name,
        .method = "passthrough",
        .verifier = "",
        .password = subject->password,
    };
}

static struct password_cache_subject key_of(const struct flight *flight)
{
    const struct passthrough_subject subject = {
        .database = flight->database,
        .user = flight->user,
        .server_name = flight->server_name,
        .password = flight->password,
    };

    return passthrough_key(&subject);
}

static struct password_cache *cache_of(const struct client_set *set)
{
    return set->servers->password_cache;
}

/* ---- life of a flight ---- */

static void free_flight(struct flight *flight)
{
    struct passthrough_wait *wait;

    while ((wait = LIST_FIRST(&flight->waits)) != NULL) {
        LIST_REMOVE(wait, link);
        memory_free(wait);
    }
    memory_free(flight->database);
    memory_free(flight->asked_at);
    memory_free(flight->user);
    memory_free(flight->server_name);
    memory_free(flight->line);
    memory_free_secret(flight->password);
    memory_free(flight);
}

void passthrough_destroy(struct passthrough *passthrough)
{
    struct flight *flight, *next;

    if (passthrough == NULL)
        return;
    HASH_ITER (hh, passthrough->flights, flight, next) {
        HASH_DEL(passthrough->flights, flight);
        free_flight(flight);
    }
    (void)pthread_mutex_destroy(&passthrough->mutex);
    memory_free(passthrough);
}

static unsigned turn_of(const struct passthrough_subject *subject, uint64_t origin)
{
    char text[NAMES_MAX];
    struct bytes names = bytes_over((uint8_t *)text, sizeof(text));

    bytes_u32(&names, (uint32_t)(origin >> 32));
    bytes_u32(&names, (uint32_t)origin);
    bytes_string(&names, subject->database);
    bytes_string(&names, subject->user);
    return (unsigned)(digest64(text, names.size) % TURNS);
}

static bool copy_texts(struct flight *flight, const struct passthrough_subject *subject,
                       const char *line)
{
    flight->database = memory_strdup(subject->database);
    flight->asked_at = memory_strdup(subject->asked_at);
    flight->user = memory_strdup(subject->user);
    flight->server_name = memory_strdup(subject->server_name);
    flight->password = memory_strdup_secret(subject->password);
    flight->line = memory_strdup(line);
    return flight->database != NULL && flight->asked_at != NULL && flight->user != NULL &&
           flight->server_name != NULL && flight->password != NULL && flight->line != NULL;
}

/* NULL: no memory, or there is no such database. */
static struct flight *make(struct client_set *set, const struct passthrough_subject *subject,
                           const uint8_t hash[PASSWORD_CACHE_HASH])
{
    const struct database_entry *line = config_peek_database(set->config, subject->asked_at);
    struct flight *flight = line != NULL ? memory_zalloc(sizeof(*flight)) : NULL;

    if (flight == NULL)
        return NULL;
    LIST_INIT(&flight->waits);
    flight->passthrough = set->shared->passthrough;
    flight->set = set;
    flight->era = password_cache_era(cache_of(set));
    flight->turns[0] = turn_of(subject, 0);
    flight->turns[1] = turn_of(subject, subject->origin);
    memcpy(flight->hash, hash, PASSWORD_CACHE_HASH);
    if (copy_texts(flight, subject, line->name))
        return flight;
    free_flight(flight);
    return NULL;
}

/* ---- whose turn it is; all of this is under the mutex ---- */

static unsigned count_asking(const struct passthrough *passthrough, const char *line)
{
    const struct flight *flight;
    unsigned count = 0;

    for (flight = passthrough->flights; flight != NULL; flight = flight->hh.next)
        count += flight->state == FLIGHT_ASKING && strcmp(flight->line, line) == 0;
    return count;
}

/* Whose identity was served longer ago, then whose origin, then who came first. */
static bool is_before(const struct passthrough *passthrough, const struct flight *one,
                      const struct flight *other)
{
    for (int i = 0; i < 2; i++) {
        uint64_t a = passthrough->served[one->turns[i]], b = passthrough->served[other->turns[i]];
        if (a != b)
            return a < b;
    }
    return one->number < other->number;
}

/* The next of those who wait for this line, or NULL. */
static struct flight *choose(const struct passthrough *passthrough, const char *line)
{
    struct flight *flight, *best = NULL;

    for (flight = passthrough->flights; flight != NULL; flight = flight->hh.next)
        if (flight->state == FLIGHT_QUEUED && strcmp(flight->line, line) == 0 &&
            (best == NULL || is_before(passthrough, flight, best)))
            best = flight;
    return best;
}

static void start(struct mail *mail, struct loop *loop);

static void let_go(struct passthrough *passthrough, struct flight *flight)
{
    passthrough->services++;
    passthrough->served[flight->turns[0]] = passthrough->services;
    passthrough->served[flight->turns[1]] = passthrough->services;
    flight->state = FLIGHT_ASKING;
    flight->mail.deliver = start;
    loop_post(flight->set->loop, &flight->mail);
}

static void fill(struct passthrough *passthrough, const char *line, unsigned limit)
{
    unsigned asking = count_asking(passthrough, line);
    struct flight *next;

    for (; asking < limit && (next = choose(passthrough, line)) != NULL; asking++)
        let_go(passthrough, next);
}

static unsigned limit_of(const struct client_set *set)
{
    return (unsigned)set->config->settings.auth_passthrough_max;
}

/* ---- answers ---- */

static void deliver(struct mail *mail, struct loop *loop)
{
    struct passthrough_wait *wait =
        (struct passthrough_wait *)((char *)mail - offsetof(struct passthrough_wait, mail));

    (void)loop;
    if (wait->answer != NULL)
        wait->answer(wait->argument, wait->verdict, &wait->error);
    memory_free(wait);
}

/* It is over: whoever asks from now on begins anew. */
static void land(struct flight *flight, enum probe_verdict verdict, const struct error *error)
{
    struct passthrough *passthrough = flight->passthrough;
    struct passthrough_wait *wait;

    deadline_clear(&flight->deadline);
    (void)pthread_mutex_lock(&passthrough->mutex);
    HASH_DEL(passthrough->flights, flight);
    while ((wait = LIST_FIRST(&flight->waits)) != NULL) {
        LIST_REMOVE(wait, link);
        wait->verdict = verdict;
        wait->error = *error;
        wait->mail.deliver = deliver;
        loop_post(wait->loop, &wait->mail);
    }
    fill(passthrough, flight->line, limit_of(flight->set));
    (void)pthread_mutex_unlock(&passthrough->mutex);
    free_flight(flight);
}

static void remember(const struct flight *flight)
{
    const struct client_set *set = flight->set;
    const struct password_cache_subject key = key_of(flight);

    if (set->config->settings.auth_cache_ttl > 0 && strcmp(flight->asked_at, flight->database) == 0)
        password_cache_put(cache_of(set), &key, (size_t)set->config->settings.auth_cache_size,
                           flight->era, loop_now(set->loop));
}

/* No server could be asked: others may try theirs meanwhile. */
static void rest(struct flight *flight)
{
    struct client_set *set = flight->set;
    struct passthrough *passthrough = flight->passthrough;

    flight->rest = flight->rest == 0              ? REST_FIRST
                   : 2 * flight->rest < REST_MOST ? 2 * flight->rest
                                                  : REST_MOST;
    (void)pthread_mutex_lock(&passthrough->mutex);
    flight->state = FLIGHT_RESTING;
    fill(passthrough, flight->line, limit_of(set));
    (void)pthread_mutex_unlock(&passthrough->mutex);
    deadline_set(&set->passthrough_deadlines, &flight->deadline,
                 loop_now(set->loop) + flight->rest);
}

static void answered(void *argument, enum probe_verdict verdict, const struct error *error)
{
    struct flight *flight = argument;

    if (flight->set->servers->is_shutting_down) /* passthrough_destroy has it */
        return;
    if (verdict == PROBE_NOT_REACHED) {
        rest(flight);
        return;
    }
    if (verdict == PROBE_RIGHT)
        remember(flight);
    land(flight, verdict, error);
}

/* ---- asking ---- */

static bool is_awaited(struct flight *flight)
{
    struct passthrough *passthrough = flight->passthrough;
    const struct passthrough_wait *wait;
    bool is_awaited = false;

    (void)pthread_mutex_lock(&passthrough->mutex);
    LIST_FOREACH (wait, &flight->waits, link)
        is_awaited = is_awaited || !atomic_load(&wait->is_gone);
    (void)pthread_mutex_unlock(&passthrough->mutex);
    return is_awaited;
}

static void ask(struct flight *flight)
{
    static const struct error gone = {SQLSTATE_CANNOT_CONNECT, "the database is gone", ""};
    struct client_set *set = flight->set;
    struct registry *registry = set->shared->registry;
    struct database_entry *database = config_probe_database(set->config, flight->asked_at);
    struct pool *pool = database != NULL
                            ? registry_probe_pool(registry, set->config, database, flight->user)
                            : NULL;

    database_release(database);
    if (pool == NULL) {
        land(flight, PROBE_REFUSED, &gone);
        return;
    }
    const struct probe_request request = {
        .pool = pool,
        .password = flight->password,
        .answer = answered,
        .argument = flight,
    };
    probe_start(set->servers, &request);
    pool_release_reference(pool);
}

/* On its worker: its turn has come. */
static void start(struct mail *mail, struct loop *loop)
{
    static const struct error nobody = {SQLSTATE_CANNOT_CONNECT, "nobody waits", ""};
    struct flight *flight = (struct flight *)((char *)mail - offsetof(struct flight, mail));
    struct client_set *set = flight->set;
    struct registry *registry = set->shared->registry;

    (void)loop;
    if (set->servers->is_shutting_down)
        return;
    if (!is_awaited(flight))
        land(flight, PROBE_NOT_REACHED, &nobody);
    else if (registry_is_paused(registry, NULL) || registry_is_paused(registry, flight->asked_at))
        rest(flight);
    else
        ask(flight);
}

void passthrough_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct flight *flight = (struct flight *)((char *)deadline - offsetof(struct flight, deadline));
    struct passthrough *passthrough = flight->passthrough;

    (void)list;
    (void)pthread_mutex_lock(&passthrough->mutex);
    flight->state = FLIGHT_QUEUED;
    fill(passthrough, flight->line, limit_of(flight->set));
    (void)pthread_mutex_unlock(&passthrough->mutex);
}

static struct flight *find(const struct passthrough *passthrough,
                           const uint8_t hash[PASSWORD_CACHE_HASH])
{
    struct flight *flight = NULL;

    HASH_FIND(hh, passthrough->flights, hash, PASSWORD_CACHE_HASH, flight);
    return flight;
}

/* Under the mutex. NULL: too many, or no memory. */
static struct flight *begin(struct client_set *set, const struct passthrough_subject *subject,
                            const uint8_t hash[PASSWORD_CACHE_HASH])
{
    struct passthrough *passthrough = set->shared->passthrough;
    unsigned most = (unsigned)set->config->settings.auth_passthrough_queue;
    struct flight *flight =
        HASH_COUNT(passthrough->flights) < most ? make(set, subject, hash) : NULL;

    if (flight == NULL)
        return NULL;
    HASH_ADD(hh, passthrough->flights, hash, PASSWORD_CACHE_HASH, flight);
    if (!TABLE_ADDED(flight)) {
        free_flight(flight);
        return NULL;
    }
    flight->number = passthrough->numbers++;
    return flight;
}

struct passthrough_wait *passthrough_ask(struct client_set *set,
                                         const struct passthrough_subject *subject,
                                         passthrough_answer *answer, void *argument)
{
    struct passthrough *passthrough = set->shared->passthrough;
    const struct password_cache_subject key = passthrough_key(subject);
    struct passthrough_wait *wait = memory_zalloc(sizeof(*wait));
    uint8_t hash[PASSWORD_CACHE_HASH];

    if (wait == NULL)
        return NULL;
    wait->loop = set->loop;
    wait->answer = answer;
    wait->argument = argument;
    password_cache_hash(cache_of(set), &key, hash);
    (void)pthread_mutex_lock(&passthrough->mutex);
    struct flight *flight = find(passthrough, hash);
    if (flight == NULL)
        flight = begin(set, subject, hash);
    if (flight != NULL) {
        LIST_INSERT_HEAD(&flight->waits, wait, link);
        fill(passthrough, flight->line, limit_of(set));
    }
    (void)pthread_mutex_unlock(&passthrough->mutex);
    if (flight != NULL)
        return wait;
    memory_free(wait);
    return NULL;
}

void passthrough_forget(struct passthrough_wait *wait)
{
    wait->answer = NULL;
    atomic_store(&wait->is_gone, true);
}
