#include "client/moat.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "base/digest.h"
#include "base/memory.h"
#include "net/loop.h"
#include "pool/pool.h"

#define SETS          2048 /* of the table of prefixes */
#define WAYS          8
#define RANKS         1024 /* prefixes with as many guests or more share the last one */
#define LOOKED_AT_MAX 64   /* prefixes whose guests are all protected, before the search ends */

TAILQ_HEAD(guest_list, moat_guest);
TAILQ_HEAD(prefix_list, moat_prefix);

enum guest_state {
    GUEST_SILENT,  /* in its prefix's list, and in that of all silent ones */
    GUEST_HEARD,   /* in its prefix's list, by the time of its last progress */
    GUEST_DROPPED, /* in the list of its worker's, or found there already */
    GUEST_INSIDE,  /* logged in */
};

struct moat_guest {
    TAILQ_ENTRY(moat_guest) link, silent_link, handshake_link;
    struct moat_prefix *prefix;
    void *owner;
    usec_t progress, handshake_start;
    enum guest_state state;
    int worker;
    bool is_listed; /* dropped, and not found yet */
    bool is_shaking;
};

struct moat_prefix {
    uint64_t bits;
    sa_family_t family; /* AF_UNSPEC: an entry that was never used */
    uint32_t waiting;   /* guests that are not logged in */
    uint32_t count;     /* all guests */
    usec_t rate_mark;   /* until when what came so far has used up the rate */
    usec_t miss_mark;   /* the same, of missed cancels */
    struct guest_list silent, heard;
    TAILQ_ENTRY(moat_prefix) link; /* in ranks[waiting], unless that is 0 */
};

struct moat {
    pthread_mutex_t mutex; /* guards all of it */
    int places;            /* login_clients, as it was last given */
    int waiting, dropped_count, handshake_count;
    uint32_t highest; /* no rank above has a prefix */
    uint64_t counts[MOAT_VERDICTS];
    usec_t miss_mark;
    uint64_t cancels_missed, cancels_dropped;
    struct guest_list silent, handshakes; /* oldest first */
    struct guest_list dropped[WORKERS_MAX];
    struct prefix_list ranks[RANKS];
    /* Of addresses that find no entry because eight others are in use; without limits. */
    struct moat_prefix others;
    struct moat_prefix table[SETS][WAYS];
};

static void init_prefix(struct moat_prefix *prefix)
{
    TAILQ_INIT(&prefix->silent);
    TAILQ_INIT(&prefix->heard);
}

struct moat *moat_create(void)
{
    struct moat *moat = memory_zalloc(sizeof(*moat));

    if (moat == NULL)
        return NULL;
    (void)pthread_mutex_init(&moat->mutex, NULL);
    TAILQ_INIT(&moat->silent);
    TAILQ_INIT(&moat->handshakes);
    for (int i = 0; i < WORKERS_MAX; i++)
        TAILQ_INIT(&moat->dropped[i]);
    for (int i = 0; i < RANKS; i++)
        TAILQ_INIT(&moat->ranks[i]);
    init_prefix(&moat->others);
    return moat;
}

void moat_destroy(struct moat *moat)
{
    if (moat == NULL)
        return;
    (void)pthread_mutex_destroy(&moat->mutex);
    memory_free(moat);
}

/* ---- rates: `mark` is until when what came so far has used them up ---- */

/* A second's worth may come at once. */
static bool has_turn_left(usec_t mark, int rate, usec_t now)
{
    return mark - now <= USEC_PER_SEC - USEC_PER_SEC / rate;
}

static void use_turn(usec_t *mark, int rate, usec_t now)
{
    *mark = (*mark > now ? *mark : now) + USEC_PER_SEC / rate;
}

/* ---- prefixes. All of this is under the mutex ---- */

