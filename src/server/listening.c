/* The connection that listens for the clients of a pool: at its home, one of the workers.
 *
 * It belongs to no client, and has a server of its pool for as long as some channel is wanted.
 * What it asks goes out as one Query at a time: LISTEN and UNLISTEN of what has changed, or an
 * empty one, for a ReadyForQuery says that all notifications before it have come. A connection that
 * is lost is replaced; behind that everybody is told that something may be missing.
 */
#include "listening.h"

#include <string.h>

#include "base/memory.h"
#include "base/table.h"
#include "server_private.h"
#include "wire/answer.h"
#include "wire/build.h"
#include "wire/message.h"

/* Where server_connect_timeout says none. */
#define SYNC_TIME_MAX (15 * USEC_PER_SEC)
/* After a login that was refused, at least. */
#define RETRY_TIME_MIN USEC_PER_SEC
/* Of one Query; what is left goes with the next. */
#define QUERY_MAX 32768

enum channel_state {
    CHANNEL_OUT,     /* the connection does not listen to it */
    CHANNEL_OPENING, /* LISTEN is under way */
    CHANNEL_IN,
    CHANNEL_ENDING, /* UNLISTEN is under way */
};

struct listening_channel {
    UT_hash_handle hh;
    TAILQ_ENTRY(listening_channel) link; /* of `due` or `asked`, by where */
    struct listening_channels *where;    /* NULL: in neither */
    uint64_t wanted;                     /* bit w: by worker w */
    enum channel_state state;
    char name[];
};
TAILQ_HEAD(listening_channels, listening_channel);

/* A SYNC that is not answered. */
struct listening_ticket {
    TAILQ_ENTRY(listening_ticket) link;
    int worker;
    uint64_t number;
    bool is_patient;
    bool is_asked; /* the answer to what was asked last is the answer to it */
    usec_t until;
};
TAILQ_HEAD(listening_tickets, listening_ticket);

struct listening {
    TAILQ_ENTRY(listening) link; /* of the set */
    struct server_set *set;
    struct pool *pool; /* a reference */
    struct pool_waiter waiter;
    struct server *server; /* while it has one */
    struct deadline deadline;
    struct loop_task task;              /* asks, or looks for a server */
    struct listening_channel *channels; /* by name */
    struct listening_channels due;      /* what is to be asked */
    struct listening_channels asked;
    struct listening_tickets tickets; /* oldest first */
    usec_t retry_at;                  /* no server is looked for before; 0: it may be */
    bool is_asking;                   /* a Query is under way */
    bool has_failed;                  /* and was answered by an error: `why` */
    bool owes_news;                   /* some may be missing: to be told when it listens again */
    bool is_over; /* out of the set; a server that was granted may still be on its way */
    struct error why;
};

static struct listening *of_waiter(struct pool_waiter *waiter)
{
    return (struct listening *)((char *)waiter - offsetof(struct listening, waiter));
}

static struct listening *of_stream(struct stream *stream)
{
    return server_of_stream(stream)->owner;
}

static usec_t now_of(const struct listening *listening)
{
    return loop_now(listening->set->loop);
}

/* -- what boards are told -----------------------------------------------------------------------
 */

/* NULL: no memory. */
static struct listening_news *make_news(const struct listening *listening, int worker,
                                        enum listening_news_kind kind)
{
    struct listening_news *news = memory_zalloc(sizeof(*news));
    if (!news)
        return NULL;
    news->mail.deliver = subscription_hear;
    news->set = listening->set->siblings[worker];
    news->pool = pool_acquire_reference(listening->pool);
    news->kind = kind;
    return news;
}

static void post(struct listening_news *news)
{
    loop_post(news->set->loop, &news->mail);
}

/* Without memory it is as if it had got lost. */
static void tell_notified(struct listening *listening, int worker, struct span body)
{
    struct listening_news *news = make_news(listening, worker, LISTENING_NOTIFIED);
    if (news)
        news->notification = notification_create(body);
    if (news && news->notification) {
        post(news);
        return;
    }
    if (news)
        listening_news_free(news);
    listening->owes_news = true;
    loop_defer(listening->set->loop, LOOP_GRANT, &listening->task);
}

