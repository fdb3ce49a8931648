/* Cleartext passwords that were right a moment ago are not run through PBKDF2 again (THREATS §2.4).
 */
#include "auth/client_keys.h"
#include "base/memory.h"
#include "client_private.h"

/* A console user proves itself each time. */
static bool may_remember(const struct client *client)
{
    return !client->login->is_console && !client->login->must_fail && client->user != NULL &&
           client->user->secret.kind == AUTH_SECRET_SCRAM &&
           client->set->config->settings.auth_cache_ttl > 0;
}

/* The user that its database forces upon servers, or its own. */
static const char *server_name_of(const struct client *client, bool *is_forced)
{
    const struct database_entry *database =
        config_peek_database(client->set->config, client->database_name);

    *is_forced = client->server_user != NULL || (database != NULL && database->user != NULL);
    if (client->server_user != NULL)
        return client->server_user;
    return *is_forced ? database->user : client->user_name;
}

static struct password_cache_subject subject_of(const struct client *client, const char *password,
                                                bool *is_forced)
{
    return (struct password_cache_subject){
        .database = client->database_name,
        .login_name = client->user_name,
        .server_name = server_name_of(client, is_forced),
        .method = "cleartext",
        .verifier = client->user->secret.text,
        .password = password,
    };
}

/* Its servers log in with the key that a whole check brings to light (COMPAT 4.6): a login that
 * would leave them without it is checked again. */
static bool servers_have_key(const struct client *client)
{
    uint8_t client_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
    const struct client_keys_owner owner = {
        .database = client->database_name,
        .login_name = client->user_name,
        .server_name = client->user_name,
        .verifier = client->user->secret.text,
    };
    bool have = client_keys_get(client->set->servers->client_keys, &owner, client_key, server_key);

    memory_wipe(client_key, sizeof(client_key));
    memory_wipe(server_key, sizeof(server_key));
    return have;
}

bool login_is_remembered(const struct client *client, const char *password)
{
    const struct client_set *set = client->set;
    bool is_forced;

    if (!may_remember(client))
        return false;
    const struct password_cache_subject subject = subject_of(client, password, &is_forced);
    return password_cache_has(set->servers->password_cache, &subject,
                              set->config->settings.auth_cache_ttl, loop_now(set->loop)) &&
           (is_forced || servers_have_key(client));
}

void login_remember(const struct client *client, const char *password, uint64_t era)
{
    const struct client_set *set = client->set;
    bool is_forced;

    if (!may_remember(client))
        return;
    const struct password_cache_subject subject = subject_of(client, password, &is_forced);
    password_cache_put(set->servers->password_cache, &subject,
                       (size_t)set->config->settings.auth_cache_size, era, loop_now(set->loop));
}
