/* One table of names under one mutex, which is never held over a look-up or an answer.
 *
 * A request waits as a `resolver_lookup` on the heap, so that the owner can forget its request
 * while the answer is on its way: who delivers finds no request and frees the rest. `request` of a
 * look-up is touched on the loop that asked, and nowhere else. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "net/loop.h"
#include "resolver_private.h"

#define NAMES_MAX           1024
#define MAX_TTL_DEFAULT     (15 * USEC_PER_SEC)
#define FAILURE_TTL_DEFAULT (15 * USEC_PER_SEC)

/* A look-up of a name on a helper thread. */
struct job {
    struct offload_job offload;
    struct resolver *resolver;
    struct name *name;
    struct result *result;
    _Atomic int state;
    char host[HOST_MAX + 1];
};

/* --- Results --------------------------------------------------------------------------------- */

static struct result *acquire_result(struct result *result)
{
    atomic_fetch_add_explicit(&result->references, 1, memory_order_relaxed);
    return result;
}

static void release_result(struct result *result)
{
    if (result != NULL &&
        atomic_fetch_sub_explicit(&result->references, 1, memory_order_acq_rel) == 1)
        memory_free(result);
}

static void add_address(struct result *result, const struct addrinfo *entry)
{
    struct address address = {.size = entry->ai_addrlen};

    if (entry->ai_addrlen > sizeof(address.u) || result->count == RESOLVER_ADDRESSES_MAX)
        return;
    memcpy(&address.u, entry->ai_addr, entry->ai_addrlen);
    for (int i = 0; i < result->count; i++)
        if (result->addresses[i].size == address.size &&
            memcmp(&result->addresses[i].u, &address.u, address.size) == 0)
            return;
    result->addresses[result->count++] = address;
}

static void free_job(struct job *job)
{
    release_result(job->result);
    memory_free(job);
}

/* On the helper. */
static void ask_system(struct result *result, const char *host)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(host, NULL, &hints, &list);

    if (code == 0) {
        for (const struct addrinfo *entry = list; entry != NULL; entry = entry->ai_next)
            add_address(result, entry);
        freeaddrinfo(list);
    }
    if (result->count == 0)
        error_set(&result->error, SQLSTATE_CANNOT_CONNECT, "DNS lookup failed: %s: result=%d (%s)",
                  host, code, code != 0 ? gai_strerror(code) : "no addresses");
}

/* --- Answers --------------------------------------------------------------------------------- */

static void set_port(struct address *address, int port)
{
    if (address->u.any.sa_family == AF_INET6)
        address->u.v6.sin6_port = htons((uint16_t)port);
    else
        address->u.v4.sin_port = htons((uint16_t)port);
}

/* On the loop that asked, without the mutex. */
static void answer(struct resolver_request *request, const struct result *result, int port)
{
    struct address addresses[RESOLVER_ADDRESSES_MAX];

    for (int i = 0; i < result->count; i++) {
        addresses[i] = result->addresses[i];
        set_port(&addresses[i], port);
    }
    request->lookup = NULL;
    request->answer(request, addresses, result->count, &result->error);
}

static void refuse(struct resolver_request *request, const char *host, const char *why)
{
    struct error error;

    error_set(&error, SQLSTATE_CANNOT_CONNECT, "DNS lookup failed: %s: %s", host, why);
    request->lookup = NULL;
    request->answer(request, NULL, 0, &error);
}

static void forget_lookup(struct resolver_lookup *lookup)
{
    TAILQ_REMOVE(&lookup->resolver->all, lookup, all_link);
}

static void deliver_lookup(struct mail *mail, struct loop *loop)
{
    struct resolver_lookup *lookup = (struct resolver_lookup *)mail; /* its first field */
    struct resolver *resolver = lookup->resolver;

    (void)loop;
    pthread_mutex_lock(&resolver->mutex);
    forget_lookup(lookup);
    pthread_mutex_unlock(&resolver->mutex);
    if (lookup->request != NULL)
        answer(lookup->request, lookup->result, lookup->port);
    release_result(lookup->result);
    memory_free(lookup);
}

/* --- Names, under the mutex ------------------------------------------------------------------ */

static void answer_waiting(struct name *name, struct result *result)
{
    struct resolver_lookup *lookup;

    while ((lookup = TAILQ_FIRST(&name->waiting)) != NULL) {
        TAILQ_REMOVE(&name->waiting, lookup, link);
        lookup->name = NULL;
        lookup->result = acquire_result(result);
        loop_post(lookup->loop, &lookup->mail);
    }
}

/* One that is in the table no more. */
static void free_name(struct resolver *resolver, struct name *name)
{
    TAILQ_REMOVE(&resolver->by_use, name, link);
    release_result(name->result);
    memory_free(name);
}

static void forget_name(struct resolver *resolver, struct name *name)
{
    HASH_DEL(resolver->names, name);
    free_name(resolver, name);
}

