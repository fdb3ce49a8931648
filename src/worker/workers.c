#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/client_keys.h"
#include "base/memory.h"
#include "base/random.h"
#include "client/passthrough.h"
#include "client/scram_cache.h"
#include "worker_private.h"

#define DEFAULT_THREADS_MAX 8

static int thread_count(const struct config *config)
{
    long count = config->settings.worker_threads;
    if (count <= 0) {
        count = sysconf(_SC_NPROCESSORS_ONLN);
        if (count > DEFAULT_THREADS_MAX)
            count = DEFAULT_THREADS_MAX;
    }
    if (count < 1)
        count = 1;
    return count > WORKERS_MAX ? WORKERS_MAX : (int)count;
}

static bool make_shared(struct workers *workers, const struct upper_rooms *rooms)
{
    struct client_shared *shared = &workers->shared;
    workers->offload = offload_create();
    workers->resolver = workers->offload ? resolver_create(workers->offload) : NULL;
    workers->key_cache = key_cache_create(KEY_CACHE_ENTRIES_MAX);
    workers->client_keys = key_cache_create(CLIENT_KEYS_MAX);
    workers->password_cache = password_cache_create();
    workers->stats = stats_create(workers);
    shared->counts = client_counts_create();
    shared->moat = moat_create();
    shared->breaker = breaker_create();
    shared->registry = registry_create(workers->count);
    shared->scram_cache = scram_cache_create();
    shared->user_cache = user_cache_create();
    shared->passthrough = passthrough_create();
    shared->parameter_names = &workers->parameter_names;
    shared->console = rooms->console;
    shared->front = rooms->front;
    shared->console_argument = workers;
    shared->own_uid = getuid();
    atomic_store(&shared->ids, 1);
    random_bytes(shared->mock_key, sizeof(shared->mock_key));
    return workers->resolver && workers->key_cache && workers->client_keys &&
           workers->password_cache && workers->stats && shared->counts && shared->moat &&
           shared->breaker && shared->registry && shared->scram_cache && shared->user_cache &&
           shared->passthrough &&
           parameter_names_init(&workers->parameter_names,
                                workers->config->settings.track_extra_parameters);
}

static void init_server_set(struct workers *workers, struct worker *worker)
{
    worker->servers = (struct server_set){
        .loop = worker->loop,
        .worker = worker->index,
        .worker_count = workers->count,
        .siblings = workers->server_sets,
        .config = config_acquire(workers->config),
        .resolver = workers->resolver,
        .offload = workers->offload,
        .key_cache = workers->key_cache,
        .client_keys = workers->client_keys,
        .password_cache = workers->password_cache,
        .parameter_names = &workers->parameter_names,
        .ids = &workers->shared.ids,
    };
}

static void init_client_set(struct workers *workers, struct worker *worker)
{
    worker->clients = (struct client_set){
        .loop = worker->loop,
        .worker = worker->index,
        .worker_count = workers->count,
        .siblings = workers->client_sets,
        .servers = &worker->servers,
        .config = config_acquire(workers->config),
        .shared = &workers->shared,
        .offload = workers->offload,
    };
}

static bool make_worker(struct workers *workers, int index, struct error *error)
{
    struct worker *worker = &workers->array[index];
    worker->index = index;
    worker->loop = loop_create(error);
    if (!worker->loop)
        return false;
    workers->client_sets[index] = &worker->clients;
    workers->server_sets[index] = &worker->servers;
    init_server_set(workers, worker);
    init_client_set(workers, worker);
    return server_set_init(&worker->servers) && client_set_init(&worker->clients);
}

static bool make_array(struct workers *workers, struct error *error)
{
    size_t count = (size_t)workers->count;
    workers->array = memory_zalloc_array(count, sizeof(*workers->array));
    workers->client_sets = memory_zalloc_array(count, sizeof(struct client_set *));
    workers->server_sets = memory_zalloc_array(count, sizeof(struct server_set *));
    if (!workers->array || !workers->client_sets || !workers->server_sets)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < workers->count; i++)
        if (!make_worker(workers, i, error))
            return false;
    return true;
}

