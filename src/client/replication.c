/* Replication connections (COMPAT 9.8): the client has a server of its own from its login to its
 * end, opened with the parameters that it sent, and no pool ever sees that server again. */
#include <stdio.h>

#include "base/memory.h"
#include "client_private.h"
#include "server/dedicated.h"
#include "startup_parameters.h"

struct client_replication {
    struct server_dedicated dedicated;
    struct client *client;
    enum startup_replication kind;
    char *options; /* NULL: none */
};

static struct client_replication *of_dedicated(struct server_dedicated *dedicated)
{
    return (struct client_replication *)((char *)dedicated -
                                         offsetof(struct client_replication, dedicated));
}

bool replication_begin(struct client *client, const struct startup_choice *choice)
{
    struct client_replication *replication = memory_zalloc(sizeof(*replication));
    if (replication == NULL)
        return false;
    client->replication = replication;
    replication->client = client;
    replication->kind = choice->replication;
    replication->dedicated.is_physical = choice->replication == REPLICATION_YES;
    if (choice->options == NULL)
        return true;
    replication->options = memory_strdup(choice->options);
    return replication->options != NULL;
}

bool replication_is_physical(const struct client *client)
{
    return client->replication != NULL && client->replication->kind == REPLICATION_YES;
}

const char *replication_name(const struct client *client)
{
    if (client->replication == NULL)
        return "none";
    return client->replication->kind == REPLICATION_YES ? "physical" : "logical";
}

/* ---- the server ---- */

static void add(struct server_dedicated *dedicated, const char *name, const char *value)
{
    if (value != NULL)
        dedicated->parameters[dedicated->parameter_count++] =
            (struct startup_parameter){name, value};
}

/* Its settings cannot follow it by SQL, which a physical replication does not understand. */
static void choose_parameters(struct client_replication *replication)
{
    struct server_dedicated *dedicated = &replication->dedicated;
    const struct client *client = replication->client;
    const struct parameter_names *names = client->set->shared->parameter_names;
    _Static_assert(PARAMETER_SLOTS + SESSION_SETTINGS_MAX + 2 <= DEDICATED_PARAMETERS_MAX,
                   "they fit");

    dedicated->parameter_count = 0;
    for (int slot = 0; slot < names->count; slot++)
        if (names->tracked[slot])
            add(dedicated, names->names[slot], wanted_parameters_get(&client->wanted, slot));
    for (int i = 0; i < client->login->startup.count; i++)
        add(dedicated, client->login->startup.items[i].name, client->login->startup.items[i].value);
    add(dedicated, "options", replication->options);
    add(dedicated, "replication", replication->kind == REPLICATION_YES ? "true" : "database");
}

static void granted(struct server_dedicated *dedicated, struct server *server)
{
    struct client *client = of_dedicated(dedicated)->client;
    struct pool_welcome *welcome = dedicated->welcome;

    dedicated->welcome = NULL;
    if (!attach_dedicated(client, server)) { /* it has died since: another */
        pool_welcome_release(welcome);
        server_dedicated_ask(dedicated);
    } else if (welcome != NULL) {
        welcome_dedicated(client, welcome);
    } else {
        client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    }
}

static void refused(struct server_dedicated *dedicated, const struct error *why)
{
    client_refuse(of_dedicated(dedicated)->client, why);
}

void replication_ask(struct client *client)
{
    struct client_replication *replication = client->replication;

    replication->dedicated.set = client->set->servers;
    replication->dedicated.pool = client->pool;
    replication->dedicated.granted = granted;
    replication->dedicated.refused = refused;
    choose_parameters(replication);
    server_dedicated_ask(&replication->dedicated);
}

/* ---- the end ---- */

void replication_leave(struct client *client)
{
    struct server *server = client->server;

    if (client->replication->dedicated.set != NULL)
        server_dedicated_leave(&client->replication->dedicated);
    if (server == NULL)
        return;
    /* A stream ends with its connection; SQL would run on. */
    if (!client->said_terminate && !server->ledger.copy_both &&
        ledger_head_is_clients(&server->ledger))
        server_cancel(server, (struct server_cancel_request){.is_last = true});
    server_close(server, "replication client disconnected", NULL);
}

void replication_finish(struct client *client)
{
    if (client->replication == NULL)
        return;
    memory_free(client->replication->options);
    memory_free(client->replication);
    client->replication = NULL;
}
