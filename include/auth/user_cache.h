/* user_cache: what auth_query has said of users, for all workers (THREATS §2.5).
 *
 * Owns the answers, each found by (database entry, name as sent), and the questions under way: one
 * for each user, however many ask (single-flight). Bounded: users that exist and names that do not
 * have places apart, so that made-up names push nobody out; the one not used for longest goes.
 * Questions are bounded by number and by rate, alike for known and unknown names.
 *
 * Knows no sockets: it says what is to be done, and whoever asks (client/user_lookup) does it.
 * Secrets are wiped when they leave. Any thread: one mutex, which only logins take, never held over
 * I/O. Time is handed in.
 */
#pragma once
#include <stddef.h>
#include <sys/queue.h>

#include "auth/auth_file.h"
#include "base/clock.h"

#define USER_CACHE_FLIGHTS_MAX 1024
#define USER_CACHE_NAMES_MAX   512 /* both, with their zero bytes; longer ones are never kept */

struct user_cache;

/* Borrowed for the call. */
struct user_cache_key {
    const char *database, *name;
};

struct user_cache_limits {
    usec_t ttl, negative_ttl; /* how long an answer is good, of a user and of no user */
    usec_t stale;             /* how much longer where no server could be asked */
    unsigned size;            /* users, and as many names that nobody has */
    unsigned rate;            /* questions a second */
};

enum user_cache_found {
    USER_CACHE_USER,    /* it exists; its secret may be of kind NONE (expired, or without one) */
    USER_CACHE_NOBODY,  /* nobody has this name */
    USER_CACHE_UNKNOWN, /* could not be found out */
};

/* What is known. `secret` is the caller's: auth_secret_finish. */
struct user_cache_answer {
    enum user_cache_found found;
    struct auth_secret secret;
    usec_t asked_at;
    bool is_stale;
};

/* One who waits for a question's answer; embedded in its owner, who stays until he gets it. */
struct user_cache_wait {
    LIST_ENTRY(user_cache_wait) link;
    struct user_cache_answer answer;
};
LIST_HEAD(user_cache_waits, user_cache_wait);

enum user_cache_verdict {
    USER_CACHE_HIT,  /* *answer is set */
    USER_CACHE_ASK,  /* `wait` is linked, and the caller is to ask: user_cache_tell */
    USER_CACHE_WAIT, /* `wait` is linked; somebody is asking */
    USER_CACHE_FULL, /* too many questions: nothing is known */
};

struct user_cache *user_cache_create(void); /* NULL: no memory */
void user_cache_destroy(struct user_cache *cache);

/* An answer not older than `max_age` (within the limits' times), or how to get one. Where no
 * question may be put now, an older one that is within its time serves. */
enum user_cache_verdict user_cache_get(struct user_cache *cache, const struct user_cache_key *key,
                                       const struct user_cache_limits *limits, usec_t max_age,
                                       usec_t now, struct user_cache_wait *wait,
                                       struct user_cache_answer *answer);

/* What came of a question that user_cache_get has ordered. `secret` NULL or empty: none. */
struct user_cache_news {
    enum user_cache_found found;
    const char *secret;
    bool was_not_reached; /* UNKNOWN because no server could be asked */
};
/* Keeps it, and gives each of who waited its answer; they are the caller's to call. */
void user_cache_tell(struct user_cache *cache, const struct user_cache_key *key,
                     const struct user_cache_limits *limits, const struct user_cache_news *news,
                     usec_t now, struct user_cache_waits *told);

/* Forgets; NULL: whatever it is. What is being asked is not kept. */
void user_cache_flush(struct user_cache *cache, const char *database, const char *name);

struct user_cache_counts {
    unsigned users, nobodies, flights;
    uint64_t hits, questions, refused, stale;
};
void user_cache_counts(struct user_cache *cache, struct user_cache_counts *counts);

/* How most users look whose secret is a verifier (THREATS §2.7); false: none has been seen. */
struct user_cache_shape {
    uint32_t iterations;
    size_t salt_size;
};
bool user_cache_shape(struct user_cache *cache, struct user_cache_shape *shape);
