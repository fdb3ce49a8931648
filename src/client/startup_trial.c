/* What a client asks for in its startup packet is tried on a server before it is let in, once, and
 * then remembered: a bad value is told at login, in PostgreSQL's own words, and a good one is known
 * in PostgreSQL's own spelling (MECHANISMS §4.4).
 *
 * The trial is a block that is rolled back, so that nothing of it stays on the server. Refusals are
 * not remembered: who is refused may mend the server and come again.
 */
#include <string.h>

#include "base/memory.h"
#include "client_private.h"
#include "wire/answer.h"
#include "wire/build.h"

#define REMEMBERED_MAX 256
#define TRIES_MAX      3
/* A startup packet is shorter; each byte of it may need two. */
#define TEXT_MAX (4 * STARTUP_PACKET_MAX)

/* What came of one startup packet in one pool. */
struct startup_finding {
    UT_hash_handle hh;
    struct digest128 key;
    struct session_profile *profile;
    struct session_list tracked;
};

/* -- what is remembered
 * -------------------------------------------------------------------------------------------------
 */

static void forget(struct startup_findings *findings, struct startup_finding *finding)
{
    HASH_DEL(findings->by_key, finding);
    findings->count--;
    session_profile_release(finding->profile);
    session_list_finish(&finding->tracked);
    memory_free(finding);
}

void startup_findings_finish(struct startup_findings *findings)
{
    while (findings->by_key)
        forget(findings, findings->by_key);
}

/* All that it asks for, the tracked settings behind the others; an application_name is any text,
 * and there are as many as clients. */
static bool gather(struct client *client)
{
    const struct parameter_names *names = client->set->shared->parameter_names;
    const struct session_list *others = &client->login->startup;
    struct session_list *asked = &client->login->asked;
    bool ok = true;
    session_list_finish(asked);
    for (int i = 0; ok && i < others->count; i++)
        ok = session_list_set(asked, others->items[i].name, others->items[i].value);
    for (int i = 0; ok && i < client->wanted.count; i++) {
        const struct wanted_parameter *item = &client->wanted.items[i];
        if (strcmp(names->names[item->slot], "application_name") != 0)
            ok = session_list_set(asked, names->names[item->slot], item->value);
    }
    return ok;
}

/* Of what is asked for in this pool. False: no memory. */
static bool make_key(struct client *client)
{
    const struct session_list *asked = &client->login->asked;
    uint64_t epoch = atomic_load_explicit(&client->pool->epoch, memory_order_relaxed);
    struct bytes key;
    bytes_init(&key, TEXT_MAX);
    bytes_put(&key, &client->pool->number, sizeof(client->pool->number));
    bytes_put(&key, &epoch, sizeof(epoch));
    bytes_put(&key, &client->login->startup.count, sizeof(client->login->startup.count));
    for (int i = 0; i < asked->count; i++) {
        bytes_string(&key, asked->items[i].name);
        bytes_string(&key, asked->items[i].value);
    }
    client->login->trial_key = digest128(key.data, key.size);
    bool ok = bytes_ok(&key);
    bytes_finish(&key);
    return ok;
}

static bool adopt(struct client *client, const struct startup_finding *finding)
{
    const struct parameter_names *names = client->set->shared->parameter_names;
    client->startup_profile = session_profile_acquire(finding->profile);
    client->profile = session_profile_acquire(finding->profile);
    for (int i = 0; i < finding->tracked.count; i++) {
        const struct session_setting *setting = &finding->tracked.items[i];
        int slot = parameter_slot(names, setting->name);
        if (slot >= 0 && !wanted_parameters_set(&client->wanted, slot, setting->value))
            return false;
    }
    client->login->has_passed = true;
    return true;
}

/* The trial has filled client->login->tried. */
static struct startup_finding *remember(struct client *client)
{
    struct startup_findings *findings = &client->set->findings;
    struct startup_finding *finding = memory_zalloc(sizeof(*finding));
    struct session_list others = {0}, *tried = &client->login->tried;
    bool ok = finding != NULL;
    for (int i = 0; ok && i < tried->count; i++) {
        ok = session_list_set(i < client->login->startup.count ? &others : &finding->tracked,
                              tried->items[i].name, tried->items[i].value);
    }
    ok = ok && session_profile_create(&others, NULL, &finding->profile);
    session_list_finish(&others);
    if (!ok) {
        if (finding)
            session_list_finish(&finding->tracked);
        memory_free(finding);
        return NULL;
    }
    if (findings->count >= REMEMBERED_MAX)
        startup_findings_finish(findings);
    finding->key = client->login->trial_key;
    HASH_ADD(hh, findings->by_key, key, sizeof(finding->key), finding);
    findings->count++;
    return finding;
}

/* -- the trial
 * -------------------------------------------------------------------------------------------------
 */

static void no_memory(struct client *client)
{
    client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
}