static uint64_t bits_of(const struct address *address)
{
    uint64_t bits = 0;

    if (address->u.any.sa_family == AF_INET)
        memcpy(&bits, &address->u.v4.sin_addr, sizeof(address->u.v4.sin_addr));
    else if (address->u.any.sa_family == AF_INET6)
        memcpy(&bits, &address->u.v6.sin6_addr, sizeof(bits));
    return bits;
}

static usec_t last_mark(const struct moat_prefix *entry)
{
    return entry->rate_mark > entry->miss_mark ? entry->rate_mark : entry->miss_mark;
}

/* Of two entries without guests, the one that is the lesser loss: whose rates are long unused. */
static bool is_better_victim(const struct moat_prefix *entry, const struct moat_prefix *than)
{
    return entry->count == 0 && (than == NULL || last_mark(entry) < last_mark(than));
}

static struct moat_prefix *find_origin(struct moat *moat, const struct moat_origin *origin)
{
    struct {
        uint64_t bits, family;
    } key = {origin->bits, origin->family};
    struct moat_prefix *set = moat->table[digest64(&key, sizeof(key)) % SETS];
    struct moat_prefix *unused = NULL;

    for (int i = 0; i < WAYS; i++) {
        if (set[i].bits == key.bits && set[i].family == key.family)
            return &set[i];
        if (is_better_victim(&set[i], unused))
            unused = &set[i];
    }
    if (unused == NULL)
        return &moat->others;
    *unused = (struct moat_prefix){.bits = origin->bits, .family = origin->family};
    init_prefix(unused);
    return unused;
}

static struct moat_prefix *find_prefix(struct moat *moat, const struct address *address)
{
    const struct moat_origin origin = {bits_of(address), address->u.any.sa_family};

    return find_origin(moat, &origin);
}

static uint32_t rank_of(const struct moat_prefix *prefix)
{
    return prefix->waiting < RANKS ? prefix->waiting : RANKS - 1;
}

static void set_waiting(struct moat *moat, struct moat_prefix *prefix, uint32_t waiting)
{
    if (prefix->waiting > 0)
        TAILQ_REMOVE(&moat->ranks[rank_of(prefix)], prefix, link);
    prefix->waiting = waiting;
    if (waiting > 0)
        TAILQ_INSERT_TAIL(&moat->ranks[rank_of(prefix)], prefix, link);
    if (rank_of(prefix) > moat->highest)
        moat->highest = rank_of(prefix);
    while (moat->highest > 0 && TAILQ_EMPTY(&moat->ranks[moat->highest]))
        moat->highest--;
}

static enum moat_verdict check_prefix(struct moat *moat, struct moat_prefix *prefix,
                                      const struct moat_limits *limits, usec_t now)
{
    if (prefix == &moat->others || prefix->family == AF_UNIX)
        return MOAT_IN;
    if (limits->connections_per_prefix > 0 &&
        prefix->count >= (uint32_t)limits->connections_per_prefix)
        return MOAT_TOO_MANY;
    if (limits->logins_per_prefix <= 0)
        return MOAT_IN;
    if (!has_turn_left(prefix->rate_mark, limits->logins_per_prefix, now))
        return MOAT_TOO_OFTEN;
    use_turn(&prefix->rate_mark, limits->logins_per_prefix, now);
    return MOAT_IN;
}

/* ---- guests. Under the mutex, too ---- */

static bool is_waiting(const struct moat_guest *guest)
{
    return guest->state == GUEST_SILENT || guest->state == GUEST_HEARD;
}

static void put_in_list(struct moat *moat, struct moat_guest *guest)
{
    if (guest->state == GUEST_SILENT) {
        TAILQ_INSERT_TAIL(&guest->prefix->silent, guest, link);
        TAILQ_INSERT_TAIL(&moat->silent, guest, silent_link);
    } else {
        TAILQ_INSERT_TAIL(&guest->prefix->heard, guest, link);
    }
}

