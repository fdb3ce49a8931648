/* session_state=follow: what a client sets of its session follows it to whatever server it gets.
 *
 * At the end of a transaction whose texts may have touched the session, the server is asked what is
 * there now, and the client's next message waits for the answer. Settings become the client's
 * profile, which is brought to its next server in front of its first message. What no other server
 * can be brought to pins the client to this one, until it is gone or the client leaves (DESIGN §5,
 * MECHANISMS §4.4-4.7).
 *
 * A client that touched nothing is parted from its server at once, without a byte or a round trip.
 */
#include <string.h>

#include "base/memory.h"
#include "client_private.h"
#include "ledger/session_prepared.h"
#include "ledger/session_probe.h"
#include "requests.h"
#include "wire/build.h"

#define TRIES_MAX 3
/* The statements, and the names of custom settings, each byte of which may need two. */
#define TEXT_MAX (16 * 1024 + 2 * SESSION_SETTINGS_MAX * (SESSION_NAME_MAX + 4))

/* What a client's session needs beyond its profile; made when it first touches it. */
struct session_follow {
    struct session_probe probe;
    struct session_list customs; /* custom settings that it has named: to be asked for by name */
};

static const char session_authorization[] = "session_authorization";

static struct session_follow *follow_of(struct client *client)
{
    if (!client->follow)
        client->follow = memory_zalloc(sizeof(*client->follow));
    return client->follow;
}

void session_follow_finish(struct client *client)
{
    if (!client->follow)
        return;
    session_probe_finish(&client->follow->probe);
    session_list_finish(&client->follow->customs);
    memory_free(client->follow);
    client->follow = NULL;
}

/* -- texts
 * -------------------------------------------------------------------------------------------
 */

/* Custom settings stand in no catalogue: their names come from the text. */
void session_note_names(struct client *client, const char *text, size_t size)
{
    struct session_names names;
    if (client->effective.session_state != SESSION_STATE_FOLLOW)
        return;
    session_scan_names(text, size, &names);
    struct session_follow *follow = names.count > 0 ? follow_of(client) : client->follow;
    bool ok = !names.are_more && (names.count == 0 || follow);
    for (int i = 0; ok && i < names.count; i++)
        ok = session_list_set(&follow->customs, names.names[i], "");
    if (!ok) /* what cannot be asked for */
        client->names_are_lost = true;
}

/* -- asking
 * ------------------------------------------------------------------------------------------
 */

/* Of what the session has now, too: what was set long ago may have been reset. */
static bool add_known_customs(struct session_list *customs, const struct session_profile *profile)
{
    bool ok = true;
    for (int i = 0; ok && profile && i < profile->count; i++)
        if (strchr(profile->items[i].name, '.'))
            ok = session_list_set(customs, profile->items[i].name, "");
    return ok;
}

void session_doubt(struct client *client)
{
    if (client->effective.session_state == SESSION_STATE_FOLLOW && !client->is_session_mode)
        session_touch(client, SESSION_DOUBT & ~(uint32_t)(SESSION_UNKNOWN | SESSION_LISTEN));
}

static bool put_probe(struct client *client, struct session_follow *follow)
{
    struct server *server = client->server;
    uint8_t kinds[SESSION_PROBE_ENTRIES];
    struct bytes out;
    bytes_init(&out, TEXT_MAX);
    if (server->ledger.status != 'I')
        build_query(&out, "ROLLBACK");
    int count =
        session_probe_put(&out, client->touched, server->holds_probe, &follow->customs, kinds);
    bool ok = bytes_ok(&out) && ledger_has_room(&server->ledger, SESSION_PROBE_ENTRIES + 1) &&
              stream_put(&server->stream, out.data, out.size);
    bytes_finish(&out);
    if (!ok)
        return false;
    if (server->ledger.status != 'I')
        ledger_expect(&server->ledger, LEDGER_QUERY, LEDGER_SWALLOW, 0, NULL);
    for (int i = 0; i < count; i++)
        ledger_expect(&server->ledger, (enum ledger_kind)kinds[i], LEDGER_SWALLOW,
                      kinds[i] == LEDGER_PARSE ? LEDGER_MAY_FAIL : 0, NULL);
    server->holds_probe = true;
    client->probe_left = (uint8_t)server->ledger.syncs;
    return true;
}

/* The session is not known: it ends with its server. */
static void give_up(struct client *client, const struct error *why)
{
    client->server->must_close = true;
    client_refuse(client, why);
}

