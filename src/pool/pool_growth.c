#include <assert.h>

#include "base/clock.h"
#include "pool_private.h"

/* How a pool grows. A place is taken in two steps, for the mutex of limits is never held with the
 * pool's: may_open() under the pool's, a reservation in limits, may_open() again. What is reserved
 * and then not needed goes to the oldest pool that waits for it, until one opens. */

/* ---- may a connection be opened? Under the mutex ---- */

static void give_advice(struct pool_advice *advice, enum pool_order order, int worker,
                        struct pool *pool)
{
    advice->order = order;
    advice->worker = worker;
    advice->pool = pool_acquire_reference(pool);
}

void pool_publish_size(struct pool *pool)
{
    atomic_store(&pool->published_size, pool->size + atomic_load(&pool->wished));
}

static void change_size(struct pool *pool, int difference)
{
    pool->size += difference;
    assert(pool->size >= 0);
    pool_publish_size(pool);
}

static bool is_in_pause(const struct pool *pool, const struct pool_need *need)
{
    if (pool->retry_at == 0 || need->now >= pool->retry_at)
        return false;
    if (need->is_arrival && pool->failure == POOL_FAILURE_PASSING && pool->opening == 0)
        return need->now - pool->failed_at < POOL_RETRY_FIRST;
    return true;
}

static uint64_t workers_being_told(const struct pool *pool, usec_t now)
{
    return now < pool->telling_until ? pool->telling : 0;
}

/* One login at a time, until logins are known to succeed. */
static int opening_max(const struct pool *pool, int waiting)
{
    if (!pool->had_success || pool->failure != POOL_FAILURE_NONE)
        return 1;
    return waiting < POOL_OPENING_MAX ? waiting : POOL_OPENING_MAX;
}

static bool somebody_waits(struct pool *pool, const struct pool_need *need)
{
    return atomic_load(&pool->waiting) > need->served + pool->checking &&
           !atomic_load(&pool->is_paused) && !atomic_load(&pool->is_draining);
}

/* The oldest wait; what a shard publishes may be of a moment ago. */
static int64_t oldest_wait(struct pool *pool)
{
    uint64_t left = atomic_load(&pool->homes);
    int64_t oldest = INT64_MAX;

    for (; left != 0; left &= left - 1) {
        const struct pool_shard *shard = &pool->shards[__builtin_ctzll(left)];
        int64_t since = atomic_load_explicit(&shard->oldest_waiter, memory_order_relaxed);

        if (since != 0 && since < oldest)
            oldest = since;
    }
    return oldest;
}

/* The reserve is for those who have waited for long. */
static bool is_full(struct pool *pool, const struct pool_need *need)
{
    int limit = atomic_load(&pool->published_limit);
    int reserve = atomic_load(&pool->published_reserve);
    int size = pool->size + atomic_load(&pool->wished);

    if (size < limit)
        return false;
    if (reserve == 0 || size - reserve >= limit)
        return true;
    return need->now - oldest_wait(pool) < atomic_load(&pool->reserve_timeout);
}

static int client_count(const struct pool *pool)
{
    int count = 0;

    for (int worker = 0; worker < pool->worker_count; worker++)
        count += atomic_load_explicit(&pool->shards[worker].clients, memory_order_relaxed);
    return count;
}

/* One at a time, and where somebody waits his own need comes first. */
static bool may_fill(struct pool *pool, const struct pool_need *need)
{
    int size = pool->size + atomic_load(&pool->wished);

    return size - pool->dedicated < atomic_load(&pool->published_minimum) &&
           size < atomic_load(&pool->published_limit) && pool->opening == 0 &&
           !is_in_pause(pool, need) && !atomic_load(&pool->is_paused) &&
           !atomic_load(&pool->is_draining) &&
           (atomic_load(&pool->keeps_minimum) || client_count(pool) > 0);
}

static bool may_open(struct pool *pool, const struct pool_need *need)
{
    if (need->is_filling)
        return may_fill(pool, need);
    uint64_t told = workers_being_told(pool, need->now);
    int waiting = atomic_load(&pool->waiting) - need->served - pool->checking;

    if (!somebody_waits(pool, need) || is_full(pool, need))
        return false;
    if (pool->opening >= opening_max(pool, waiting) || is_in_pause(pool, need))
        return false;
    return told == 0 || waiters_oldest_remote(&pool->remote, told) != NULL;
}