static void take_from_list(struct moat *moat, struct moat_guest *guest)
{
    if (guest->state == GUEST_SILENT) {
        TAILQ_REMOVE(&guest->prefix->silent, guest, link);
        TAILQ_REMOVE(&moat->silent, guest, silent_link);
    } else {
        TAILQ_REMOVE(&guest->prefix->heard, guest, link);
    }
}

static void begin_waiting(struct moat *moat, struct moat_guest *guest)
{
    put_in_list(moat, guest);
    moat->waiting++;
    set_waiting(moat, guest->prefix, guest->prefix->waiting + 1);
}

static void end_handshake(struct moat *moat, struct moat_guest *guest)
{
    if (!guest->is_shaking)
        return;
    guest->is_shaking = false;
    TAILQ_REMOVE(&moat->handshakes, guest, handshake_link);
    moat->handshake_count--;
}

static void end_waiting(struct moat *moat, struct moat_guest *guest, enum guest_state next)
{
    end_handshake(moat, guest);
    take_from_list(moat, guest);
    moat->waiting--;
    set_waiting(moat, guest->prefix, guest->prefix->waiting - 1);
    guest->state = next;
}

static void unlist(struct moat *moat, struct moat_guest *guest)
{
    if (!guest->is_listed)
        return;
    TAILQ_REMOVE(&moat->dropped[guest->worker], guest, link);
    guest->is_listed = false;
    moat->dropped_count--;
}

static void drop(struct moat *moat, struct moat_guest *guest)
{
    end_waiting(moat, guest, GUEST_DROPPED);
    guest->is_listed = true;
    TAILQ_INSERT_TAIL(&moat->dropped[guest->worker], guest, link);
    moat->dropped_count++;
}

static struct moat_guest *victim_of(const struct moat_prefix *prefix, usec_t now)
{
    struct moat_guest *oldest = TAILQ_FIRST(&prefix->silent);

    if (oldest != NULL)
        return oldest;
    oldest = TAILQ_FIRST(&prefix->heard);
    return oldest != NULL && oldest->progress + MOAT_GRACE <= now ? oldest : NULL;
}

static struct moat_guest *find_victim(const struct moat *moat, usec_t now)
{
    const struct moat_prefix *prefix;
    int looked_at = 0;

    for (uint32_t rank = moat->highest; rank > 0; rank--)
        TAILQ_FOREACH (prefix, &moat->ranks[rank], link) {
            struct moat_guest *victim = victim_of(prefix, now);
            if (victim != NULL)
                return victim;
            if (++looked_at == LOOKED_AT_MAX)
                return TAILQ_FIRST(&moat->silent);
        }
    return NULL;
}

/* ---- the doors ---- */

static struct moat_answer refusal(enum moat_verdict why)
{
    return (struct moat_answer){.verdict = why};
}

/* Under the mutex. */
static struct moat_answer enter(struct moat *moat, const struct address *address, int worker,
                                const struct moat_limits *limits, usec_t now)
{
    struct moat_answer answer = refusal(MOAT_IN);
    struct moat_prefix *prefix = find_prefix(moat, address);
    enum moat_verdict verdict = check_prefix(moat, prefix, limits, now);

    moat->places = limits->login_clients;
    if (verdict != MOAT_IN)
        return refusal(verdict);
    for (int i = 0; i < 2 && moat->waiting >= limits->login_clients; i++) {
        struct moat_guest *victim =
            moat->dropped_count < MOAT_DROPPED_MAX ? find_victim(moat, now) : NULL;
        if (victim == NULL && i == 0)
            return refusal(MOAT_FULL);
        if (victim == NULL)
            break;
        drop(moat, victim);
        answer.verdict = MOAT_REPLACES;
        answer.told_workers |= UINT64_C(1) << victim->worker;
    }
    struct moat_guest *guest = memory_zalloc(sizeof(*guest));
    if (guest == NULL) { /* the place stays free; who lost it is told all the same */
        answer.verdict = MOAT_NO_MEMORY;
        return answer;
    }
    *guest = (struct moat_guest){.prefix = prefix, .worker = worker, .progress = now};
    prefix->count++;
    begin_waiting(moat, guest);
    answer.guest = guest;
    return answer;
}