static void put_trial(const struct client *client, struct bytes *out)
{
    const struct session_list *asked = &client->login->asked;
    const char *separator = "SELECT ";
    build_query(out, SESSION_BEGIN);
    size_t mark = message_begin(out, 'Q');
    bytes_text(out, "SET LOCAL statement_timeout = 0; RESET SESSION AUTHORIZATION; RESET ROLE; ");
    for (int i = 0; i < asked->count; i++, separator = ", ") {
        bytes_text(out, separator);
        session_put_set_config(out, asked->items[i].name, asked->items[i].value, true);
    }
    bytes_u8(out, 0);
    message_end(out, mark);
    build_query(out, "ROLLBACK");
}

/* One column for each setting, in their order. */
static void row(struct server *server, struct span body)
{
    struct client *client = server->owner;
    const struct session_list *asked = &client->login->asked;
    bool ok = true;
    for (int i = 0; ok && i < asked->count; i++) {
        char value[SESSION_VALUE_MAX + 1];
        struct span there;
        ok = data_row_column(body, (unsigned)i, &there) && there.data &&
             there.size <= SESSION_VALUE_MAX;
        if (!ok)
            break;
        memcpy(value, there.data, there.size);
        value[there.size] = '\0';
        ok = session_list_set(&client->login->tried, asked->items[i].name, value);
    }
    if (!ok)
        session_list_finish(&client->login->tried);
}

static void is_over(struct client *client, struct server *server)
{
    bool failed = server->ledger.error_in_swallowed;
    struct error why = server->swallowed_error;
    struct startup_finding *finding = NULL;
    client->server = NULL;
    server->ledger.error_in_swallowed = false;
    server_detach(server, false, "client disconnect while server was not ready");
    if (failed)
        client_refuse(client, &why);
    else if (client->login->tried.count == 0 || !(finding = remember(client)) ||
             !adopt(client, finding))
        no_memory(client);
    else
        welcome_go_on(client);
}

static void ready(struct server *server, bool ours)
{
    (void)ours;
    if (ledger_is_empty(&server->ledger))
        is_over(server->owner, server);
}

static void progress(struct server *server)
{
    (void)server;
}

static void parameter(struct server *server, int slot, bool asked)
{
    (void)server;
    (void)slot;
    (void)asked;
}

/* A server that died while it was idle says nothing of the settings. */
static void gone(struct server *server, const struct error *why, bool told)
{
    struct client *client = server->owner;
    (void)told;
    client->server = NULL;
    ledger_abandon(&server->ledger);
    if (client->state == CLIENT_CLOSED)
        return;
    if (client->login->tries < TRIES_MAX)
        welcome_go_on(client);
    else
        client_refuse(client, why);
}

static const struct server_events trial_events = {
    .ready = ready,
    .row = row,
    .progress = progress,
    .forgot_statements = progress,
    .parameter = parameter,
    .gone = gone,
};

/* False: that server was dead. */
static bool begin(struct client *client, struct server *server)
{
    struct bytes out;
    if (!server_attach(server, &trial_events, client, NULL, NULL))
        return false;
    client->server = server;
    client->login->tries++;
    session_list_finish(&client->login->tried);
    bytes_init(&out, TEXT_MAX);
    put_trial(client, &out);
    bool ok = bytes_ok(&out) && stream_put(&server->stream, out.data, out.size);
    bytes_finish(&out);
    if (!ok) {
        server->must_close = true;
        no_memory(client);
        return true;
    }
    for (int i = 0; i < 3; i++)
        ledger_expect(&server->ledger, LEDGER_QUERY, LEDGER_SWALLOW, 0, NULL);
    return true;
}

static void ask_for_server(struct client *client);

static void granted(struct pool_waiter *waiter, struct pool_member *member)
{
    struct client *client = client_of_waiter(waiter);
    struct server *server = server_of_member(member);
    pool_waiter_done(waiter);
    if (client->state == CLIENT_CLOSED) {
        server_release(server);
        client_free_if_closed(client);
    } else if (!begin(client, server)) {
        ask_for_server(client);
    }
}

static void ask_for_server(struct client *client)
{
    struct client_set *set = client->set;
    struct pool_member *member = NULL;
    struct pool_advice advice = {.order = POOL_NOTHING};
    struct error error;
    client->waiter.granted = granted;
    client->waiter.refused = attach_refused;
    for (;;) {
        switch (pool_acquire(client->pool, set->worker, &client->waiter, loop_now(set->loop),
                             &member, &advice, &error)) {
        case POOL_GOT:
            if (begin(client, server_of_member(member)))
                return;
            continue; /* that one was dead: the next */
        case POOL_WAIT:
            server_follow(set->servers, &advice); /* may fail at once, and end the client */
            return;
        case POOL_REFUSED:
            client_refuse(client, &error);
            return;
        }
    }
}

bool startup_trial_passed(struct client *client)
{
    struct startup_finding *finding;
    if (client->login->has_passed || !client->login->follows)
        return true;
    if (!gather(client) || !make_key(client)) {
        no_memory(client);
        return false;
    }
    if (client->login->asked.count == 0)
        return true;
    HASH_FIND(hh, client->set->findings.by_key, &client->login->trial_key,
              sizeof(client->login->trial_key), finding);
    if (!finding) {
        ask_for_server(client);
        return false;
    }
    if (adopt(client, finding))
        return true;
    no_memory(client);
    return false;
}