static void no_memory(struct client *client)
{
    struct error error;
    error_set(&error, SQLSTATE_OUT_OF_MEMORY, "out of memory, or too much session state");
    give_up(client, &error);
}

static void ask(struct client *client)
{
    struct session_follow *follow = follow_of(client);
    if (!follow) {
        no_memory(client);
        return;
    }
    session_probe_finish(&follow->probe);
    client->server->ledger.error_in_swallowed = false;
    if (!add_known_customs(&follow->customs, client->profile) ||
        !add_known_customs(&follow->customs, client->startup_profile) || !put_probe(client, follow))
        no_memory(client);
}

void session_rest(struct client *client)
{
    const uint32_t may_end = SESSION_ENDING | SESSION_FORGETS;
    uint32_t asked = ((SESSION_DOUBT | SESSION_PINS | SESSION_REPORTED) & ~may_end) |
                     (client->pins ? may_end : 0);
    bool is_askable = ledger_is_free(&client->server->ledger);
    if (client->effective.session_state == SESSION_STATE_FOLLOW && is_askable &&
        client->touched & asked & ~(uint32_t)SESSION_LISTEN) {
        client->probe_tries = 0;
        ask(client);
    } else if (client->pins && is_askable) {
        attach_arm(client);
    } else {
        attach_part(client);
    }
}

/* -- the answer
 * --------------------------------------------------------------------------------------
 */

void session_take_row(struct client *client, struct span body)
{
    if (client->probe_left > 0)
        session_probe_row(&client->follow->probe, client->set->shared->parameter_names, body);
}

static bool copy_profile(struct session_list *list, const struct session_profile *profile)
{
    bool ok = true;
    for (int i = 0; ok && profile && i < profile->count; i++)
        ok = strcmp(profile->items[i].name, "role") == 0 ||
             strcmp(profile->items[i].name, session_authorization) == 0 ||
             session_list_set(list, profile->items[i].name, profile->items[i].value);
    return ok;
}

/* Whether a value that is also the default was set, or is what a RESET has left, the text says. */
static bool is_set(const struct client *client, const char *name, bool is_default)
{
    bool was_reset = client->touched & SESSION_RESETS;
    return !is_default || (session_profile_get(client->startup_profile, name) && !was_reset);
}

static bool add_identity(const struct client *client, const struct session_probe *probe,
                         struct session_list *found)
{
    const char *login = client->pool->user_name;
    bool ok = true;
    if (is_set(client, session_authorization, strcmp(probe->user, login) == 0))
        ok = session_list_set(found, session_authorization, probe->user);
    if (is_set(client, "role", strcmp(probe->role, "none") == 0))
        ok = ok && session_list_set(found, "role", probe->role);
    return ok;
}

/* A custom setting that was reset is '' for ever; at login it had a value. */
static bool was_emptied(const struct client *client, const struct session_setting *setting)
{
    return setting->value[0] == '\0' && client->touched & SESSION_RESETS &&
           strchr(setting->name, '.') &&
           session_profile_get(client->startup_profile, setting->name);
}

/* What the server's session has now. */
static bool find_settings(struct client *client, struct session_list *found)
{
    const struct session_probe *probe = &client->follow->probe;
    bool ok = true;
    if (!(client->touched & SESSION_ASKS_SETTINGS)) {
        ok = copy_profile(found, client->profile);
    } else {
        for (int i = 0; ok && i < probe->settings.count; i++)
            if (!was_emptied(client, &probe->settings.items[i]))
                ok = session_list_set(found, probe->settings.items[i].name,
                                      probe->settings.items[i].value);
        bool is_default = strcmp(probe->timeout, probe->default_timeout) == 0;
        if (is_set(client, "statement_timeout", is_default))
            ok = ok && session_list_set(found, "statement_timeout", probe->timeout);
    }
    return ok && add_identity(client, probe, found);
}

/* What was reset is what the client asked for at startup (MECHANISMS §4.4). */
static bool add_startup(const struct client *client, struct session_list *wanted)
{
    const struct session_profile *startup = client->startup_profile;
    bool ok = true;
    for (int i = 0; ok && startup && i < startup->count; i++)
        if (!session_list_get(wanted, startup->items[i].name))
            ok = session_list_set(wanted, startup->items[i].name, startup->items[i].value);
    return ok;
}