struct moat_answer moat_enter(struct moat *moat, const struct address *address, int worker,
                              const struct moat_limits *limits, usec_t now)
{
    (void)pthread_mutex_lock(&moat->mutex);
    struct moat_answer answer = enter(moat, address, worker, limits, now);
    moat->counts[answer.verdict]++;
    (void)pthread_mutex_unlock(&moat->mutex);
    return answer;
}

enum moat_verdict moat_move(struct moat *moat, struct moat_guest *guest,
                            const struct address *address, const struct moat_limits *limits,
                            usec_t now)
{
    (void)pthread_mutex_lock(&moat->mutex);
    struct moat_prefix *prefix = find_prefix(moat, address);
    enum moat_verdict verdict = MOAT_IN;
    if (prefix != guest->prefix) {
        verdict = check_prefix(moat, prefix, limits, now);
        bool was_waiting = is_waiting(guest);
        enum guest_state state = guest->state;
        if (was_waiting)
            end_waiting(moat, guest, state);
        guest->prefix->count--;
        guest->prefix = prefix;
        prefix->count++;
        if (was_waiting)
            begin_waiting(moat, guest);
    }
    if (verdict != MOAT_IN)
        moat->counts[verdict]++;
    (void)pthread_mutex_unlock(&moat->mutex);
    return verdict;
}

bool moat_set_owner(struct moat *moat, struct moat_guest *guest, void *owner)
{
    (void)pthread_mutex_lock(&moat->mutex);
    guest->owner = owner;
    bool has_place = guest->state != GUEST_DROPPED;
    (void)pthread_mutex_unlock(&moat->mutex);
    return has_place;
}

void moat_heard(struct moat *moat, struct moat_guest *guest, usec_t now)
{
    (void)pthread_mutex_lock(&moat->mutex);
    if (is_waiting(guest)) {
        take_from_list(moat, guest);
        guest->state = GUEST_HEARD;
        guest->progress = now;
        put_in_list(moat, guest);
    }
    (void)pthread_mutex_unlock(&moat->mutex);
}

bool moat_begin_handshake(struct moat *moat, struct moat_guest *guest, int limit, usec_t now,
                          int *told_worker)
{
    bool may_begin = true;

    *told_worker = -1;
    (void)pthread_mutex_lock(&moat->mutex);
    struct moat_guest *oldest = TAILQ_FIRST(&moat->handshakes);
    if (limit > 0 && moat->handshake_count >= limit) {
        may_begin = oldest->handshake_start + MOAT_GRACE <= now;
        if (may_begin) {
            *told_worker = oldest->worker;
            drop(moat, oldest);
        }
    }
    if (may_begin && is_waiting(guest)) {
        guest->is_shaking = true;
        guest->handshake_start = now;
        TAILQ_INSERT_TAIL(&moat->handshakes, guest, handshake_link);
        moat->handshake_count++;
    }
    (void)pthread_mutex_unlock(&moat->mutex);
    return may_begin;
}

void moat_end_handshake(struct moat *moat, struct moat_guest *guest)
{
    (void)pthread_mutex_lock(&moat->mutex);
    end_handshake(moat, guest);
    (void)pthread_mutex_unlock(&moat->mutex);
}

void moat_logged_in(struct moat *moat, struct moat_guest *guest)
{
    (void)pthread_mutex_lock(&moat->mutex);
    unlist(moat, guest);
    if (is_waiting(guest))
        end_waiting(moat, guest, GUEST_INSIDE);
    guest->state = GUEST_INSIDE;
    (void)pthread_mutex_unlock(&moat->mutex);
}

