/* Which entry of [databases] a client gets, where [routes] decides (THREATS §2.1, §2.2): by the
 * host name that it asked for, its user, its database and its listener. It is proved by the name
 * that it has sent. For whom no line fits, the login goes on as for everybody, and fails at its
 * end. */
#include <string.h>

#include "base/memory.h"
#include "client_private.h"
#include "config/routes.h"

static bool refuse_memory(struct client *client)
{
    client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    return false;
}

static void note_no_route(struct client *client, const struct route_question *question)
{
    static struct log_limit limit;
    uint32_t held_back;

    client->login->has_no_route = true;
    if (log_allow(&limit, 10, &held_back))
        log_warning(&client->subject,
                    "no line of [routes] fits: host=%.100s endpoint=%.63s user=%.63s db=%.63s "
                    "listener=%s",
                    question->sni != NULL ? question->sni : "(none)",
                    question->endpoint != NULL ? question->endpoint : "(none)", question->user,
                    question->database, question->listener);
}

static bool follow(struct client *client, const struct route_answer *answer)
{
    char *database = memory_strdup(answer->database);

    if (database == NULL)
        return refuse_memory(client);
    memory_free(client->database_name);
    client->database_name = database;
    client->route_mode = answer->pool_mode;
    if (answer->user[0] != '\0') {
        client->server_user = memory_strdup(answer->user);
        if (client->server_user == NULL)
            return refuse_memory(client);
    }
    atomic_fetch_add_explicit(&answer->route->taken, 1, memory_order_relaxed);
    return true;
}

bool route_client(struct client *client, const char *endpoint)
{
    const struct config *config = client->set->config;
    const char *host = client->asked_host;
    char sni[256];

    /* Over HTTP the host of SNI is the gateway's, and the connection string has the database's. */
    if (client->carrier == NULL && stream_tls_server_name(&client->stream, sni, sizeof(sni)))
        host = sni;
    const struct route_question question = {
        .listener = client->listener->name,
        .sni = host != NULL && host[0] != '\0' ? host : NULL,
        .endpoint = endpoint[0] != '\0' ? endpoint : NULL,
        .user = client->user_name,
        .database = client->database_name,
    };
    struct route_answer answer;
    struct error error;

    if (config->route_count == 0 || client->login->is_console)
        return true;
    if (!route_is_consistent(&question, &error)) {
        client_refuse(client, &error);
        return false;
    }
    if (route_find(config, &question, &answer, NULL))
        return follow(client, &answer);
    note_no_route(client, &question);
    return true;
}