/* Makes room for one more. False: all names are being asked for. */
static bool make_room(struct resolver *resolver)
{
    struct name *name;

    if (HASH_COUNT(resolver->names) < NAMES_MAX)
        return true;
    TAILQ_FOREACH (name, &resolver->by_use, link)
        if (name->job == NULL) {
            forget_name(resolver, name);
            return true;
        }
    return false;
}

static struct name *find_name(struct resolver *resolver, const char *host)
{
    struct name *name;

    HASH_FIND_STR(resolver->names, host, name);
    if (name != NULL) {
        TAILQ_REMOVE(&resolver->by_use, name, link);
        TAILQ_INSERT_TAIL(&resolver->by_use, name, link);
    }
    return name;
}

static struct name *add_name(struct resolver *resolver, const char *host)
{
    struct name *name = make_room(resolver) ? memory_zalloc(sizeof(*name)) : NULL;

    if (name == NULL)
        return NULL;
    snprintf(name->host, sizeof(name->host), "%s", host);
    TAILQ_INIT(&name->waiting);
    HASH_ADD_STR(resolver->names, host, name);
    if (!TABLE_ADDED(name)) {
        memory_free(name);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&resolver->by_use, name, link);
    return name;
}

/* --- Asking ---------------------------------------------------------------------------------- */

static void run_job(struct offload_job *offload)
{
    struct job *job = (struct job *)offload; /* its first field */
    int running = JOB_RUNNING;

    atomic_store(&job->state, JOB_RUNNING);
    ask_system(job->result, job->host);
    /* A hung name server: the resolver ended meanwhile, and left this to us. */
    if (!atomic_compare_exchange_strong(&job->state, &running, JOB_DONE))
        free_job(job);
}

static bool has_address(const struct result *result, const struct address *address)
{
    for (int i = 0; i < result->count; i++)
        if (address_is_same_host(&result->addresses[i], address))
            return true;
    return false;
}

/* An address of the old answer is not in the new one. A failure takes none away. */
static bool lost_address(const struct result *old, const struct result *new)
{
    if (old == NULL || new->count == 0)
        return false;
    for (int i = 0; i < old->count; i++)
        if (!has_address(new, &old->addresses[i]))
            return true;
    return false;
}

static void job_done(struct offload_job *offload, struct loop *loop)
{
    struct job *job = (struct job *)offload;
    struct resolver *resolver = job->resolver;
    struct name *name = job->name;

    pthread_mutex_lock(&resolver->mutex);
    usec_t ttl = job->result->count > 0 ? resolver->max_ttl : resolver->failure_ttl;
    if (lost_address(name->result, job->result))
        atomic_fetch_add(&resolver->losses, 1);
    release_result(name->result);
    name->result = job->result; /* with its reference */
    name->expires = loop_now(loop) + ttl;
    name->job = NULL;
    answer_waiting(name, name->result);
    pthread_mutex_unlock(&resolver->mutex);
    memory_free(job);
}

static struct job *create_job(struct resolver *resolver, struct name *name)
{
    struct job *job = memory_zalloc(sizeof(*job));
    struct result *result = memory_zalloc(sizeof(*result));

    if (job == NULL || result == NULL) {
        memory_free(job);
        memory_free(result);
        return NULL;
    }
    atomic_init(&result->references, 1);
    job->offload.run = run_job;
    job->offload.done = job_done;
    job->resolver = resolver;
    job->name = name;
    job->result = result;
    memcpy(job->host, name->host, sizeof(job->host));
    return job;
}

bool resolver_ask(struct resolver *resolver, struct name *name, struct loop *loop)
{
    if (name->job != NULL)
        return true;
    name->job = create_job(resolver, name);
    if (name->job == NULL)
        return false;
    if (offload_submit(resolver->offload, OFFLOAD_DNS, &name->job->offload, loop))
        return true;
    free_job(name->job);
    name->job = NULL;
    return false;
}

/* Under the mutex. NULL: no memory. */
static struct resolver_lookup *add_lookup(struct resolver *resolver, struct name *name,
                                          struct resolver_request *request, int port)
{
    struct resolver_lookup *lookup = memory_zalloc(sizeof(*lookup));

    if (lookup == NULL)
        return NULL;
    *lookup = (struct resolver_lookup){
        .mail = {.deliver = deliver_lookup},
        .resolver = resolver,
        .request = request,
        .loop = request->loop,
        .port = port,
        .name = name,
    };
    TAILQ_INSERT_TAIL(&name->waiting, lookup, link);
    TAILQ_INSERT_TAIL(&resolver->all, lookup, all_link);
    return lookup;
}

/* Under the mutex. A reference to what is known, or NULL: the request waits, or `*why` it cannot.
 */
static struct result *look_up(struct resolver *resolver, const char *host, int port,
                              struct resolver_request *request, const char **why)
{
    struct name *name = find_name(resolver, host);
    struct loop *loop = request->loop;