static uint64_t wanting_workers(const struct listening *listening)
{
    const struct listening_channel *channel;
    uint64_t workers = 0;
    for (channel = listening->channels; channel; channel = channel->hh.next)
        workers |= channel->wanted;
    return workers;
}

static void tell_missed(struct listening *listening)
{
    uint64_t left = wanting_workers(listening);
    for (; left != 0; left &= left - 1) {
        struct listening_news *news = make_news(listening, __builtin_ctzll(left), LISTENING_MISSED);
        if (!news)
            return; /* owes_news stays */
        post(news);
    }
    listening->owes_news = false;
}

/* A client that hears nothing is ended by its own time limit. */
static void answer(struct listening *listening, struct listening_ticket *ticket,
                   const struct error *why)
{
    struct listening_news *news = make_news(listening, ticket->worker, LISTENING_SYNCED);
    TAILQ_REMOVE(&listening->tickets, ticket, link);
    if (news) {
        news->ticket = ticket->number;
        news->why = why ? memory_dup(why, sizeof(*why)) : NULL;
        if (!why || news->why)
            post(news);
        else
            listening_news_free(news);
    }
    memory_free(ticket);
}

/* All of them, or the impatient ones. */
static void fail_tickets(struct listening *listening, bool all, const struct error *why)
{
    struct listening_ticket *ticket, *next;
    for (ticket = TAILQ_FIRST(&listening->tickets); ticket; ticket = next) {
        next = TAILQ_NEXT(ticket, link);
        if (all || !ticket->is_patient)
            answer(listening, ticket, why);
    }
}

/* -- channels -----------------------------------------------------------------------------------
 */

static void put_in(struct listening_channel *channel, struct listening_channels *list)
{
    if (channel->where)
        TAILQ_REMOVE(channel->where, channel, link);
    channel->where = list;
    if (list)
        TAILQ_INSERT_TAIL(list, channel, link);
}

static void free_channel(struct listening *listening, struct listening_channel *channel)
{
    put_in(channel, NULL);
    HASH_DEL(listening->channels, channel);
    memory_free(channel);
}

/* What is wanted of it, and is not under way, is due. */
static void settle_channel(struct listening *listening, struct listening_channel *channel)
{
    if (channel->state == CHANNEL_OUT && channel->wanted == 0)
        free_channel(listening, channel);
    else if (channel->state == (channel->wanted ? CHANNEL_OUT : CHANNEL_IN))
        put_in(channel, &listening->due);
    else if (channel->state == CHANNEL_IN)
        put_in(channel, NULL);
}

static struct listening_channel *find_channel(const struct listening *listening, const char *name)
{
    struct listening_channel *channel = NULL;
    HASH_FIND(hh, listening->channels, name, strlen(name), channel);
    return channel;
}

/* NULL: no memory. */
static struct listening_channel *make_channel(struct listening *listening, const char *name)
{
    struct listening_channel *channel = memory_zalloc(sizeof(*channel) + strlen(name) + 1);
    if (!channel)
        return NULL;
    memcpy(channel->name, name, strlen(name) + 1);
    HASH_ADD_KEYPTR(hh, listening->channels, channel->name, strlen(channel->name), channel);
    if (TABLE_ADDED(channel))
        return channel;
    memory_free(channel);
    return NULL;
}

/* Its connection is gone. */
static void leave_channels(struct listening *listening)
{
    struct listening_channel *channel, *next;
    HASH_ITER (hh, listening->channels, channel, next) {
        channel->state = CHANNEL_OUT;
        settle_channel(listening, channel);
    }
}

/* -- asking -------------------------------------------------------------------------------------
 */

static void put_quoted(struct bytes *out, const char *name)
{
    bytes_u8(out, '"');
    for (; *name; name++) {
        if (*name == '"')
            bytes_u8(out, '"');
        bytes_u8(out, (uint8_t)*name);
    }
    bytes_text(out, "\"; ");
}

