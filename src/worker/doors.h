/* doors: the listening sockets of the acceptor, and which listener of the configuration each
 * belongs to. Worker 0's thread. */
#pragma once
#include "worker_private.h"

#define DOORS_MAX 256

struct door {
    struct listener *listener;
    struct address address;       /* as it was asked for */
    struct listener_count *count; /* of the listener of this name */
    char name[CONFIG_LISTENER_NAME_MAX + 1];
    bool is_passed; /* by the service manager: it is not ours to close before the end */
};

struct acceptor {
    struct workers *workers;
    struct door doors[DOORS_MAX];
    int count;
    uint64_t generation; /* of the configuration whose descriptors were shared out */
    bool is_paused;
    bool is_closing; /* nothing is opened any more */
};

/* What is accepted goes there. */
void acceptor_accepted(void *argument, int fd, const struct address *peer,
                       struct listener *listener);

/* Opens all that the configuration names, or adopts what was passed. */
bool doors_open(struct acceptor *acceptor, struct error *error);
