/* breaker: how often logins have failed, by identity and by address prefix, and how long the answer
 * to one more failure is held back (THREATS §2.8).
 *
 * Delays failures and nothing else: nobody asks it before a proof is judged, so that a right one
 * is never late, though workers share addresses and anybody may use anybody's name. A fixed table
 * under the process's seed: a stranger's names allocate nothing, and push out at most those who
 * failed least. One mutex, which only failures take. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "net/address.h"

#define BREAKER_WINDOW (60 * USEC_PER_SEC)

struct breaker;

struct breaker_limits {
    usec_t base;  /* for each failure (auth_failure_delay) */
    int failures; /* in BREAKER_WINDOW, of one identity or prefix; 0: not counted */
    usec_t delay; /* for those beyond */
};

struct breaker_verdict {
    usec_t delay;
    bool has_tripped; /* this failure is the first one beyond, in BREAKER_WINDOW */
};

struct breaker *breaker_create(void); /* NULL: no memory */
void breaker_destroy(struct breaker *breaker);

/* A login has failed: of this user of this database, from `address`. */
struct breaker_verdict breaker_failed(struct breaker *breaker, const char *database,
                                      const char *user, const struct address *address,
                                      const struct breaker_limits *limits, usec_t now);
/* Failures in all, and those whose answers were held back. */
void breaker_counts(struct breaker *breaker, uint64_t *failed, uint64_t *delayed);
