/* worker: a thread and what lives on it: loop + client_set + server_set. */
#pragma once
#include <pthread.h>

#include "client/client_set.h"
#include "server/server_set.h"

struct worker {
    int index;
    struct loop *loop;
    struct client_set clients;
    struct server_set servers;
    pthread_t thread; /* index > 0 */
    bool has_thread;
    _Atomic int placed; /* sockets handed over and not yet moved or closed: for placement */
};