static void ask_for_channels(struct listening *listening, struct bytes *out)
{
    struct listening_channel *channel;
    while (out->size < QUERY_MAX && (channel = TAILQ_FIRST(&listening->due))) {
        bool opens = channel->wanted != 0;
        bytes_text(out, opens ? "LISTEN " : "UNLISTEN ");
        put_quoted(out, channel->name);
        channel->state = opens ? CHANNEL_OPENING : CHANNEL_ENDING;
        put_in(channel, &listening->asked);
    }
}

/* What was asked behind the last Query is answered by this one, if nothing is left over. */
static void ask_for_tickets(struct listening *listening)
{
    struct listening_ticket *ticket;
    if (!TAILQ_EMPTY(&listening->due))
        return;
    TAILQ_FOREACH (ticket, &listening->tickets, link)
        ticket->is_asked = true;
}

static void close_server(struct listening *listening, const char *reason);
static void lose(struct listening *listening, const struct error *why);

static void ask(struct listening *listening)
{
    struct bytes out;
    bytes_init(&out, 2 * QUERY_MAX);
    size_t mark = message_begin(&out, 'Q');
    ask_for_channels(listening, &out);
    ask_for_tickets(listening);
    bytes_u8(&out, 0);
    message_end(&out, mark);
    bool ok = bytes_ok(&out) && stream_put(&listening->server->stream, out.data, out.size);
    bytes_finish(&out);
    listening->is_asking = ok;
    if (ok)
        return;
    struct error why;
    error_set(&why, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    close_server(listening, "out of memory");
    lose(listening, &why);
}

/* -- its server ---------------------------------------------------------------------------------
 */

static void close_server(struct listening *listening, const char *reason)
{
    struct server *server = listening->server;
    listening->server = NULL;
    if (!server)
        return;
    server_take_back(server);
    server_close(server, reason, NULL);
}

static void free_listening(struct listening *listening)
{
    pool_release_reference(listening->pool);
    memory_free(listening);
}

/* Nobody wants anything any more. */
static void end(struct listening *listening)
{
    struct server *server = listening->server;
    struct listening_channel *channel, *next;
    listening->is_over = true;
    listening->server = NULL;
    deadline_clear(&listening->deadline);
    loop_cancel_task(listening->set->loop, &listening->task);
    TAILQ_REMOVE(&listening->set->listenings, listening, link);
    HASH_ITER (hh, listening->channels, channel, next)
        free_channel(listening, channel);
    if (server) {
        server_take_back(server);
        server_detach(server, false, "nobody listens any more");
    }
    if (waiter_is_waiting(&listening->waiter) && !pool_waiter_leave(&listening->waiter))
        return; /* a server is on its way: granted() */
    free_listening(listening);
}

static void arm(struct listening *listening)
{
    const struct listening_ticket *oldest = TAILQ_FIRST(&listening->tickets);
    usec_t at = oldest ? oldest->until : INT64_MAX;
    if (listening->retry_at != 0 && listening->retry_at < at)
        at = listening->retry_at;
    if (at != INT64_MAX)
        deadline_set(&listening->set->listening_deadlines, &listening->deadline, at);
    else
        deadline_clear(&listening->deadline);
}

static void acquire(struct listening *listening);

/* What is to be done now: at the end of the turn, when all orders of it have come. */
static void look(struct listening *listening)
{
    bool wants = listening->channels || !TAILQ_EMPTY(&listening->tickets);
    if (!wants && !listening->is_asking) {
        end(listening);
        return;
    }
    arm(listening);
    if (!listening->server) {
        if (!waiter_is_waiting(&listening->waiter) && listening->retry_at == 0)
            acquire(listening);
        return;
    }
    if (listening->is_asking)
        return;
    if (!TAILQ_EMPTY(&listening->due) || !TAILQ_EMPTY(&listening->tickets))
        ask(listening);
    else if (listening->owes_news)
        tell_missed(listening);
}

static void run_task(struct loop_task *task)
{
    look((struct listening *)((char *)task - offsetof(struct listening, task)));
}

static void look_later(struct listening *listening)
{
    loop_defer(listening->set->loop, LOOP_GRANT, &listening->task);
}

/* It has no server any more. What was asked of it is asked again; the impatient are told. */
static void lose(struct listening *listening, const struct error *why)
{
    struct listening_ticket *ticket;
    bool listened = listening->channels != NULL;
    listening->is_asking = listening->has_failed = false;
    leave_channels(listening);
    if (listening->set->is_shutting_down)
        return;
    listening->owes_news = listening->owes_news || (listened && listening->channels);
    TAILQ_FOREACH (ticket, &listening->tickets, link)
        ticket->is_asked = false;
    fail_tickets(listening, false, why);
    look_later(listening);
}

/* -- answers ------------------------------------------------------------------------------------
 */

static void pass_on(struct listening *listening, struct span body)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    cursor_u32(&cursor);
    const char *name = cursor_string(&cursor);
    const struct listening_channel *channel = name ? find_channel(listening, name) : NULL;
    uint64_t left = channel ? channel->wanted : 0;
    for (; left != 0; left &= left - 1)
        tell_notified(listening, __builtin_ctzll(left), body);
}

