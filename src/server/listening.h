/* What a board and the connection that listens for it say to each other: messages between loops. */
#pragma once
#include "server/subscription.h"

/* From a board to the home of its pool's connection. */
enum listening_order_kind {
    LISTENING_WANT,   /* somebody on that worker listens to the channel */
    LISTENING_UNWANT, /* nobody does any more */
    LISTENING_SYNC,   /* tell when all of that holds */
};
struct listening_order {
    struct mail mail;
    struct server_set *home;
    struct pool *pool; /* a reference */
    enum listening_order_kind kind;
    int worker;
    uint64_t ticket; /* of a SYNC */
    bool is_patient;
    char channel[];
};
/* Delivers it there. Frees it. */
void listening_obey(struct mail *mail, struct loop *loop);

/* From there to a board. */
enum listening_news_kind {
    LISTENING_NOTIFIED,
    LISTENING_SYNCED,
    LISTENING_MISSED,
};
struct listening_news {
    struct mail mail;
    struct server_set *set; /* the board's */
    struct pool *pool;      /* a reference */
    enum listening_news_kind kind;
    struct notification *notification; /* a reference */
    uint64_t ticket;
    struct error *why; /* owned; NULL: it holds */
};
/* Delivers it on its worker. Frees it. */
void subscription_hear(struct mail *mail, struct loop *loop);
void listening_news_free(struct listening_news *news);

static inline int listening_home(const struct server_set *set, const struct pool *pool)
{
    return pool->number % set->worker_count;
}
