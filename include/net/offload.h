/* offload: work that may take a millisecond, on helper threads (MECHANISMS §2.10).
 *
 * A queue and threads for each kind, bounded: a hung DNS must not delay a reload. The job is
 * embedded in its owner and must stay until `done` was called, on the loop that submitted it.
 * Submit on a loop's thread; run on a helper; done on the loop.
 */
#pragma once
#include <stdbool.h>

#include "net/mailbox.h"

enum offload_kind { OFFLOAD_CONFIG, OFFLOAD_PBKDF2, OFFLOAD_DNS, OFFLOAD_PAGES, OFFLOAD_KINDS };

struct offload;

struct offload_job {
    void (*run)(struct offload_job *job);
    void (*done)(struct offload_job *job, struct loop *loop);
    /* private */
    struct mail mail;
    struct loop *loop;
    struct offload_job *next;
};

/* Threads start with the first job of a kind. NULL: no memory. */
struct offload *offload_create(void);
/* Waits for running jobs at most a second; queued ones are dropped without `done`. */
void offload_destroy(struct offload *offload);
/* False: the kind's queue is full (OFFLOAD_QUEUE_MAX jobs) or there is no thread. */
#define OFFLOAD_QUEUE_MAX 4096
bool offload_submit(struct offload *offload, enum offload_kind kind, struct offload_job *job,
                    struct loop *loop);