static void take_error(struct listening *listening, struct span body)
{
    struct error_response said;
    if (!error_response_read(body, &said))
        return;
    log_error(&listening->server->subject, "LISTEN for clients: %s: %s", said.severity,
              said.message);
    tally_add(&listening->set->errors, said.sqlstate, "");
    error_set(&listening->why, said.sqlstate, "%s", said.message);
    listening->has_failed = true;
}

static void confirm_channels(struct listening *listening)
{
    struct listening_channel *channel;
    while ((channel = TAILQ_FIRST(&listening->asked))) {
        channel->state = channel->state == CHANNEL_OPENING ? CHANNEL_IN : CHANNEL_OUT;
        put_in(channel, NULL);
        settle_channel(listening, channel);
    }
}

static void confirm_tickets(struct listening *listening)
{
    struct listening_ticket *ticket, *next;
    for (ticket = TAILQ_FIRST(&listening->tickets); ticket; ticket = next) {
        next = TAILQ_NEXT(ticket, link);
        if (ticket->is_asked)
            answer(listening, ticket, NULL);
    }
}

/* False: it has no server any more. */
static bool take_ready(struct listening *listening)
{
    listening->is_asking = false;
    if (listening->has_failed) {
        struct error why = listening->why;
        fail_tickets(listening, true, &why);
        listening->retry_at = now_of(listening) + RETRY_TIME_MIN;
        close_server(listening, "LISTEN for clients failed");
        lose(listening, &why);
        return false;
    }
    confirm_channels(listening);
    confirm_tickets(listening);
    if (listening->owes_news && TAILQ_EMPTY(&listening->due)) {
        log_info(&listening->server->subject, "listens again for its pool's clients");
        tell_missed(listening);
    }
    look_later(listening);
    return true;
}

static bool take_message(struct listening *listening, const struct message *message)
{
    switch (message->type) {
    case 'A':
        pass_on(listening, message->body);
        return true;
    case 'E':
        take_error(listening, message->body);
        return true;
    case 'Z':
        return take_ready(listening);
    default: /* 'C', 'I', 'N', 'S' */
        return true;
    }
}

static void input(struct stream *stream)
{
    struct listening *listening = of_stream(stream);
    struct message message;
    enum message_verdict verdict;
    while ((verdict = server_next_message(stream, &message)) == MESSAGE_WHOLE) {
        if (!take_message(listening, &message))
            return;
        stream_consume(stream, message.size);
    }
    if (verdict != MESSAGE_BAD)
        return;
    error_set(&listening->why, SQLSTATE_CONNECTION_FAILURE, "bad pkt header");
    close_server(listening, "bad pkt header");
    lose(listening, &listening->why);
}

