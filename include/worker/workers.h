/* workers: start, stop, the fixed array of them, and what all of them share.
 *
 * Worker 0 runs on the main thread (workers_run), the others on threads of their own. Made before
 * any thread starts; the array does not change after that.
 */
#pragma once
#include "config/load.h"
#include "net/listener.h"
#include "worker/worker.h"

struct workers {
    int count;
    struct worker *array;
    struct client_set **client_sets; /* the siblings arrays */
    struct server_set **server_sets;
    struct client_shared shared;
    struct parameter_names parameter_names;
    struct resolver *resolver;
    struct offload *offload;
    struct key_cache *key_cache;
    struct key_cache *client_keys;
    struct password_cache *password_cache;
    struct tls_ticket_keys *ticket_keys;
    int login_ceiling; /* worker 0: what descriptors allow of max_login_clients; 0: all of it */
    const struct config *config;      /* worker 0's: the newest that was published */
    struct acceptor *acceptor;        /* worker 0 */
    struct control *control;          /* worker 0: reload and shutdown */
    struct stats *stats;              /* ticks of worker 0 */
    struct suspend *suspend;          /* worker 0: SUSPEND */
    bool has_failed;                  /* the process ends with status 1 */
    TAILQ_HEAD(, control_wait) waits; /* worker 0: who waits for servers to end (control_wait) */
    uint64_t pools_generation;        /* of the configuration whose pools upkeep has made */
    const char *version;              /* the first line of --version; a literal */
    usec_t start_time;
    int verbose;   /* -v, counted: the least that a reload leaves */
    bool is_quiet; /* -q: holds over reloads */
};

/* What rooms above do with clients that are theirs. */
struct upper_rooms {
    const struct console_ops *console;
    const struct front_ops *front; /* NULL: HTTP is not built */
};
struct workers *workers_create(const struct config *config, struct tls_ticket_keys *keys,
                               const struct upper_rooms *rooms, struct error *error);
/* Starts the other threads and turns worker 0's loop until shutdown is over. */
void workers_run(struct workers *workers);
void workers_destroy(struct workers *workers);
