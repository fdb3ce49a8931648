/* What the files of room server share. */
#pragma once
#include "server/probe.h"
#include "server/server.h"
#include "server/server_set.h"
#include "wire/message.h"

/* server_set: the time limits of an idle server (server_idle_timeout, server_lifetime). */
void server_set_idle(struct server *server);
void server_set_not_idle(struct server *server);

/* Closes it if it is older than server_lifetime, and none of its pool was closed for that just now.
 */
bool server_set_close_over_age(struct server *server);
static inline struct server_pool_note *server_set_note(struct server_set *set,
                                                       const struct pool *pool)
{
    return &set->notes[(unsigned)pool->number % SERVER_POOL_NOTES];
}
void server_socket_options(const struct server_set *set, struct socket_options *options);

/* borrowed: names that it got for its client's SQL. Their Closes go out, without a Sync: what is
 * sent next is a query, or borrowed_finish_return. False: no memory, or too many. */
void borrowed_init(struct server *server);
bool borrowed_return(struct server *server);
/* The Sync; TESTED until that is answered, or closed. */
void borrowed_finish_return(struct server *server);

/* check: why a server in state TESTED is closed, for the log. */
const char *server_test_failure(const struct server *server);

/* clean: sends what undoes server->dirt; TESTED until that is answered, or closed. */
void server_clean(struct server *server);
/* Sends what undoes a profile, if there is one. False: no memory. */
bool server_clean_profile(struct server *server);

/* dedicated: a place for a wish of this worker came. */
void server_dedicated_place(struct server_set *set, struct pool *pool);
/* Starts opening it. False: no memory. */
bool server_open_dedicated(struct server_set *set, struct pool *pool,
                           struct server_dedicated *dedicated);
/* It has logged in, and said `welcome` (a reference, taken over; NULL: no memory); at the turn's
 * end it is handed over. */
void server_dedicated_opened(struct server *server, struct pool_welcome *welcome);
void server_dedicated_granted(struct server *server);
/* It could not be opened, or was closed before it was handed over. */
void server_dedicated_lost(struct server *server, const struct error *why);

/* probe: who asks for it, until the answer. */
struct server_probe {
    char *password;
    enum probe_verdict verdict; /* the answer, if it were closed now */
    void (*answer)(void *argument, enum probe_verdict verdict, const struct error *error);
    void *argument;
};
/* Starts opening it; takes the probe over. False: no memory. */
bool server_open_probe(struct server_set *set, struct pool *pool, struct server_probe *probe);
bool server_probe_secret(const struct server_probe *probe, struct auth_secret *secret);
/* Its login has failed, or is over: server_close comes next, or has come. */
void server_probe_failed(struct server *server, enum pool_failure failure);
void server_probe_opened(struct server *server);
/* It was closed: who asked is answered. */
void server_probe_lost(struct server *server, const struct error *why);

/* For those of this room that use a server by themselves (lookup, listening). The next message that
 * it has sent; the rest of one that is not all there is awaited. WHOLE: take it and consume it.
 * BAD: it makes no sense, or is larger than what such a server has to say. */
enum message_verdict server_next_message(struct stream *stream, struct message *message);
/* They use it no more, and are told nothing of it. */
void server_take_back(struct server *server);

/* Lines of the log, with the server's prefix; only if log_disconnections. */
void server_log_closing(struct server *server, const char *reason);

/* A CLOSING server's end was waited for long enough (its deadline on connect_deadlines). */
void server_closing_expired(struct server *server);
/* server_connect_timeout is over: the login has failed. */
void server_login_expired(struct server *server);
/* cancel: the expired function of the set's cancel_deadlines. */
void server_cancel_expired(struct deadline *deadline, struct deadline_list *list);
/* recover: goes on with it, if it is being recovered; and the expired function of the set's
 * recovery_deadlines. */
void server_recovery_step(struct server *server);
void server_recovery_expired(struct deadline *deadline, struct deadline_list *list);
/* Ends all side connections of the set and frees them. */
void server_cancel_finish(struct server_set *set);
