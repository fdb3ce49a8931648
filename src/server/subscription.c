/* The board of a worker: which of its clients listens to what, and what its home is told of it. */
#include "server/subscription.h"

#include <string.h>

#include "base/memory.h"
#include "base/table.h"
#include "listening.h"

/* A channel that somebody here listens to. */
struct board_channel {
    UT_hash_handle hh; /* of the board, by name */
    struct subscription_places places;
    char name[];
};

/* One client at one channel. */
struct subscription_place {
    TAILQ_ENTRY(subscription_place) link;         /* of the subscription */
    TAILQ_ENTRY(subscription_place) channel_link; /* of the channel */
    struct board_channel *channel;
    struct subscription *subscription;
    bool is_kept;
};

TAILQ_HEAD(subscriptions, subscription);

struct subscription_board {
    TAILQ_ENTRY(subscription_board) link; /* of the set */
    struct server_set *set;
    struct pool *pool; /* a reference */
    struct board_channel *channels;
    struct subscriptions subscriptions, awaiting;
    uint64_t last_ticket;
};

/* -- boards -------------------------------------------------------------------------------------
 */

static struct subscription_board *find_board(const struct server_set *set, const struct pool *pool)
{
    struct subscription_board *board;
    TAILQ_FOREACH (board, &set->boards, link)
        if (board->pool == pool)
            return board;
    return NULL;
}

static struct subscription_board *make_board(struct server_set *set, struct pool *pool)
{
    struct subscription_board *board = memory_zalloc(sizeof(*board));
    if (!board)
        return NULL;
    board->set = set;
    board->pool = pool_acquire_reference(pool);
    TAILQ_INIT(&board->subscriptions);
    TAILQ_INIT(&board->awaiting);
    TAILQ_INSERT_TAIL(&set->boards, board, link);
    return board;
}

static void end_board(struct subscription_board *board)
{
    TAILQ_REMOVE(&board->set->boards, board, link);
    pool_release_reference(board->pool);
    memory_free(board);
}

/* False: no memory. At shutdown nobody listens any more. */
static bool send_order(struct subscription_board *board, const struct listening_order *order,
                       const char *channel)
{
    struct server_set *set = board->set;
    struct listening_order *sent = memory_zalloc(sizeof(*sent) + strlen(channel) + 1);
    if (!sent || set->is_shutting_down) {
        memory_free(sent);
        return set->is_shutting_down;
    }
    memcpy(sent, order, sizeof(*order));
    sent->mail.deliver = listening_obey;
    sent->home = set->siblings[listening_home(set, board->pool)];
    sent->pool = pool_acquire_reference(board->pool);
    sent->worker = set->worker;
    memcpy(sent->channel, channel, strlen(channel) + 1);
    loop_post(sent->home->loop, &sent->mail);
    return true;
}

/* -- channels -----------------------------------------------------------------------------------
 */

static struct board_channel *find_channel(const struct subscription_board *board, const char *name)
{
    struct board_channel *channel = NULL;
    HASH_FIND(hh, board->channels, name, strlen(name), channel);
    return channel;
}

/* The home is told. NULL: no memory. */
static struct board_channel *make_channel(struct subscription_board *board, const char *name)
{
    struct board_channel *channel = memory_zalloc(sizeof(*channel) + strlen(name) + 1);
    if (!channel)
        return NULL;
    memcpy(channel->name, name, strlen(name) + 1);
    TAILQ_INIT(&channel->places);
    HASH_ADD_KEYPTR(hh, board->channels, channel->name, strlen(channel->name), channel);
    if (TABLE_ADDED(channel)) {
        if (send_order(board, &(struct listening_order){.kind = LISTENING_WANT}, name))
            return channel;
        HASH_DEL(board->channels, channel);
    }
    memory_free(channel);
    return NULL;
}

/* Without memory for the message the connection listens on in vain. */
static void drop_channel_if_unused(struct subscription_board *board, struct board_channel *channel)
{
    if (!TAILQ_EMPTY(&channel->places))
        return;
    send_order(board, &(struct listening_order){.kind = LISTENING_UNWANT}, channel->name);
    HASH_DEL(board->channels, channel);
    memory_free(channel);
}

static struct subscription_place *find_place(const struct subscription *subscription,
                                             const struct board_channel *channel)
{
    struct subscription_place *place;
    TAILQ_FOREACH (place, &subscription->places, link)
        if (place->channel == channel)
            return place;
    return NULL;
}

/* NULL: no memory. */
static struct subscription_place *add_place(struct subscription *subscription, const char *name)
{
    struct subscription_board *board = subscription->board;
    struct board_channel *channel = find_channel(board, name);
    struct subscription_place *place = memory_zalloc(sizeof(*place));
    if (place && !channel)
        channel = make_channel(board, name);
    if (!place || !channel) {
        memory_free(place);
        return NULL;
    }
    place->channel = channel;
    place->subscription = subscription;
    TAILQ_INSERT_TAIL(&subscription->places, place, link);
    TAILQ_INSERT_TAIL(&channel->places, place, channel_link);
    subscription->count++;
    return place;
}

static void remove_place(struct subscription_place *place)
{
    struct subscription *subscription = place->subscription;
    TAILQ_REMOVE(&subscription->places, place, link);
    TAILQ_REMOVE(&place->channel->places, place, channel_link);
    subscription->count--;
    drop_channel_if_unused(subscription->board, place->channel);
    memory_free(place);
}

