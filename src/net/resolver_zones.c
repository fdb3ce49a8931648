/* Serial numbers of the zones that the names belong to (dns_zone_check_period).
 *
 * The question goes through the system's resolver library, on the helpers that look up names: it
 * reads resolv.conf for itself, and may take as long as that says. */
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "net/loop.h"
#include "resolver_private.h"

#define ANSWER_MAX  4096
#define SOA_NUMBERS 20 /* bytes: serial, refresh, retry, expire, minimum */

struct zone_job {
    struct offload_job offload; /* first */
    struct resolver *resolver;
    struct zone *zone;
    _Atomic int state;
    bool is_known;
    uint32_t serial;
    char name[HOST_MAX + 1];
};

/* ---- the question, on a helper ---- */

/* A record's data: two names, then five numbers of which the first is the serial. */
static bool read_soa(const ns_rr *record, uint32_t *serial)
{
    const uint8_t *data = ns_rr_rdata(*record);
    const uint8_t *end = data + ns_rr_rdlen(*record);

    for (int names = 0; names < 2; names++) {
        int size = dn_skipname(data, end);
        if (size < 0)
            return false;
        data += size;
    }
    if (end - data < SOA_NUMBERS)
        return false;
    *serial = (uint32_t)ns_get32(data);
    return true;
}

static bool find_soa(const uint8_t *answer, int size, uint32_t *serial)
{
    ns_msg message;
    ns_rr record;

    if (ns_initparse(answer, size, &message) != 0)
        return false;
    for (int i = 0; i < ns_msg_count(message, ns_s_an); i++)
        if (ns_parserr(&message, ns_s_an, i, &record) == 0 && ns_rr_type(record) == ns_t_soa)
            return read_soa(&record, serial);
    return false;
}

static bool ask_serial(const char *zone, uint32_t *serial)
{
    struct __res_state state = {0};
    uint8_t answer[ANSWER_MAX];

    if (res_ninit(&state) != 0)
        return false;
    int size = res_nquery(&state, zone, ns_c_in, ns_t_soa, answer, sizeof(answer));
    res_nclose(&state);
    return size > 0 && find_soa(answer, size < ANSWER_MAX ? size : ANSWER_MAX, serial);
}

static void run(struct offload_job *offload)
{
    struct zone_job *job = (struct zone_job *)offload; /* its first field */
    int running = JOB_RUNNING;

    atomic_store(&job->state, JOB_RUNNING);
    job->is_known = ask_serial(job->name, &job->serial);
    /* The resolver ended meanwhile, and left this to us. */
    if (!atomic_compare_exchange_strong(&job->state, &running, JOB_DONE))
        memory_free(job);
}

/* ---- the answer ---- */

static const char *zone_of(const char *host)
{
    const char *dot = strchr(host, '.');

    return dot != NULL && dot[1] != '\0' ? dot + 1 : NULL;
}

/* RFC 1982: numbers go around. */
static bool has_grown(uint32_t old, uint32_t new)
{
    return (int32_t)(new - old) > 0;
}

static void ask_names(struct resolver *resolver, const struct zone *zone, struct loop *loop)
{
    struct name *name;

    TAILQ_FOREACH (name, &resolver->by_use, link) {
        const char *its = zone_of(name->host);
        if (its != NULL && strcmp(its, zone->name) == 0)
            (void)resolver_ask(resolver, name, loop); /* else when a server is opened */
    }
}

static void done(struct offload_job *offload, struct loop *loop)
{
    struct zone_job *job = (struct zone_job *)offload;
    struct resolver *resolver = job->resolver;
    struct zone *zone = job->zone;

    pthread_mutex_lock(&resolver->mutex);
    zone->job = NULL;
    bool is_new = job->is_known && zone->is_known && has_grown(zone->serial, job->serial);
    if (is_new)
        ask_names(resolver, zone, loop);
    if (job->is_known && (is_new || !zone->is_known)) {
        zone->serial = job->serial;
        zone->is_known = true;
    }
    pthread_mutex_unlock(&resolver->mutex);
    if (is_new)
        log_info(NULL, "zone %s has a new serial number %u: its names are looked up again",
                 job->name, job->serial);
    memory_free(job);
}