struct workers *workers_create(const struct config *config, struct tls_ticket_keys *keys,
                               const struct upper_rooms *rooms, struct error *error)
{
    struct workers *workers = memory_zalloc(sizeof(*workers));
    if (!workers) {
        error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    workers->count = thread_count(config);
    workers->config = config_acquire(config);
    workers->ticket_keys = keys;
    workers->start_time = clock_monotonic();
    error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    if (make_shared(workers, rooms) && make_array(workers, error)) {
        resolver_set_ttl(workers->resolver, config->settings.dns_max_ttl,
                         config->settings.dns_nxdomain_ttl);
        TAILQ_INIT(&workers->waits);
        workers->control = control_create(workers);
        workers->suspend = suspend_create(workers);
        workers->acceptor =
            workers->control && workers->suspend ? acceptor_open(workers, error) : NULL;
    }
    if (!workers->acceptor || !upkeep_start(workers)) {
        workers_destroy(workers);
        return NULL;
    }
    return workers;
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    loop_run(worker->loop);
    return NULL;
}

/* Signals are for worker 0 alone: the others start with all of them blocked. */
static void start_threads(struct workers *workers)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 1; i < workers->count; i++) {
        struct worker *worker = &workers->array[i];
        worker->has_thread = pthread_create(&worker->thread, NULL, run_worker, worker) == 0;
        if (!worker->has_thread) {
            log_fatal("cannot start a thread");
            exit(EXIT_FAILURE);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void stop_threads(struct workers *workers)
{
    for (int i = 1; i < workers->count; i++)
        loop_stop(workers->array[i].loop);
    for (int i = 1; i < workers->count; i++)
        if (workers->array[i].has_thread)
            pthread_join(workers->array[i].thread, NULL);
}

void workers_run(struct workers *workers)
{
    start_threads(workers);
    service_manager_ready();
    loop_run(workers->array[0].loop);
    service_manager_stopping();
    stop_threads(workers);
}

static void stop_loop(struct mail *mail, struct loop *loop)
{
    (void)mail;
    loop_stop(loop);
}

/* One turn more for each loop, now on this thread: mail that is under way arrives, what is closed
 * is freed. */
static void last_turns(struct workers *workers)
{
    for (int i = 0; workers->array && i < workers->count; i++) {
        struct mail stop = {.deliver = stop_loop};
        if (!workers->array[i].loop)
            continue;
        loop_post(workers->array[i].loop, &stop);
        loop_run(workers->array[i].loop);
    }
}

static void finish_sets(struct workers *workers)
{
    control_end(workers->control);
    last_turns(workers);
    last_turns(workers);
    for (int i = 0; workers->array && i < workers->count; i++)
        if (workers->array[i].loop) {
            workers->array[i].servers.is_shutting_down = true;
            client_set_finish(&workers->array[i].clients);
        }
    for (int i = 0; workers->array && i < workers->count; i++)
        if (workers->array[i].loop)
            server_set_finish(&workers->array[i].servers);
    offload_destroy(workers->offload); /* nobody waits for a helper any more */
    workers->offload = NULL;
    last_turns(workers);
    for (int i = 0; workers->array && i < workers->count; i++) {
        struct worker *worker = &workers->array[i];
        if (!worker->loop)
            continue;
        config_release(worker->clients.config);
        config_release(worker->servers.config);
    }
}

void workers_destroy(struct workers *workers)
{
    if (!workers)
        return;
    acceptor_close(workers->acceptor);
    finish_sets(workers);
    waits_look(workers, true);
    suspend_destroy(workers->suspend);
    control_destroy(workers->control);
    scram_cache_destroy(workers->shared.scram_cache);
    user_cache_destroy(workers->shared.user_cache);
    passthrough_destroy(workers->shared.passthrough);
    resolver_destroy(workers->resolver);
    registry_destroy(workers->shared.registry);
    client_counts_destroy(workers->shared.counts);
    moat_destroy(workers->shared.moat);
    breaker_destroy(workers->shared.breaker);
    key_cache_destroy(workers->key_cache);
    key_cache_destroy(workers->client_keys);
    password_cache_destroy(workers->password_cache);
    stats_destroy(workers->stats);
    for (int i = 0; workers->array && i < workers->count; i++)
        loop_destroy(workers->array[i].loop);
    parameter_names_finish(&workers->parameter_names);
    memory_free(workers->array);
    memory_free(workers->client_sets);
    memory_free(workers->server_sets);
    config_release(workers->config);
    memory_free(workers);
}