static bool reset_tracked(struct client *client)
{
    const struct wanted_parameters *startup = &client->startup_wanted;
    uint32_t were_set = client->follow->probe.tracked;
    bool ok = true;
    if (!(client->touched & SESSION_ASKS_SETTINGS) || !(client->touched & SESSION_RESETS))
        return true;
    for (int i = 0; ok && i < startup->count; i++)
        if (!(were_set & UINT32_C(1) << startup->items[i].slot))
            ok = wanted_parameters_set(&client->wanted, startup->items[i].slot,
                                       startup->items[i].value);
    return ok;
}

/* What its EXECUTEs may touch from now on. */
static uint32_t prepared_touches(const struct client *client)
{
    const uint32_t any = SESSION_DOUBT & ~(uint32_t)(SESSION_UNKNOWN | SESSION_LISTEN);
    return client->follow->probe.pins & SESSION_PREPARE ? any
                                                        : session_prepared_touches(client->profile);
}

/* Names that the server has borrowed are closed when they part: they may be names of these. */
static const struct session_list *left_prepared(struct client *client)
{
    if (client->server->borrowed_count == 0)
        return &client->follow->probe.prepared;
    return NULL;
}

static bool adopt(struct client *client)
{
    const struct session_list *prepared = &client->follow->probe.prepared;
    struct session_list found = {0};
    struct session_profile *has = NULL, *wants = NULL;
    bool ok = find_settings(client, &found) &&
              session_profile_create(&found, left_prepared(client), &has) &&
              add_startup(client, &found) && session_profile_create(&found, prepared, &wants) &&
              reset_tracked(client);
    if (ok) {
        server_set_profile(client->server, has);
        session_profile_release(client->profile);
        client->profile = session_profile_acquire(wants);
        client->prepared_touches = prepared_touches(client);
    }
    session_profile_release(has);
    session_profile_release(wants);
    session_list_finish(&found);
    return ok;
}

/* What the server is not asked about holds for as long as the text says. */
static uint32_t pins_of(const struct client *client)
{
    uint32_t pins = client->follow->probe.pins;
    uint32_t before = client->pins | client->touched;
    if (!(client->touched & SESSION_ADVISORY))
        pins |= client->pins & SESSION_ADVISORY;
    pins |= before & SESSION_LOAD;
    if (!(client->touched & SESSION_FORGETS))
        pins |= before & SESSION_SEQUENCE;
    if (client->touched & SESSION_UNKNOWN &&
        client->set->config->settings.follow_unknown == FOLLOW_UNKNOWN_PIN)
        pins |= SESSION_UNKNOWN;
    if (!(client->touched & SESSION_FORGETS))
        pins |= client->pins & SESSION_UNKNOWN;
    return pins;
}

/* Settings that nobody could name may be there: all are undone before the server goes on. LISTEN
 * ends with the transaction. */
static uint32_t dirt_of(const struct client *client, uint32_t pins)
{
    uint32_t left = client->touched | client->server->dirt;
    uint32_t dirt = pins | (left & (SESSION_LISTEN | SESSION_APPLIED));
    if (client->server->borrowed_count > 0 && client->follow->probe.prepared.count > 0)
        dirt |= SESSION_PREPARE;
    if (left & SESSION_UNKNOWN || client->names_are_lost)
        dirt |= pins ? SESSION_UNKNOWN : SESSION_SETTINGS;
    return dirt;
}

static void settle(struct client *client)
{
    uint32_t pins = pins_of(client);
    uint32_t lost = client->touched & SESSION_LISTEN;
    client->server->dirt = dirt_of(client, pins);
    client->touched = 0;
    if (!pins || !session_pin(client, pins)) {
        client->touched = lost | pins;
        attach_part(client);
        return;
    }
    session_begin(client);
    attach_go_on_pinned(client);
}

static void fail(struct client *client)
{
    struct server *server = client->server;
    struct error why = server->swallowed_error;
    bool held = server->holds_probe;
    server->holds_probe = false; /* somebody may have closed them behind our back */
    if (held && ++client->probe_tries < TRIES_MAX) {
        ask(client);
        return;
    }
    error_prefix(&why, "the state of the session could not be read");
    give_up(client, &why);
}

void session_probe_ready(struct client *client)
{
    struct server *server = client->server;
    struct session_probe *probe = &client->follow->probe;
    if (--client->probe_left > 0)
        return;
    if (server->ledger.error_in_swallowed || !probe->is_seen || server->ledger.status != 'I') {
        fail(client);
        return;
    }
    if (probe->failed || !adopt(client)) {
        no_memory(client);
        return;
    }
    settle(client);
}