static void ask(struct resolver *resolver, struct zone *zone, struct loop *loop)
{
    struct zone_job *job = memory_zalloc(sizeof(*job));

    if (job == NULL)
        return;
    job->offload.run = run;
    job->offload.done = done;
    job->resolver = resolver;
    job->zone = zone;
    memcpy(job->name, zone->name, sizeof(job->name));
    if (offload_submit(resolver->offload, OFFLOAD_DNS, &job->offload, loop))
        zone->job = job;
    else
        memory_free(job);
}

/* ---- the zones ---- */

static void count_name(struct resolver *resolver, const char *zone_name)
{
    struct zone *zone;

    HASH_FIND_STR(resolver->zones, zone_name, zone);
    if (zone == NULL) {
        zone = memory_zalloc(sizeof(*zone));
        if (zone == NULL)
            return;
        snprintf(zone->name, sizeof(zone->name), "%s", zone_name);
        HASH_ADD_STR(resolver->zones, name, zone);
        if (!TABLE_ADDED(zone)) {
            memory_free(zone);
            return;
        }
    }
    zone->count++;
}

/* As many zones as the names have, each with their number. One that is being asked for stays. */
static void count_names(struct resolver *resolver)
{
    struct zone *zone, *next;
    struct name *name;

    HASH_ITER (hh, resolver->zones, zone, next)
        zone->count = 0;
    TAILQ_FOREACH (name, &resolver->by_use, link)
        if (zone_of(name->host) != NULL)
            count_name(resolver, zone_of(name->host));
    HASH_ITER (hh, resolver->zones, zone, next)
        if (zone->count == 0 && zone->job == NULL) {
            HASH_DEL(resolver->zones, zone);
            memory_free(zone);
        }
}

static void drop_zones(struct resolver *resolver)
{
    struct zone *zone, *next;

    HASH_ITER (hh, resolver->zones, zone, next)
        if (zone->job == NULL) {
            HASH_DEL(resolver->zones, zone);
            memory_free(zone);
        }
}

void resolver_watch_zones(struct resolver *resolver, struct loop *loop, usec_t period)
{
    struct zone *zone, *next;
    usec_t now = loop_now(loop);

    pthread_mutex_lock(&resolver->mutex);
    if (period > 0)
        count_names(resolver);
    else
        drop_zones(resolver);
    HASH_ITER (hh, resolver->zones, zone, next)
        if (period > 0 && zone->job == NULL && now >= zone->next) {
            zone->next = now + period;
            ask(resolver, zone, loop);
        }
    pthread_mutex_unlock(&resolver->mutex);
}

void resolver_visit_zones(struct resolver *resolver, resolver_zone_visitor *visit, void *argument)
{
    const struct zone *zone, *next;

    pthread_mutex_lock(&resolver->mutex);
    HASH_ITER (hh, resolver->zones, zone, next)
        visit(argument, zone->name, zone->serial, zone->count);
    pthread_mutex_unlock(&resolver->mutex);
}

int resolver_zone_count(struct resolver *resolver)
{
    pthread_mutex_lock(&resolver->mutex);
    int count = (int)HASH_COUNT(resolver->zones);
    pthread_mutex_unlock(&resolver->mutex);
    return count;
}

void resolver_forget_zones(struct resolver *resolver)
{
    struct zone *zone, *next;

    HASH_ITER (hh, resolver->zones, zone, next) {
        HASH_DEL(resolver->zones, zone);
        /* One that runs nevertheless, on a thread that was left behind, frees itself. */
        if (zone->job != NULL && atomic_exchange(&zone->job->state, JOB_ABANDONED) != JOB_RUNNING)
            memory_free(zone->job);
        memory_free(zone);
    }
}
