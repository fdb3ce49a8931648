/* Statement mode: a transaction that is left open is rolled back, its client is told and lives
 * (COMPAT 9.5, 10). PostgreSQL, too, may report an error behind a CommandComplete: of a later
 * statement of the same Query, or of a Sync whose commit fails. */
#include "client_private.h"
#include "wire/build.h"

static const char refusal[] = "transaction blocks not allowed in statement pooling mode";

/* A block that has failed has told its client already. */
static bool tell(struct client *client, const struct ledger *ledger)
{
    struct error error;

    notice_pooler_error(client, refusal);
    if (ledger->status == 'E')
        return true;
    error_set(&error, SQLSTATE_FEATURE_NOT_SUPPORTED, "%s", refusal);
    return notice_error(client, "ERROR", &error);
}

static bool no_memory(struct client *client)
{
    client->server->must_close = true;
    client_close(client, "out of memory");
    return false;
}

void statement_mode_refuse(struct client *client)
{
    struct server *server = client->server;

    if (!tell(client, &server->ledger))
        no_memory(client);
    else if (attach_ask(client, "ROLLBACK"))
        client->awaits_rollback = true;
}

bool statement_mode_rolled_back(struct client *client)
{
    struct server *server = client->server;
    uint8_t memory[BUFFER_SIZE];
    struct bytes out = bytes_over(memory, sizeof(memory));

    client->awaits_rollback = false;
    if (server->ledger.error_in_swallowed || server->ledger.status != 'I') {
        server->must_close = true;
        client_refuse(client, &server->swallowed_error);
        return false;
    }
    told_parameters_update(&client->told, &server->parameters, client->set->shared->parameter_names,
                           &out);
    build_ready_for_query(&out, 'I');
    if (!bytes_ok(&out) || !stream_put(&client->stream, out.data, out.size))
        return no_memory(client);
    return true;
}
