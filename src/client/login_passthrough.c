/* auth_type=passthrough: the server decides about the password that a client sends (THREATS §2.3).
 */
#include <stdio.h>

#include "base/memory.h"
#include "base/random.h"
#include "client/passthrough.h"
#include "client_private.h"

/* In what is made up for a database that nobody has. */
#define NO_PASSWORD_BYTES 16

bool login_passthrough_is_safe(const struct client *client)
{
    return stream_is_tls(&client->stream) || client->stream.is_local;
}

/* /32 and /64, as elsewhere. */
static uint64_t origin_of(const struct client *client)
{
    struct address address;

    if (!address_of_peer(&address, client->stream.fd))
        return 0;
    switch (address.u.any.sa_family) {
    case AF_INET:
        return digest64(&address.u.v4.sin_addr, 4);
    case AF_INET6:
        return digest64(&address.u.v6.sin6_addr, 8);
    default:
        return 0;
    }
}

static void find_any(struct database_entry *database, void *argument)
{
    const char **name = argument;

    if (*name == NULL && !database->is_console)
        *name = database->name;
}

static struct passthrough_subject subject_of(const struct client *client, const char *password)
{
    const struct database_entry *database =
        config_peek_database(client->set->config, client->database_name);

    return (struct passthrough_subject){
        .database = client->database_name,
        .asked_at = client->database_name,
        .user = client->user_name,
        .server_name = client->server_user != NULL                  ? client->server_user
                       : database != NULL && database->user != NULL ? database->user
                                                                    : client->user_name,
        .password = password,
        .origin = origin_of(client),
    };
}

/* ---- what came of it ---- */

/* The server's words say more than a stranger may hear. */
static void conclude_wrong(struct client *client, const struct error *error)
{
    char text[256];

    snprintf(text, sizeof(text), "passthrough: the server says: %.200s", error->message);
    if (error->message[0] != '\0')
        notice_text(client, LOG_WARNING, text);
    login_methods_conclude(client, false);
}

/* The servers of its pool log in with the password that was right. */
static void conclude_right(struct client *client, bool is_fresh)
{
    struct client_login *login = client->login;
    const char *password = login_methods_password(client);
    struct user_entry *known = config_find_user(client->set->config, client->user_name);
    struct user_entry *user =
        password != NULL ? user_with_password(known, client->user_name, password) : NULL;

    user_release(known);
    if (user == NULL) {
        client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return;
    }
    user_release(client->user);
    client->user = user;
    login->password_is_fresh = is_fresh;
    login_methods_conclude(client, true);
}

static void answered(void *argument, enum probe_verdict verdict, const struct error *error)
{
    struct client *client = argument;

    client->login->passthrough = NULL;
    if (client->login->must_fail && verdict == PROBE_RIGHT)
        verdict = PROBE_WRONG;
    switch (verdict) {
    case PROBE_RIGHT:
        conclude_right(client, true);
        break;
    case PROBE_WRONG:
        conclude_wrong(client, error);
        break;
    case PROBE_UNPROVED:
    case PROBE_REFUSED:
    case PROBE_NOT_REACHED:
        client_refuse(client, error);
        break;
    }
}

/* ---- asking ---- */

static void ask(struct client *client, const struct passthrough_subject *subject)
{
    struct client_login *login = client->login;

    login->step = LOGIN_HELPER;
    login->passthrough = passthrough_ask(client->set, subject, answered, client);
    if (login->passthrough == NULL)
        client_refuse_text(client, SQLSTATE_TOO_MANY_CONNECTIONS,
                           "too many passwords are being checked");
}

/* The server is asked with a password that nobody has, so that it looks like a wrong one, also by
 * its time. NULL: there is no server at all. */
static void ask_in_vain(struct client *client, struct passthrough_subject *subject,
                        const char *asked_at)
{
    uint8_t noise[NO_PASSWORD_BYTES];
    char password[2 * NO_PASSWORD_BYTES + 1];

    client->login->must_fail = true;
    if (asked_at == NULL) {
        login_methods_conclude(client, false);
        return;
    }
    random_bytes(noise, sizeof(noise));
    for (size_t i = 0; i < sizeof(noise); i++)
        snprintf(password + 2 * i, 3, "%02x", noise[i]);
    subject->asked_at = asked_at;
    subject->password = password;
    ask(client, subject);
}

void login_passthrough_take(struct client *client, const char *password)
{
    const struct client_set *set = client->set;
    struct passthrough_subject subject = subject_of(client, password);
    const struct password_cache_subject key = passthrough_key(&subject);
    const char *another = NULL;

    if (config_peek_database(set->config, client->database_name) == NULL) {
        config_each_database(set->config, find_any, &another);
        ask_in_vain(client, &subject, another);
    } else if (client->login->is_outside) {
        notice_outside(client);
        ask_in_vain(client, &subject, client->database_name);
    } else if (password_cache_has(set->servers->password_cache, &key,
                                  set->config->settings.auth_cache_ttl, loop_now(set->loop))) {
        conclude_right(client, false);
    } else {
        ask(client, &subject);
    }
}