bool pool_refuses(const struct pool *pool, usec_t now, struct error *error)
{
    if (pool->failure != POOL_FAILURE_REFUSED || now >= pool->retry_at ||
        pool->size - pool->dedicated > pool->opening)
        return false;
    error_set(error, pool->failure_error.sqlstate,
              "server login has been failing, cached error: %.440s (server_login_retry)",
              pool->failure_error.message);
    return true;
}

/* ---- where? Under the mutex ---- */

/* A worker with an idle member; the count may be of a moment ago. */
static int find_idle(struct pool *pool)
{
    uint64_t left = atomic_load(&pool->homes);

    for (; left != 0; left &= left - 1) {
        int worker = __builtin_ctzll(left);

        if (atomic_load(&pool->shards[worker].idle_count) > 0)
            return worker;
    }
    return -1;
}

/* A worker whose waiters the pool's list lacks, though the pool is not that worker's alone: they
 * began to wait before a second worker joined. Only that worker can register them (pool_give). */
static int find_unregistered(struct pool *pool)
{
    uint64_t left = atomic_load(&pool->homes);

    if ((left & (left - 1)) == 0)
        return -1;
    for (; left != 0; left &= left - 1) {
        int worker = __builtin_ctzll(left);

        if (atomic_load_explicit(&pool->shards[worker].local_only, memory_order_relaxed) > 0)
            return worker;
    }
    return -1;
}

/* Those that nobody waits for are spread over the workers on which clients are put. */
static int nth_home(uint64_t homes, int number)
{
    for (int i = number % __builtin_popcountll(homes); i > 0; i--)
        homes &= homes - 1;
    return __builtin_ctzll(homes);
}

static int where_to_open(struct pool *pool, const struct pool_need *need)
{
    struct pool_waiter *oldest;
    uint64_t homes = atomic_load(&pool->homes);

    if (need->worker >= 0)
        return need->worker;
    oldest = waiters_oldest_remote(&pool->remote, workers_being_told(pool, need->now));
    if (oldest != NULL)
        return oldest->worker;
    return __builtin_ctzll(homes); /* nobody is registered: one home has them all */
}

/* ---- taking a place ---- */

