/* moat: connections that have not logged in, and what one address may have of them (THREATS §3.8).
 *
 * Owns a record of each connection (a guest) from accept to its end, and a fixed table of address
 * prefixes (IPv4: the address; IPv6: its first 64 bits; all Unix sockets together), which allocates
 * nothing for a new address. Keeps true: at most `login_clients` guests are not logged in. Who
 * comes when all places are taken gets that of the oldest guest of the prefix with most of them,
 * but of nobody who has said something valid within MOAT_GRACE. (There may be more: those
 * that moat_readmit lets stay; who comes next drops two.)
 *
 * One mutex, taken at accept and a few times in a login, never over I/O. Any thread. A guest that
 * lost its place is closed by its own worker, which finds it with moat_next_dropped().
 */
#pragma once
#include "base/clock.h"
#include "net/address.h"

#define MOAT_GRACE USEC_PER_SEC
/* Who lost their place and are not closed yet. Beyond half of them accepting rests; beyond all of
 * them newcomers are refused. */
#define MOAT_DROPPED_MAX 512

struct moat;
struct moat_guest;

struct moat_limits {
    int login_clients;
    int connections_per_prefix; /* logged in or not; 0: no limit */
    int logins_per_prefix;      /* new connections in a second; 0: no limit */
};

enum moat_verdict {
    MOAT_IN,
    MOAT_REPLACES, /* in, and somebody lost his place for it */
    MOAT_FULL,
    MOAT_TOO_MANY,  /* connections_per_prefix */
    MOAT_TOO_OFTEN, /* logins_per_prefix */
    MOAT_NO_MEMORY,
    MOAT_VERDICTS
};

struct moat_answer {
    enum moat_verdict verdict;
    struct moat_guest *guest; /* with the first two; ended by moat_leave */
    uint64_t told_workers;    /* a bit for each who has to look: some of theirs lost their place */
};

struct moat *moat_create(void);
void moat_destroy(struct moat *moat); /* when no guest is left; NULL is fine */

/* A connection that will live on `worker`. */
struct moat_answer moat_enter(struct moat *moat, const struct address *address, int worker,
                              const struct moat_limits *limits, usec_t now);
/* The guest, known by the address of a proxy so far, comes from `address`. */
enum moat_verdict moat_move(struct moat *moat, struct moat_guest *guest,
                            const struct address *address, const struct moat_limits *limits,
                            usec_t now);
/* What moat_next_dropped gives; on the guest's worker. False: it lost its place meanwhile. */
bool moat_set_owner(struct moat *moat, struct moat_guest *guest, void *owner);
/* It has said something valid. */
void moat_heard(struct moat *moat, struct moat_guest *guest, usec_t now);
/* A TLS handshake begins: false when `limit` (0: none) are under way and none of them has taken
 * longer than MOAT_GRACE; else one such loses its place, and *told_worker (else -1) has to look. */
bool moat_begin_handshake(struct moat *moat, struct moat_guest *guest, int limit, usec_t now,
                          int *told_worker);
void moat_end_handshake(struct moat *moat, struct moat_guest *guest); /* not begun is fine */
/* It counts among the connections of its prefix alone from here on. */
void moat_logged_in(struct moat *moat, struct moat_guest *guest);
void moat_leave(struct moat *moat, struct moat_guest *guest); /* frees; NULL is fine */

/* One who lost its place has spoken after all, before that was read: it gets one back. False: so
 * many have that there are twice as many as places. */
bool moat_readmit(struct moat *moat, struct moat_guest *guest, usec_t now);

/* The owner of one who lost its place on this worker; NULL: there is none. Repeated until NULL. */
void *moat_next_dropped(struct moat *moat, int worker);

/* So many lost their place and are not closed yet that newcomers had better wait. */
bool moat_is_behind(struct moat *moat);

/* Cancel requests whose key is nobody's. Beyond MOAT_MISSES_PER_PREFIX of a prefix in a second, and
 * MOAT_MISSES of all, none is looked at any more (THREATS §3.7): guessing keys costs the guesser
 * alone. Unix sockets, and addresses without an entry of their own, count in none of a prefix. */
#define MOAT_MISSES_PER_PREFIX 20
#define MOAT_MISSES            1000
struct moat_origin {
    uint64_t bits;
    sa_family_t family;
};
/* May what this guest has brought be looked at? *origin is for moat_cancel_missed, which may be
 * called when the guest is gone. */
bool moat_may_cancel(struct moat *moat, const struct moat_guest *guest, usec_t now,
                     struct moat_origin *origin);
void moat_cancel_missed(struct moat *moat, const struct moat_origin *origin, usec_t now);
void moat_cancel_counts(struct moat *moat, uint64_t *missed, uint64_t *dropped);

/* How often each verdict was given. */
void moat_counts(struct moat *moat, uint64_t counts[MOAT_VERDICTS]);
