/* Session state that a client sets in transaction mode: what its texts may touch (MECHANISMS §4.6).
 */
#include <stdio.h>
#include <string.h>

#include "client_private.h"
#include "requests.h"
#include "wire/build.h"

/* A text that does not end inside of what is there was not read whole. */
uint32_t session_scan_there(const char *text, size_t there)
{
    const char *end = there > 0 ? memchr(text, 0, there) : NULL;
    return end ? session_scan(text, (size_t)(end - text)) : SESSION_DOUBT;
}

void session_touch_query(struct client *client, const struct message *message, uint32_t touches)
{
    const char *text = (const char *)message->body.data;
    session_touch(client, touches);
    if (touches & SESSION_SETTINGS)
        session_note_names(client, text, strnlen(text, message->body.size));
}

void session_touch_statement(struct client *client, const struct shared_statement *statement)
{
    session_touch(client, statement->touches);
    if (statement->touches & SESSION_SETTINGS)
        session_note_names(client,
                           (const char *)statement->parse + MESSAGE_HEAD + STATEMENT_NAME_SIZE,
                           statement->query_size);
}

/* The name is empty and there. */
void session_note_parse(struct client *client, const struct message *message)
{
    const char *text = (const char *)message->body.data + 1;
    size_t there = message->body.size - 1;
    client->unnamed_touches = session_scan_there(text, there);
    if (client->unnamed_touches & SESSION_SETTINGS)
        session_note_names(client, text, strnlen(text, there));
}

/* What PostgreSQL would keep, in the words of its manual. */
static const struct {
    uint32_t kind;
    const char *name;
} kinds[] = {
    {SESSION_SETTINGS, "settings"},
    {SESSION_ROLE, "the role or session authorization"},
    {SESSION_PREPARE, "statements of PREPARE"},
    {SESSION_LISTEN, "LISTEN"},
    {SESSION_TEMP, "temporary objects"},
    {SESSION_CURSOR, "cursors WITH HOLD"},
    {SESSION_ADVISORY, "session-level advisory locks"},
    {SESSION_LOAD, "a loaded library"},
    {SESSION_SEQUENCE, "the last values of sequences"},
};

void session_describe(uint32_t mask, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && used < size; i++)
        if (mask & kinds[i].kind)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     kinds[i].name);
    if (mask & SESSION_UNKNOWN && used < size)
        snprintf(text + used, size - used, "%swhat DO or CALL may have done (follow_unknown)",
                 used > 0 ? ", " : "");
}

static bool tell(struct client *client, const char *name)
{
    bool follows = client->effective.session_state == SESSION_STATE_FOLLOW;
    uint8_t memory[512];
    char text[160];
    struct bytes out = bytes_over(memory, sizeof(memory));
    snprintf(text, sizeof(text), "session state ends with its transaction here: %s", name);
    build_notice(
        &out, SQLSTATE_SUCCESS, text,
        follows ? "The server goes back to its pool, clean: it does not follow its client, or too "
                  "many clients keep their servers (pin_limit)."
                : "The server goes back to its pool, clean (session_state = reset). Use SET LOCAL, "
                  "a pool in session mode, or the database's and the role's own settings.");
    return bytes_ok(&out) && stream_put(&client->stream, out.data, out.size);
}

bool session_tell_lost(struct client *client, uint32_t touched)
{
    uint32_t everything = SESSION_DOUBT & ~(uint32_t)SESSION_UNKNOWN;
    if ((touched & SESSION_DOUBT) == everything)
        return true; /* nothing is left by a DISCARD ALL */
    if (touched & SESSION_UNKNOWN)
        return true; /* most texts in doubt, DO blocks and CALLs leave nothing */
    touched &= ~client->told_lost;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (touched & kinds[i].kind && !tell(client, kinds[i].name))
            return false;
    client->told_lost |= touched;
    return true;
}
