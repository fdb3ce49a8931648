/* What resolver.c (names) and resolver_zones.c (serial numbers of zones) share. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/table.h"
#include "net/resolver.h"

#define HOST_MAX 255

/* Immutable once a name has it; counted, because answers travel while the name may be asked anew.
 */
struct result {
    _Atomic int references;
    int count;
    struct error error; /* when count is 0 */
    struct address addresses[RESOLVER_ADDRESSES_MAX];
};

/* One request that waits. */
struct resolver_lookup {
    struct mail mail;
    struct resolver *resolver;
    struct resolver_request *request; /* NULL: cancelled */
    struct loop *loop;
    int port;
    struct name *name; /* under the mutex: that it waits for; NULL: its answer is on the way */
    struct result *result;
    TAILQ_ENTRY(resolver_lookup) link;     /* of name->waiting, under the mutex */
    TAILQ_ENTRY(resolver_lookup) all_link; /* of resolver->all, under the mutex */
};
TAILQ_HEAD(lookups, resolver_lookup);

/* Of a question on a helper thread. */
enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_ABANDONED };

struct job;

/* The domain that names end in, behind their first dot. */
struct zone {
    UT_hash_handle hh;
    struct zone_job *job; /* NULL: nobody asks now */
    int count;            /* of names */
    bool is_known;        /* `serial` is */
    uint32_t serial;
    usec_t next; /* when it is looked at */
    char name[HOST_MAX + 1];
};

struct name {
    UT_hash_handle hh;
    TAILQ_ENTRY(name) link; /* of resolver->by_use */
    struct result *result;  /* NULL: not known yet */
    usec_t expires;
    struct job *job; /* NULL: nobody asks now */
    struct lookups waiting;
    char host[HOST_MAX + 1];
};
TAILQ_HEAD(names, name);

struct resolver {
    struct offload *offload;
    pthread_mutex_t mutex; /* guards all that follows */
    struct name *names;
    struct names by_use; /* the longest unused first */
    struct lookups all;
    struct zone *zones;
    usec_t max_ttl, failure_ttl;
    _Atomic uint64_t losses; /* not under the mutex */
};

/* Under the mutex. Asks for a name, unless that runs already. False: no memory, no thread, or too
 * many questions. */
bool resolver_ask(struct resolver *resolver, struct name *name, struct loop *loop);
/* At the end of the resolver. */
void resolver_forget_zones(struct resolver *resolver);