    if (name != NULL && name->job == NULL && name->result != NULL && loop_now(loop) < name->expires)
        return acquire_result(name->result);
    if (name == NULL)
        name = add_name(resolver, host);
    if (name == NULL)
        *why = "too many names are looked up";
    else if (!resolver_ask(resolver, name, loop))
        *why = "too many lookups are waiting";
    else if ((request->lookup = add_lookup(resolver, name, request, port)) == NULL)
        *why = "out of memory";
    return NULL;
}

void resolver_lookup(struct resolver *resolver, struct loop *loop, const char *host, int port,
                     struct resolver_request *request)
{
    const char *why = NULL;

    request->loop = loop;
    request->lookup = NULL;
    if (strlen(host) > HOST_MAX) {
        refuse(request, host, "the name is too long");
        return;
    }
    pthread_mutex_lock(&resolver->mutex);
    struct result *known = look_up(resolver, host, port, request, &why);
    pthread_mutex_unlock(&resolver->mutex);
    if (known != NULL) {
        answer(request, known, port);
        release_result(known);
    } else if (why != NULL) {
        refuse(request, host, why);
    }
}

void resolver_cancel(struct resolver *resolver, struct resolver_request *request)
{
    struct resolver_lookup *lookup = request->lookup;

    if (lookup == NULL)
        return;
    request->lookup = NULL;
    lookup->request = NULL;
    pthread_mutex_lock(&resolver->mutex);
    bool is_waiting = lookup->name != NULL;
    if (is_waiting) {
        TAILQ_REMOVE(&lookup->name->waiting, lookup, link);
        forget_lookup(lookup);
    }
    pthread_mutex_unlock(&resolver->mutex);
    if (is_waiting)
        memory_free(lookup);
}

/* --- Life and numbers ------------------------------------------------------------------------ */

struct resolver *resolver_create(struct offload *offload)
{
    struct resolver *resolver = memory_zalloc(sizeof(*resolver));

    if (resolver == NULL)
        return NULL;
    resolver->offload = offload;
    resolver->max_ttl = MAX_TTL_DEFAULT;
    resolver->failure_ttl = FAILURE_TTL_DEFAULT;
    pthread_mutex_init(&resolver->mutex, NULL);
    TAILQ_INIT(&resolver->by_use);
    TAILQ_INIT(&resolver->all);
    return resolver;
}

void resolver_destroy(struct resolver *resolver)
{
    struct resolver_lookup *lookup;
    struct name *name;

    if (resolver == NULL)
        return;
    while ((lookup = TAILQ_FIRST(&resolver->all)) != NULL) {
        forget_lookup(lookup);
        release_result(lookup->result);
        memory_free(lookup);
    }
    HASH_CLEAR(hh, resolver->names);
    while ((name = TAILQ_FIRST(&resolver->by_use)) != NULL) {
        /* One that runs nevertheless, on a thread that was left behind, frees itself. */
        if (name->job != NULL && atomic_exchange(&name->job->state, JOB_ABANDONED) != JOB_RUNNING)
            free_job(name->job);
        free_name(resolver, name);
    }
    resolver_forget_zones(resolver);
    pthread_mutex_destroy(&resolver->mutex);
    memory_free(resolver);
}

void resolver_set_ttl(struct resolver *resolver, usec_t max_ttl, usec_t failure_ttl)
{
    pthread_mutex_lock(&resolver->mutex);
    resolver->max_ttl = max_ttl;
    resolver->failure_ttl = failure_ttl;
    pthread_mutex_unlock(&resolver->mutex);
}

int resolver_count(struct resolver *resolver)
{
    pthread_mutex_lock(&resolver->mutex);
    int count = (int)HASH_COUNT(resolver->names);
    pthread_mutex_unlock(&resolver->mutex);
    return count;
}

uint64_t resolver_losses(struct resolver *resolver)
{
    return atomic_load(&resolver->losses);
}

bool resolver_has_lost(struct resolver *resolver, const char *host, const struct address *address)
{
    struct name *name;

    pthread_mutex_lock(&resolver->mutex);
    HASH_FIND_STR(resolver->names, host, name);
    bool has_lost = name != NULL && name->result != NULL && name->result->count > 0 &&
                    !has_address(name->result, address);
    pthread_mutex_unlock(&resolver->mutex);
    return has_lost;
}

void resolver_visit(struct resolver *resolver, usec_t now, resolver_visitor *visit, void *argument)
{
    const struct name *name;

    pthread_mutex_lock(&resolver->mutex);
    TAILQ_FOREACH (name, &resolver->by_use, link) {
        if (name->result == NULL)
            continue;
        usec_t left = name->expires > now ? name->expires - now : 0;
        visit(argument, name->host, left, name->result->addresses, name->result->count);
    }
    pthread_mutex_unlock(&resolver->mutex);
}