static void closed(struct stream *stream, enum stream_end how, const struct error *why)
{
    struct listening *listening = of_stream(stream);
    struct server *server = listening->server;
    struct error lost;
    (void)how;
    log_warning(&server->subject, "lost while it listened for its pool's clients: %s",
                listening->has_failed ? listening->why.message : why->message);
    error_set(&lost, SQLSTATE_CONNECTION_FAILURE, "the connection that listens was lost");
    server->must_close = true;
    server->end_was_seen = true;
    close_server(listening, "server conn crashed?");
    lose(listening, &lost);
}

static const struct stream_events listening_events = {.input = input, .closed = closed};

/* The server was closed by somebody else: PAUSE, RECONNECT, KILL, shutdown. */
static void gone(struct server *server, const struct error *why, bool told)
{
    struct listening *listening = server->owner;
    (void)told;
    server->is_listening = false;
    listening->server = NULL;
    lose(listening, why);
}

static const struct server_events listening_server_events = {.gone = gone};

/* -- getting one --------------------------------------------------------------------------------
 */

/* False: the server was dead. */
static bool use(struct listening *listening, struct server *server)
{
    if (!server_attach(server, &listening_server_events, listening, NULL, NULL))
        return false;
    listening->server = server;
    server->is_listening = true;
    server->stream.events = &listening_events;
    look_later(listening);
    return true;
}

static void granted(struct pool_waiter *waiter, struct pool_member *member)
{
    struct listening *listening = of_waiter(waiter);
    pool_waiter_done(waiter);
    if (listening->is_over) {
        server_detach(server_of_member(member), false, "nobody listens any more");
        free_listening(listening);
        return;
    }
    if (!use(listening, server_of_member(member)))
        look_later(listening);
}

static void refuse(struct listening *listening, const struct error *why)
{
    usec_t retry = listening->set->config->settings.server_login_retry;
    listening->retry_at = now_of(listening) + (retry > RETRY_TIME_MIN ? retry : RETRY_TIME_MIN);
    fail_tickets(listening, true, why);
    look_later(listening);
}

static void refused(struct pool_waiter *waiter, const struct error *why)
{
    struct listening *listening = of_waiter(waiter);
    pool_waiter_done(waiter);
    if (listening->is_over)
        free_listening(listening);
    else
        refuse(listening, why);
}

/* Who asks may hold what it would have to wait for: there is no waiting for a place. */
static void refuse_without_place(struct listening *listening, enum pool_order order)
{
    struct error why;
    if (order != POOL_NOTHING || !waiter_is_queued(&listening->waiter) ||
        !atomic_load(&listening->pool->is_blocked))
        return;
    error_set(&why, SQLSTATE_TOO_MANY_CONNECTIONS,
              "no connection is left for LISTEN (max_db_connections, max_user_connections)");
    error_hint(&why, "Each pool with clients that listen needs one connection for them.");
    fail_tickets(listening, true, &why);
    look_later(listening);
}

static void acquire(struct listening *listening)
{
    struct server_set *set = listening->set;
    struct pool_member *member;
    struct pool_advice advice = {.order = POOL_NOTHING};
    enum pool_order order;
    struct error error;
    listening->waiter.granted = granted;
    listening->waiter.refused = refused;
    for (;;) {
        switch (pool_acquire(listening->pool, set->worker, &listening->waiter, now_of(listening),
                             &member, &advice, &error)) {
        case POOL_GOT:
            if (use(listening, server_of_member(member)))
                return;
            break;
        case POOL_WAIT:
            order = advice.order;
            server_follow(set, &advice); /* may be refused at once */
            refuse_without_place(listening, order);
            return;
        case POOL_REFUSED:
            refuse(listening, &error);
            return;
        }
    }
}

void listening_expired(struct deadline *deadline, struct deadline_list *list)
{
    struct listening *listening =
        (struct listening *)((char *)deadline - offsetof(struct listening, deadline));
    struct listening_ticket *ticket, *next;
    usec_t now = loop_now(list->loop);
    struct error why;
    error_set(&why, SQLSTATE_CANNOT_CONNECT, "the connection that listens could not be opened");
    for (ticket = TAILQ_FIRST(&listening->tickets); ticket; ticket = next) {
        next = TAILQ_NEXT(ticket, link);
        if (ticket->until <= now)
            answer(listening, ticket, &why);
    }
    if (listening->retry_at != 0 && listening->retry_at <= now)
        listening->retry_at = 0;
    look(listening);
}

