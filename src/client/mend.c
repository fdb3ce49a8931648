/* The way out for a client whose settings can no longer be applied (a role that was dropped, a
 * value that is no longer valid): nothing runs in its session meanwhile, but the text that sets
 * anew or resets what is wrong must. So that this one meets a server, what its text is about is
 * left out of the settings that are brought there in front of it; what is there afterwards, the
 * server says.
 */
#include <string.h>
#include <strings.h>

#include "client_private.h"
#include "ledger/session_state.h"
#include "requests.h"

static bool is_identity(const char *name)
{
    return strcmp(name, "role") == 0 || strcmp(name, "session_authorization") == 0;
}

/* False: its next message is no text, or not all there. */
static bool next_text(const struct client *client, struct span *text)
{
    struct span input = stream_input(&client->stream);
    struct message message;
    if (message_peek(input.data, input.size, UINT32_MAX, &message) != MESSAGE_WHOLE ||
        (message.type != 'Q' && message.type != 'P'))
        return false;
    const char *body = (const char *)message.body.data;
    size_t name = message.type == 'P' ? strnlen(body, message.body.size) + 1 : 0;
    if (name >= message.body.size)
        return false;
    *text = (struct span){message.body.data + name, strnlen(body + name, message.body.size - name)};
    return true;
}

static bool is_kept(const struct session_target *target, const char *name)
{
    switch (target->kind) {
    case SESSION_TARGET_NOTHING:
        return true;
    case SESSION_TARGET_NAME:
        return strcasecmp(target->name, name) != 0;
    case SESSION_TARGET_SETTINGS:
        return is_identity(name);
    case SESSION_TARGET_EVERYTHING:
        break;
    }
    return false;
}

/* What it asked for at startup holds again, unless that is what is wrong. */
static bool returns(const struct client *client, const struct session_target *target,
                    const struct session_setting *startup)
{
    const char *now = session_profile_get(client->profile, startup->name);
    return !is_kept(target, startup->name) &&
           (target->is_reset || target->kind == SESSION_TARGET_EVERYTHING) &&
           (!now || strcmp(now, startup->value) != 0);
}

static bool make(const struct client *client, const struct session_target *target,
                 struct session_profile **made)
{
    struct session_list settings = {0}, prepared = {0};
    const struct session_profile *now = client->profile, *startup = client->startup_profile;
    bool ok = true;
    for (int i = 0; ok && i < now->count; i++)
        if (is_kept(target, now->items[i].name))
            ok = session_list_append(&settings, now->items[i].name, now->items[i].value);
    for (int i = 0; ok && startup && i < startup->count; i++)
        if (returns(client, target, &startup->items[i]))
            ok = session_list_append(&settings, startup->items[i].name, startup->items[i].value);
    for (int i = 0; ok && i < now->prepared_count; i++)
        if (target->kind != SESSION_TARGET_EVERYTHING)
            ok = session_list_append(&prepared, now->items[now->count + i].name,
                                     now->items[now->count + i].value);
    ok = ok && session_profile_create(&settings, &prepared, made);
    session_list_finish(&settings);
    session_list_finish(&prepared);
    return ok;
}

void mend_undo(struct client *client)
{
    if (!client->unmended)
        return;
    session_profile_release(client->profile);
    client->profile = client->unmended;
    client->unmended = NULL;
}

void mend_done(struct client *client)
{
    client->prefix_is_broken = false;
    session_profile_release(client->unmended);
    client->unmended = NULL;
}

void mend_profile(struct client *client)
{
    struct span text;
    struct session_target target;
    struct session_profile *made;
    mend_undo(client);
    if (!client->profile || !next_text(client, &text))
        return;
    session_scan_target((const char *)text.data, text.size, &target);
    if (target.kind == SESSION_TARGET_NOTHING || !make(client, &target, &made))
        return;
    client->unmended = client->profile;
    client->profile = made;
}