/* -- doors --------------------------------------------------------------------------------------
 */

bool subscription_open(struct subscription *subscription, struct server_set *set, struct pool *pool,
                       const struct subscription_events *events)
{
    struct subscription_board *board = find_board(set, pool);
    if (!board)
        board = make_board(set, pool);
    if (!board)
        return false;
    *subscription = (struct subscription){.board = board, .events = events};
    TAILQ_INIT(&subscription->places);
    TAILQ_INSERT_TAIL(&board->subscriptions, subscription, link);
    return true;
}

static void await_no_more(struct subscription *subscription)
{
    if (subscription->ticket)
        TAILQ_REMOVE(&subscription->board->awaiting, subscription, awaiting_link);
    subscription->ticket = 0;
}

void subscription_close(struct subscription *subscription)
{
    struct subscription_board *board = subscription->board;
    struct subscription_place *place;
    if (!board)
        return;
    await_no_more(subscription);
    while ((place = TAILQ_FIRST(&subscription->places)))
        remove_place(place);
    TAILQ_REMOVE(&board->subscriptions, subscription, link);
    subscription->board = NULL;
    if (TAILQ_EMPTY(&board->subscriptions))
        end_board(board);
}

static void remove_others(struct subscription *subscription)
{
    struct subscription_place *place, *next;
    for (place = TAILQ_FIRST(&subscription->places); place; place = next) {
        next = TAILQ_NEXT(place, link);
        if (!place->is_kept)
            remove_place(place);
    }
}

enum subscription_change subscription_set(struct subscription *subscription, struct span names)
{
    enum subscription_change change = SUBSCRIPTION_SAME;
    struct cursor cursor = cursor_over(names.data, names.size);
    struct subscription_place *place;
    TAILQ_FOREACH (place, &subscription->places, link)
        place->is_kept = false;
    while (cursor_left(&cursor) > 0) {
        const char *name = cursor_string(&cursor);
        struct board_channel *channel = name ? find_channel(subscription->board, name) : NULL;
        place = channel ? find_place(subscription, channel) : NULL;
        if (name && !place) {
            place = add_place(subscription, name);
            change = SUBSCRIPTION_GREW;
        }
        if (!place)
            return SUBSCRIPTION_NO_MEMORY;
        place->is_kept = true;
    }
    remove_others(subscription);
    return change;
}

bool subscription_has(const struct subscription *subscription, const char *channel)
{
    const struct board_channel *found =
        subscription->board ? find_channel(subscription->board, channel) : NULL;
    return found && find_place(subscription, found);
}

void subscription_each(const struct subscription *subscription,
                       void (*call)(const char *channel, void *argument), void *argument)
{
    const struct subscription_place *place;
    if (!subscription->board)
        return;
    TAILQ_FOREACH (place, &subscription->places, link)
        call(place->channel->name, argument);
}

bool subscription_sync(struct subscription *subscription, bool is_patient)
{
    struct subscription_board *board = subscription->board;
    const struct listening_order order = {
        .kind = LISTENING_SYNC, .ticket = board->last_ticket + 1, .is_patient = is_patient};
    if (!send_order(board, &order, ""))
        return false;
    await_no_more(subscription);
    board->last_ticket++;
    subscription->ticket = order.ticket;
    TAILQ_INSERT_TAIL(&board->awaiting, subscription, awaiting_link);
    return true;
}

/* -- news ---------------------------------------------------------------------------------------
 */

static void notified(const struct subscription_board *board, struct notification *notification)
{
    const struct board_channel *channel = find_channel(board, notification_channel(notification));
    const struct subscription_place *place;
    if (!channel)
        return;
    TAILQ_FOREACH (place, &channel->places, channel_link)
        place->subscription->events->notified(place->subscription, notification);
}

static void missed(const struct subscription_board *board)
{
    struct subscription *subscription;
    TAILQ_FOREACH (subscription, &board->subscriptions, link)
        if (subscription->count > 0)
            subscription->events->missed(subscription);
}

/* The board may be gone behind it. */
static void synced(const struct subscription_board *board, uint64_t ticket, const struct error *why)
{
    struct subscription *subscription;
    TAILQ_FOREACH (subscription, &board->awaiting, awaiting_link)
        if (subscription->ticket == ticket)
            break;
    if (!subscription)
        return;
    await_no_more(subscription);
    subscription->events->synced(subscription, why);
}

void listening_news_free(struct listening_news *news)
{
    notification_release(news->notification);
    pool_release_reference(news->pool);
    memory_free(news->why);
    memory_free(news);
}

void subscription_hear(struct mail *mail, struct loop *loop)
{
    struct listening_news *news =
        (struct listening_news *)((char *)mail - offsetof(struct listening_news, mail));
    struct subscription_board *board = find_board(news->set, news->pool);
    (void)loop;
    if (board) {
        switch (news->kind) {
        case LISTENING_NOTIFIED:
            notified(board, news->notification);
            break;
        case LISTENING_MISSED:
            missed(board);
            break;
        case LISTENING_SYNCED:
            synced(board, news->ticket, news->why);
            break;
        }
    }
    listening_news_free(news);
}