void moat_leave(struct moat *moat, struct moat_guest *guest)
{
    if (guest == NULL)
        return;
    (void)pthread_mutex_lock(&moat->mutex);
    unlist(moat, guest);
    if (is_waiting(guest))
        end_waiting(moat, guest, GUEST_DROPPED);
    guest->prefix->count--;
    (void)pthread_mutex_unlock(&moat->mutex);
    memory_free(guest);
}

bool moat_readmit(struct moat *moat, struct moat_guest *guest, usec_t now)
{
    (void)pthread_mutex_lock(&moat->mutex);
    unlist(moat, guest);
    bool has_room = moat->waiting < 2 * moat->places;
    if (has_room && guest->state == GUEST_DROPPED) {
        guest->state = GUEST_HEARD;
        guest->progress = now;
        begin_waiting(moat, guest);
    }
    (void)pthread_mutex_unlock(&moat->mutex);
    return has_room;
}

void *moat_next_dropped(struct moat *moat, int worker)
{
    void *owner = NULL;

    (void)pthread_mutex_lock(&moat->mutex);
    struct moat_guest *guest;
    /* One without an owner is in the mail to this worker: moat_set_owner will tell it. */
    while (owner == NULL && (guest = TAILQ_FIRST(&moat->dropped[worker])) != NULL) {
        unlist(moat, guest);
        owner = guest->owner;
    }
    (void)pthread_mutex_unlock(&moat->mutex);
    return owner;
}

bool moat_is_behind(struct moat *moat)
{
    (void)pthread_mutex_lock(&moat->mutex);
    bool is_behind = moat->dropped_count > MOAT_DROPPED_MAX / 2;
    (void)pthread_mutex_unlock(&moat->mutex);
    return is_behind;
}

void moat_counts(struct moat *moat, uint64_t counts[MOAT_VERDICTS])
{
    (void)pthread_mutex_lock(&moat->mutex);
    memcpy(counts, moat->counts, sizeof(moat->counts));
    (void)pthread_mutex_unlock(&moat->mutex);
}

/* ---- cancels ---- */

static bool has_limit(const struct moat_origin *origin)
{
    return origin->family == AF_INET || origin->family == AF_INET6;
}

bool moat_may_cancel(struct moat *moat, const struct moat_guest *guest, usec_t now,
                     struct moat_origin *origin)
{
    (void)pthread_mutex_lock(&moat->mutex);
    const struct moat_prefix *prefix = guest->prefix;
    *origin = (struct moat_origin){prefix->bits, prefix->family};
    bool may = origin->family == AF_UNIX || has_turn_left(moat->miss_mark, MOAT_MISSES, now);
    if (has_limit(origin) && !has_turn_left(prefix->miss_mark, MOAT_MISSES_PER_PREFIX, now))
        may = false;
    if (!may)
        moat->cancels_dropped++;
    (void)pthread_mutex_unlock(&moat->mutex);
    return may;
}

void moat_cancel_missed(struct moat *moat, const struct moat_origin *origin, usec_t now)
{
    (void)pthread_mutex_lock(&moat->mutex);
    moat->cancels_missed++;
    if (has_limit(origin)) {
        struct moat_prefix *prefix = find_origin(moat, origin);
        if (prefix != &moat->others)
            use_turn(&prefix->miss_mark, MOAT_MISSES_PER_PREFIX, now);
    }
    if (origin->family != AF_UNIX)
        use_turn(&moat->miss_mark, MOAT_MISSES, now);
    (void)pthread_mutex_unlock(&moat->mutex);
}

void moat_cancel_counts(struct moat *moat, uint64_t *missed, uint64_t *dropped)
{
    (void)pthread_mutex_lock(&moat->mutex);
    *missed = moat->cancels_missed;
    *dropped = moat->cancels_dropped;
    (void)pthread_mutex_unlock(&moat->mutex);
}
