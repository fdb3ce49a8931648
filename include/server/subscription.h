/* subscription: LISTEN for clients that have no server of their own.
 *
 * One connection a pool listens to all channels that clients of the pool listen to. It is the only
 * server of a pool beside theirs (registry_listen_pool), so that the limits count it, and lives on
 * one worker, its home; src/server/listening.c. Each worker has a board of the channels that its
 * own clients want, and hears of each notification once, whatever their number. What the two say
 * to each other are messages between loops, in order.
 *
 * A subscription is one client's, embedded in what the client has for it. All on its worker.
 */
#pragma once
#include "ledger/notifications.h"
#include "server/server_set.h"

struct subscription;
struct subscription_board;

struct subscription_events {
    /* It came. Nothing is to be closed in the call: others are still to hear of it. */
    void (*notified)(struct subscription *subscription, struct notification *notification);
    /* The connection was lost and listens again: some may be missing. As above. */
    void (*missed)(struct subscription *subscription);
    /* What was asked for holds (`why` NULL), and all notifications of transactions that had
     * committed when it was asked have come. Or it could not be done, and why. */
    void (*synced)(struct subscription *subscription, const struct error *why);
};

struct subscription_place;
TAILQ_HEAD(subscription_places, subscription_place);

struct subscription {
    struct subscription_board *board; /* NULL: not open */
    const struct subscription_events *events;
    TAILQ_ENTRY(subscription) link, awaiting_link;
    struct subscription_places places; /* its channels */
    int count;
    uint64_t ticket; /* what it awaits; 0: nothing */
};

/* `pool` is one of registry_listen_pool; the board takes a reference. False: no memory. */
bool subscription_open(struct subscription *subscription, struct server_set *set, struct pool *pool,
                       const struct subscription_events *events);
void subscription_close(struct subscription *subscription); /* idempotent */
static inline bool subscription_is_open(const struct subscription *subscription)
{
    return subscription->board != NULL;
}

/* It has these channels from now on, and no others: zero-terminated names one behind the other. */
enum subscription_change { SUBSCRIPTION_SAME, SUBSCRIPTION_GREW, SUBSCRIPTION_NO_MEMORY };
enum subscription_change subscription_set(struct subscription *subscription, struct span names);
bool subscription_has(const struct subscription *subscription, const char *channel);
/* Calls back for each channel. */
void subscription_each(const struct subscription *subscription,
                       void (*call)(const char *channel, void *argument), void *argument);
/* `synced` is called later, within server_connect_timeout (15 s if that is off). Impatient: at once
 * where the connection is not there. False: no memory. */
bool subscription_sync(struct subscription *subscription, bool is_patient);

/* src/server/listening.c, for the set. */
void listening_finish_all(struct server_set *set);
/* The expired function of the set's listening_deadlines. */
void listening_expired(struct deadline *deadline, struct deadline_list *list);