/* -- orders -------------------------------------------------------------------------------------
 */

static struct listening *find(const struct server_set *set, const struct pool *pool)
{
    struct listening *listening;
    TAILQ_FOREACH (listening, &set->listenings, link)
        if (listening->pool == pool)
            return listening;
    return NULL;
}

static struct listening *find_or_make(struct server_set *set, struct pool *pool)
{
    struct listening *listening = find(set, pool);
    if (listening)
        return listening;
    listening = memory_zalloc(sizeof(*listening));
    if (!listening)
        return NULL;
    listening->set = set;
    listening->pool = pool_acquire_reference(pool);
    listening->task.run = run_task;
    TAILQ_INIT(&listening->due);
    TAILQ_INIT(&listening->asked);
    TAILQ_INIT(&listening->tickets);
    TAILQ_INSERT_TAIL(&set->listenings, listening, link);
    return listening;
}

static void want(struct listening *listening, const struct listening_order *order)
{
    struct listening_channel *channel = find_channel(listening, order->channel);
    if (!channel)
        channel = make_channel(listening, order->channel);
    if (!channel) { /* the SYNC behind it shall not say that all is well */
        listening->has_failed =
            !error_set(&listening->why, SQLSTATE_OUT_OF_MEMORY, "out of memory for a channel");
        return;
    }
    channel->wanted |= UINT64_C(1) << order->worker;
    settle_channel(listening, channel);
}

static void unwant(struct listening *listening, const struct listening_order *order)
{
    struct listening_channel *channel = find_channel(listening, order->channel);
    if (!channel)
        return;
    channel->wanted &= ~(UINT64_C(1) << order->worker);
    if (channel->where == &listening->due) /* not asked yet: as it was */
        put_in(channel, NULL);
    settle_channel(listening, channel);
}

static void take_ticket(struct listening *listening, const struct listening_order *order)
{
    struct listening_ticket *ticket = memory_zalloc(sizeof(*ticket));
    usec_t limit = listening->set->config->settings.server_connect_timeout;
    struct error why;
    if (!ticket)
        return; /* ended by its client's own time limit */
    ticket->worker = order->worker;
    ticket->number = order->ticket;
    ticket->is_patient = order->is_patient;
    ticket->until = now_of(listening) + (limit > 0 ? limit : SYNC_TIME_MAX);
    TAILQ_INSERT_TAIL(&listening->tickets, ticket, link);
    if (order->is_patient || listening->server)
        return;
    error_set(&why, SQLSTATE_CONNECTION_FAILURE, "the connection that listens was lost");
    answer(listening, ticket, &why);
}

static void obey(struct listening_order *order)
{
    struct server_set *set = order->home;
    struct listening *listening = NULL;
    if (set->is_shutting_down)
        return;
    listening =
        order->kind == LISTENING_UNWANT ? find(set, order->pool) : find_or_make(set, order->pool);
    if (!listening)
        return;
    switch (order->kind) {
    case LISTENING_WANT:
        want(listening, order);
        break;
    case LISTENING_UNWANT:
        unwant(listening, order);
        break;
    case LISTENING_SYNC:
        take_ticket(listening, order);
        break;
    }
    look_later(listening);
}

void listening_obey(struct mail *mail, struct loop *loop)
{
    struct listening_order *order =
        (struct listening_order *)((char *)mail - offsetof(struct listening_order, mail));
    (void)loop;
    obey(order);
    pool_release_reference(order->pool);
    memory_free(order);
}

void listening_finish_all(struct server_set *set)
{
    struct listening *listening;
    struct listening_ticket *ticket;
    while ((listening = TAILQ_FIRST(&set->listenings))) {
        while ((ticket = TAILQ_FIRST(&listening->tickets))) {
            TAILQ_REMOVE(&listening->tickets, ticket, link);
            memory_free(ticket);
        }
        close_server(listening, "server shutting down");
        end(listening);
    }
}