/* With a reservation in limits: makes it a member to be opened. False: it is not needed now. */
static bool take_place(struct pool *pool, const struct pool_need *need, struct pool_advice *advice)
{
    bool may;

    (void)pthread_mutex_lock(&pool->mutex);
    if (pool_wishes_may_open(pool, need->now)) {
        may = true;
        give_advice(advice, POOL_DEDICATE, pool_wishes_promise(pool), pool);
    } else if ((may = may_open(pool, need))) {
        change_size(pool, 1);
        pool->opening++;
        give_advice(advice, POOL_OPEN, where_to_open(pool, need), pool);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return may;
}

void pool_pass_slot_on(struct pool *from, usec_t now, struct pool_advice *advice)
{
    const struct pool_need need = {.now = now, .worker = -1};
    struct pool *next = limits_release(from->limits, from);

    while (next != NULL) {
        bool is_taken = take_place(next, &need, advice);
        struct pool *after = is_taken ? NULL : limits_release(next->limits, next);

        pool_release_reference(next);
        next = after;
    }
}

/* For a wish, which has no use for it. */
static void evict_own(struct pool *pool, struct pool_advice *advice)
{
    int worker = find_idle(pool);

    if (worker >= 0)
        give_advice(advice, POOL_EVICT, worker, pool);
}

static void open_one(struct pool *pool, const struct pool_need *need, struct pool_advice *advice)
{
    struct pool *victim = NULL;
    int victim_worker = -1;

    switch (limits_reserve(pool->limits, pool, &victim, &victim_worker)) {
    case LIMITS_RESERVED:
        if (!take_place(pool, need, advice))
            pool_pass_slot_on(pool, need->now, advice);
        break;
    case LIMITS_BLOCKED:
        if (victim != NULL)
            *advice = (struct pool_advice){POOL_EVICT, victim_worker, victim};
        else if (atomic_load(&pool->wished) > 0)
            evict_own(pool, advice);
        break;
    case LIMITS_NO_MEMORY:
        break; /* upkeep asks again */
    }
}

void pool_advise(struct pool *pool, const struct pool_need *need, struct pool_advice *advice)
{
    bool asks = need->asks_again || !atomic_load(&pool->is_blocked);
    bool may = asks && pool_wishes_may_open(pool, need->now);

    advice->order = POOL_NOTHING;
    if (pool_wishes_need_room(pool))
        evict_own(pool, advice);
    if (!may && advice->order == POOL_NOTHING && somebody_waits(pool, need)) {
        int worker = find_unregistered(pool);

        if (worker < 0)
            worker = find_idle(pool);
        if (worker >= 0)
            give_advice(advice, POOL_ASK, worker, pool);
        else if (asks)
            may = may_open(pool, need);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    if (may)
        open_one(pool, need, advice);
}

void pool_fill(struct pool *pool, usec_t now, struct pool_advice *advice)
{
    struct pool_need need = {.now = now, .is_filling = true};
    struct pool *victim = NULL;
    int victim_worker = -1;
    bool may;

    advice->order = POOL_NOTHING;
    (void)pthread_mutex_lock(&pool->mutex);
    may = may_open(pool, &need) && !atomic_load(&pool->is_blocked);
    need.worker = nth_home(atomic_load(&pool->placement), pool->size);
    (void)pthread_mutex_unlock(&pool->mutex);
    if (!may)
        return;
    switch (limits_reserve(pool->limits, pool, &victim, &victim_worker)) {
    case LIMITS_RESERVED:
        if (!take_place(pool, &need, advice))
            pool_pass_slot_on(pool, now, advice);
        break;
    case LIMITS_BLOCKED: /* nobody waits: nothing is evicted for it */
        if (victim != NULL)
            pool_release_reference(victim);
        limits_forget(pool->limits, pool);
        break;
    case LIMITS_NO_MEMORY:
        break;
    }
}

void pool_reconsider(struct pool *pool, usec_t now, struct pool_advice *advice)
{
    const struct pool_need need = {.now = now, .worker = -1, .asks_again = true};

    (void)pthread_mutex_lock(&pool->mutex);
    pool_advise(pool, &need, advice);
    if (atomic_load(&pool->waiting) == 0 && atomic_load(&pool->wished) == 0 &&
        atomic_load(&pool->is_blocked))
        limits_forget(pool->limits, pool);
}

/* ---- what became of a connection ---- */

void pool_member_init(struct pool *pool, struct pool_member *member, int worker, usec_t now)
{
    *member = (struct pool_member){
        .pool = pool_acquire_reference(pool),
        .state = MEMBER_OPENING,
        .worker = worker,
        .opened_at = now,
    };
    (void)pthread_mutex_lock(&pool->mutex);
    member->epoch = atomic_load(&pool->epoch);
    pool->current++;
    (void)pthread_mutex_unlock(&pool->mutex);
}

static void end_pause(struct pool *pool)
{
    pool->failure = POOL_FAILURE_NONE;
    pool->retry_at = 0;
    pool->retry_delay = 0;
}

/* Under the mutex. */
static void note_success(struct pool *pool, struct pool_welcome **welcome)
{
    pool->had_success = true;
    end_pause(pool);
    pool->telling = 0;
    if (pool->welcome == NULL) {
        pool->welcome = *welcome;
        *welcome = NULL;
    }
}

void pool_member_opened(struct pool *pool, struct pool_member *member, struct pool_welcome *welcome,
                        struct pool_advice *advice)
{
    /* The member itself goes to one of those who wait. */
    const struct pool_need need = {.now = clock_monotonic(), .worker = -1, .served = 1};

    (void)pthread_mutex_lock(&pool->mutex);
    assert(member->state == MEMBER_OPENING);
    member->state = MEMBER_LENT;
    pool->opening--;
    if (pool_member_is_current(member))
        note_success(pool, &welcome);
    pool_advise(pool, &need, advice);
    pool_welcome_release(welcome);
}

/* Twice as long as before, within what is sensible while clients wait. Attempts that were made side
 * by side fail together, and count once. */
static usec_t next_delay(const struct pool *pool, usec_t now, usec_t login_retry)
{
    usec_t longest = login_retry > 0 && login_retry < POOL_RETRY_MAX ? login_retry : POOL_RETRY_MAX;
    usec_t delay = POOL_RETRY_FIRST;

    if (pool->failure == POOL_FAILURE_PASSING)
        delay =
            now - pool->failed_at < POOL_RETRY_FIRST ? pool->retry_delay : 2 * pool->retry_delay;
    return delay < longest ? delay : longest;
}

static void pause_attempts(struct pool *pool, enum pool_failure failure, const struct error *error,
                           usec_t now, usec_t delay)
{
    pool->failure = failure;
    pool->failure_error = *error;
    pool->failed_at = now;
    pool->retry_delay = delay;
    pool->retry_at = now + delay;
}

bool pool_open_failed(struct pool *pool, enum pool_failure failure, const struct error *error,
                      usec_t now, usec_t login_retry)
{
    bool shall_be_told = false;

    (void)pthread_mutex_lock(&pool->mutex);
    switch (failure) {
    case POOL_FAILURE_NONE:
        break;
    case POOL_FAILURE_PASSING:
        pause_attempts(pool, failure, error, now, next_delay(pool, now, login_retry));
        break;
    case POOL_FAILURE_REFUSED:
        pause_attempts(pool, failure, error, now, login_retry);
        shall_be_told = pool->size - pool->dedicated <= pool->opening;
        break;
    case POOL_FAILURE_LOGIN:
        /* The server answers: whatever failed before is over. */
        end_pause(pool);
        shall_be_told = true;
        break;
    }
    if (shall_be_told) {
        pool->telling = atomic_load(&pool->homes);
        pool->telling_until = now + POOL_TELLING_MAX;
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return shall_be_told;
}

void pool_order_abandoned(struct pool *pool, enum pool_order order, struct pool_advice *advice)
{
    advice->order = POOL_NOTHING;
    if (order == POOL_OPEN)
        pool_open_abandoned(pool, advice);
    else if (order == POOL_DEDICATE)
        pool_dedicated_abandoned(pool, advice);
}

void pool_open_abandoned(struct pool *pool, struct pool_advice *advice)
{
    advice->order = POOL_NOTHING;
    (void)pthread_mutex_lock(&pool->mutex);
    change_size(pool, -1);
    pool->opening--;
    (void)pthread_mutex_unlock(&pool->mutex);
    /* Not for this pool: what was short is short still. Upkeep asks again. */
    pool_pass_slot_on(pool, clock_monotonic(), advice);
}

/* The slot went to another pool: this one stands in line behind it, if it needs one. */
static void stand_in_line(struct pool *pool, const struct pool_need *need)
{
    bool may;

    (void)pthread_mutex_lock(&pool->mutex);
    may = may_open(pool, need) || pool_wishes_may_open(pool, need->now);
    (void)pthread_mutex_unlock(&pool->mutex);
    if (may)
        (void)limits_stand_in_line(pool->limits, pool);
}

void pool_member_closed(struct pool *pool, struct pool_member *member, usec_t now,
                        struct pool_advice *advice)
{
    const struct pool_need need = {.now = now, .worker = -1};

    advice->order = POOL_NOTHING;
    pool_unlist(pool, member);
    (void)pthread_mutex_lock(&pool->mutex);
    change_size(pool, -1);
    if (member->state == MEMBER_OPENING)
        pool->opening--;
    if (member->is_surplus)
        pool->surplus--;
    if (member->is_dedicated)
        pool->dedicated--;
    if (member->is_checked)
        pool->checking--;
    if (pool_member_is_current(member))
        pool->current--;
    pool->last_active = now;
    (void)pthread_mutex_unlock(&pool->mutex);

    pool_pass_slot_on(pool, now, advice);
    if (advice->order == POOL_NOTHING) {
        (void)pthread_mutex_lock(&pool->mutex);
        pool_advise(pool, &need, advice);
    } else if (advice->pool != pool) {
        stand_in_line(pool, &need);
    }
    member->pool = NULL;
    pool_release_reference(pool);
}

void pool_check_begin(struct pool *pool, struct pool_member *member)
{
    (void)pthread_mutex_lock(&pool->mutex);
    pool->checking++;
    member->is_checked = true;
    (void)pthread_mutex_unlock(&pool->mutex);
}

void pool_check_end(struct pool *pool, struct pool_member *member)
{
    (void)pthread_mutex_lock(&pool->mutex);
    pool->checking--;
    member->is_checked = false;
    (void)pthread_mutex_unlock(&pool->mutex);
}

bool pool_claim_surplus(struct pool *pool, struct pool_member *member)
{
    (void)pthread_mutex_lock(&pool->mutex);
    int limit = atomic_load(&pool->published_limit);
    int wished = atomic_load(&pool->wished), size = pool->size - pool->surplus;
    if (size - atomic_load(&pool->published_reserve) > limit ||
        (wished > 0 && size + wished > limit)) {
        pool->surplus++;
        member->is_surplus = true;
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return member->is_surplus;
}
