/* By which method a client must prove who it is: auth_type, or the first rule that fits (COMPAT
 * 4.2, 4.4), and certificates (4.7). Rules look at names and addresses alone, so that known and
 * unknown users are asked the same; whether a user must be known is settled behind them. */
#include <string.h>

#include "client_private.h"

#define CERTIFICATE_FAILED "certificate authentication failed"

static bool refuse(struct client *client, const char *text)
{
    client_refuse_text(client, SQLSTATE_INVALID_AUTHORIZATION, text);
    return false;
}

bool login_rules_enter(struct client *client)
{
    const struct client_login *login = client->login;
    const char *refusal = login->unknown_refusal;

    if ((login->is_outside || login->has_no_route) && login->method == LOGIN_NOTHING_ASKED) {
        notice_outside(client);
        login_failed(client, "password authentication failed");
        return false;
    }
    if (refusal == NULL || (client->user != NULL && client->user->is_known))
        return true;
    notice_no_such_user(client);
    return refuse(client, refusal);
}

static bool ask(struct client *client, enum login_method method)
{
    client->login->method = method;
    return true;
}

/* False: it has gone. */
static bool find_address(struct client *client, struct address *address)
{
    if (client_address(client, address))
        return true;
    client_close(client, "client unexpected eof");
    return false;
}

bool login_rules_look_at_address(struct client *client)
{
    const struct database_entry *database =
        config_peek_database(client->set->config, client->database_name);
    const struct address_list *of_database = database != NULL ? database->allow_from : NULL;
    const struct address_list *of_user = client->user != NULL ? client->user->allow_from : NULL;
    struct address address;

    if (of_database == NULL && of_user == NULL)
        return true;
    if (!find_address(client, &address))
        return false;
    client->login->is_outside =
        !address_list_allows(of_database, &address.u) || !address_list_allows(of_user, &address.u);
    return true;
}

/* ---- certificates ---- */

static bool refuse_certificate(struct client *client, const char *why)
{
    notice_text(client, LOG_ERROR, why);
    return refuse(client, CERTIFICATE_FAILED);
}

static bool certificate_is_called(const void *argument, const char *name)
{
    const struct client *client = argument;

    return stream_tls_peer_is(&client->stream, name);
}

static bool is_mapped(const struct client *client, const char *map)
{
    char name[256];
    bool has_name = stream_tls_peer_name(&client->stream, name, sizeof(name));
    const struct ident_peer peer = {
        .name = has_name ? name : NULL, .is_called = certificate_is_called, .argument = client};

    return ident_match(hba_ident(client->set->config->hba), map, &peer, client->user_name);
}

/* The client has shown a certificate, and, if `is_named`, one whose name is the user's. */
static bool check_certificate(struct client *client, bool is_named, const char *map)
{
    if (!stream_is_tls(&client->stream))
        return refuse_certificate(client, "TLS connection required");
    if (!stream_tls_has_peer(&client->stream))
        return refuse_certificate(client, "TLS client certificate required");
    if (map != NULL)
        return is_mapped(client, map) ||
               refuse_certificate(client, "ident map: the certificate does not have a match");
    return !is_named || stream_tls_peer_is(&client->stream, client->user_name) ||
           refuse_certificate(client, "TLS certificate name mismatch");
}

static bool enter_by_certificate(struct client *client, const char *map)
{
    client->login->unknown_refusal = CERTIFICATE_FAILED;
    return check_certificate(client, true, map) && ask(client, LOGIN_NOTHING_ASKED);
}

/* ---- passthrough ---- */

/* The console has no server to ask (THREATS §2.13). */
static bool enter_by_passthrough(struct client *client)
{
    if (client->login->is_console)
        return ask(client, LOGIN_SCRAM);
    return login_passthrough_is_safe(client)
               ? ask(client, LOGIN_PASSTHROUGH)
               : refuse(client, "passthrough authentication takes passwords over TLS only: connect "
                                "with sslmode=require or better");
}

/* ---- rules ---- */

static bool enter_by_trust(struct client *client)
{
    client->login->unknown_refusal = "\"trust\" authentication failed";
    return ask(client, LOGIN_NOTHING_ASKED);
}

static bool follow(struct client *client, const struct hba_verdict *verdict)
{
    bool is_named = verdict->certificate == HBA_CERTIFICATE_NAMED;

    if (verdict->certificate != HBA_CERTIFICATE_ANY && !check_certificate(client, is_named, NULL))
        return false;
    switch (verdict->method) {
    case HBA_TRUST:
        return enter_by_trust(client);
    case HBA_REJECT:
        return refuse(client, "login rejected");
    case HBA_PASSWORD:
        return ask(client, LOGIN_CLEARTEXT);
    case HBA_MD5:
        return ask(client, LOGIN_MD5);
    case HBA_SCRAM_SHA_256:
        return ask(client, LOGIN_SCRAM);
    case HBA_CERT:
        return enter_by_certificate(client, verdict->map);
    case HBA_PASSTHROUGH:
        return enter_by_passthrough(client);
    }
    return false;
}

/* auth_type=hba by SET has no rules until a reload: nobody comes in (COMPAT 5.4). */
static bool choose_by_rules(struct client *client)
{
    const struct hba *hba = client->set->config->hba;
    struct hba_verdict verdict;
    struct address address;
    const struct hba_request request = {
        .database = client->database_name,
        .user = client->user_name,
        .is_tls = stream_is_tls(&client_carrier(client)->stream),
        .is_physical_replication = replication_is_physical(client),
        .address = &address.u,
        .is_proxied = client_carrier(client)->real_address != NULL,
    };

    if (!find_address(client, &address))
        return false;
    if (hba == NULL || !hba_match(hba, &request, &verdict))
        return refuse(client, "no authentication method is found");
    return follow(client, &verdict);
}

static bool choose(struct client *client)
{
    switch (listener_auth(client->listener, &client->set->config->settings)) {
    case AUTH_ANY:
        return ask(client, LOGIN_NOTHING_ASKED);
    case AUTH_TRUST:
        return enter_by_trust(client);
    case AUTH_PLAIN:
        return ask(client, LOGIN_CLEARTEXT);
    case AUTH_MD5:
        return ask(client, LOGIN_MD5);
    case AUTH_SCRAM_SHA_256:
        return ask(client, LOGIN_SCRAM);
    case AUTH_CERT:
        return enter_by_certificate(client, NULL);
    case AUTH_PASSTHROUGH:
        return enter_by_passthrough(client);
    case AUTH_HBA:
        return choose_by_rules(client);
    case AUTH_LDAP:
    case AUTH_PAM:
        break;
    }
    notice_text(client, LOG_ERROR, "this auth_type is not supported yet");
    return refuse(client, "bouncer config error");
}

/* Over HTTP and WebSocket there is one flight, with the password in it: whatever secret is stored,
 * it is checked against that (THREATS §2.10), and nobody comes in without one (§2.12). */
static bool ask_for_password(struct client *client)
{
    struct client_login *login = client->login;

    if (login->method == LOGIN_NOTHING_ASKED) {
        notice_text(client, LOG_WARNING,
                    "over HTTP and WebSocket nobody comes in without a password");
        return refuse(client, "a login without a password is not possible here");
    }
    if (login->method == LOGIN_MD5 || login->method == LOGIN_SCRAM)
        login->method = LOGIN_CLEARTEXT;
    return true;
}

bool login_rules_choose(struct client *client)
{
    return choose(client) && (!client->login->is_inside || ask_for_password(client));
}
