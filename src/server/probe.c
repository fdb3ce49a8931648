#include "server/probe.h"

#include <string.h>

#include "base/memory.h"
#include "login_private.h"

static void answer(struct server_probe *probe, const struct error *error)
{
    struct error why = *error;

    probe->answer(probe->argument, probe->verdict, &why);
    memory_free_secret(probe->password);
    memory_free(probe);
}

/* ---- what the login makes of it ---- */

bool server_probe_secret(const struct server_probe *probe, struct auth_secret *secret)
{
    return auth_secret_set_plain(secret, probe->password);
}

void server_probe_failed(struct server *server, enum pool_failure failure)
{
    const struct server_login *login = server->login;
    struct server_probe *probe = server->probe;

    if (failure == POOL_FAILURE_PASSING || login == NULL)
        probe->verdict = PROBE_NOT_REACHED;
    else if (!login->server_said_no)
        probe->verdict = PROBE_UNPROVED;
    else if (failure == POOL_FAILURE_LOGIN && !login->was_let_in)
        probe->verdict = PROBE_WRONG;
    else
        probe->verdict = PROBE_REFUSED;
}

void server_probe_opened(struct server *server)
{
    server->probe->verdict = PROBE_RIGHT;
    server_close(server, "its password was checked", NULL);
}

void server_probe_lost(struct server *server, const struct error *why)
{
    struct server_probe *probe = server->probe;

    server->probe = NULL;
    answer(probe, why);
}

/* ---- asking ---- */

static struct server_probe *make(const struct probe_request *request)
{
    struct server_probe *probe = memory_zalloc(sizeof(*probe));

    if (probe == NULL)
        return NULL;
    probe->verdict = PROBE_NOT_REACHED;
    probe->answer = request->answer;
    probe->argument = request->argument;
    probe->password = memory_strdup(request->password);
    if (probe->password != NULL)
        return probe;
    memory_free(probe);
    return NULL;
}

void probe_start(struct server_set *set, const struct probe_request *request)
{
    static const struct error no_memory = {SQLSTATE_OUT_OF_MEMORY, "out of memory", ""};
    struct server_probe *probe = set->is_shutting_down ? NULL : make(request);

    if (probe == NULL)
        request->answer(request->argument, PROBE_NOT_REACHED, &no_memory);
    else if (!server_open_probe(set, request->pool, probe))
        answer(probe, &no_memory);
}
