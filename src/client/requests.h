/* What the files that read a client's messages share. */
#pragma once
#include "client/client_set.h"
#include "wire/message.h"

enum take { TAKE_NEXT, TAKE_STOP };

/* The walk through one input: `run` bytes at its front go to the server as they are. */
struct request_walk {
    struct client *client;
    size_t run;
    uint64_t received;            /* bytes of the messages that were taken */
    const uint8_t *unnamed_parse; /* the last unnamed Parse in this input that no Bind follows */
};

/* Sends the run. False: the client is closed. */
bool request_flush(struct request_walk *walk);
/* Bytes of the pooler's own to the server, behind the run. */
bool request_put(struct request_walk *walk, const void *data, size_t size);
/* Takes `size` bytes off the client's input that are not sent. */
bool request_drop(struct request_walk *walk, size_t size);
/* Sends the message as it is: what is there now, the rest as it comes. */
enum take request_forward(struct request_walk *walk, const struct message *message);
/* The same, and its answer is expected: it goes to the client. */
enum take request_forward_expecting(struct request_walk *walk, const struct message *message,
                                    enum ledger_kind kind);
/* And its entry has this tag. */
enum take request_forward_tagged(struct request_walk *walk, const struct message *message,
                                 enum ledger_kind kind, void *tag);
/* Waits until the whole message is there. */
enum take request_want_whole(struct request_walk *walk, const struct message *message);
/* The client hears of what has settled. Entries that are skipped while nothing is owed settle at
 * once, and no answer comes in which it would. False: there was nothing. */
bool request_hear_settled(struct client *client);
/* Waits until the ledger has moved. */
enum take request_hold(struct request_walk *walk);
/* The client, which has no server any more, is told the error in place of its unit's answers. */
enum request_unit { REQUEST_UNIT_IS_AHEAD, REQUEST_UNIT_HAS_BEGUN, REQUEST_UNIT_IS_SENT };
void requests_fail_unit(struct client *client, const struct error *error, enum request_unit unit);
enum take request_refuse(struct request_walk *walk, const char *sqlstate, const char *text);

/* What texts may touch of the session (src/client/session.c): of a Query at once, of the unnamed
 * statement when it is bound. */
uint32_t session_scan_there(const char *text, size_t there);
/* The names of custom settings in a text that touches settings (src/client/session_follow.c). */
void session_note_names(struct client *client, const char *text, size_t size);
/* A bound statement's text. */
void session_touch_statement(struct client *client, const struct shared_statement *statement);
/* Of a client without a server: its text would pin it, though its pool has no place for it. It is
 * answered then (53400), and its unit skipped (src/client/session_pins.c). */
bool session_refuse_pin_now(struct request_walk *walk, const struct message *message);
static inline bool session_refuse_pin(struct request_walk *walk, const struct message *message)
{
    const struct client *client = walk->client;
    bool has_place = atomic_load_explicit(&client->pool->pinned, memory_order_relaxed) == 0 &&
                     client->set->config->settings.pin_limit > 0;
    return !has_place && session_refuse_pin_now(walk, message);
}
/* A Query's text touches something. */
void session_touch_query(struct client *client, const struct message *message, uint32_t touches);
static inline void session_note_query(struct client *client, const struct message *message)
{
    uint32_t touches = session_scan_there((const char *)message->body.data, message->body.size);
    if (touches)
        session_touch_query(client, message, touches);
}
void session_note_parse(struct client *client, const struct message *message);
static inline void session_touch(struct client *client, uint32_t touches)
{
    if (touches & SESSION_EXECUTES)
        touches = (touches & ~(uint32_t)SESSION_EXECUTES) | client->prepared_touches;
    if (!touches || client->effective.session_state == SESSION_STATE_LEAK)
        return;
    client->touched |= touches;
    client->server->dirt |= touches & ~SESSION_HINTS;
    if (touches & SESSION_LISTEN)
        listen_touch(client, touches);
}

/* Named statements in transaction mode (src/client/prepared.c). */
enum take prepared_parse(struct request_walk *walk, const struct message *message);
enum take prepared_bind(struct request_walk *walk, const struct message *message);
enum take prepared_describe(struct request_walk *walk, const struct message *message);
enum take prepared_close(struct request_walk *walk, const struct message *message);
/* What of the client's settings decides the meaning of a text. */
uint64_t prepared_settings(const struct client *client);
/* May a Parse's success be made up? */
bool prepared_success_is_certain(const struct client *client);
/* Messages about a shared statement, under whatever name (none) the client has it. The Parse makes
 * it its unnamed statement, with this number. */
enum take prepared_parse_shared(struct request_walk *walk, const struct message *message,
                                const struct shared_statement *statement, uint32_t unnamed);
enum take prepared_bind_shared(struct request_walk *walk, const struct message *message,
                               const struct bind_message *bind,
                               const struct shared_statement *statement);
enum take prepared_describe_shared(struct request_walk *walk, const struct message *message,
                                   const struct shared_statement *statement);

/* It has names, or may have. */
static inline bool has_names(const struct client *client)
{
    return client->statements.count > 0 || client->statements.unsettled > 0;
}
/* An earlier Sync unit may still change the client's names. */
static inline bool names_are_open(const struct client *client)
{
    return client->statements.unsettled > 0 && client->delta_unit != client->unit;
}

/* SQL that names prepared statements (src/client/sql_names.c), of a client that has some. A Query
 * is forwarded; in front of an unnamed Parse the server gets what its text names; an Execute is
 * forwarded, of a unit whose unnamed statement takes names away. */
enum take sql_names_query(struct request_walk *walk, const struct message *message);
enum take sql_names_parse(struct request_walk *walk, const struct message *message);
enum take sql_names_execute(struct request_walk *walk, const struct message *message);

/* Bounds of what is kept of named statements (src/client/statement_limits.c). */
enum statement_limit {
    STATEMENT_LIMIT_NONE,
    STATEMENT_LIMIT_NAMES,
    STATEMENT_LIMIT_CACHE,
    STATEMENT_IS_OUTDATED, /* no limit: its client knows an old description of the result */
};
/* Does the name that is about to be defined go over one? */
enum statement_limit statement_limit_reached(const struct client *client, const char *name,
                                             const struct shared_statement *statement);
/* So are those of unnamed statements, which are then sent as they are. */
bool statement_cache_is_full(const struct client *client, const struct shared_statement *statement);
/* Provokes an error in the place of the Parse. False: the client is closed. */
bool statement_limit_refuse(struct request_walk *walk, enum statement_limit limit);

/* The unnamed statement in transaction mode (src/client/unnamed.c). */
enum take unnamed_parse(struct request_walk *walk, const struct message *message);
enum take unnamed_bind(struct request_walk *walk, const struct message *message,
                       const struct bind_message *bind);
enum take unnamed_describe(struct request_walk *walk, const struct message *message);
enum take unnamed_close(struct request_walk *walk, const struct message *message);
/* The walk's last unnamed Parse may be needed later, and its bytes are about to go. */
void unnamed_keep(struct request_walk *walk);
