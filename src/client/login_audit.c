/* Logins in the audit: who, from where, by what, and what came of it (THREATS §5.3). */
#include <string.h>

#include "base/audit.h"
#include "client_private.h"

static const char *method_of(const struct client_login *login)
{
    switch (login->method) {
    case LOGIN_NOTHING_ASKED:
        return "none";
    case LOGIN_CLEARTEXT:
        return "password";
    case LOGIN_PASSTHROUGH:
        return "passthrough";
    case LOGIN_MD5:
        return "md5";
    case LOGIN_SCRAM:
        return login->scram.is_plus ? SCRAM_MECHANISM_PLUS : SCRAM_MECHANISM;
    }
    return NULL;
}

/* Where its secret came from; NULL: it has none. */
static const char *source_of(const struct client *client)
{
    if (client->user == NULL || !client->user->is_known)
        return NULL;
    return client->user->is_proven ? "auth_query" : "auth_file";
}

static void put_tls(struct audit_line *line, const struct client *client)
{
    const struct stream *stream = &client_carrier(client)->stream;
    char text[AUDIT_TEXT_MAX];

    if (!stream_is_tls(stream))
        return;
    stream_tls_text(stream, text, sizeof(text));
    audit_text(line, "tls", text);
    if (stream_tls_peer_fingerprint(stream, text, sizeof(text)))
        audit_text(line, "certificate", text);
}

static void begin(struct audit_line *line, const struct client *client, const char *outcome)
{
    audit_begin(line, "login");
    audit_text(line, "outcome", outcome);
    audit_text(line, "database", client->database_name);
    audit_text(line, "user", client->user_name);
    audit_text(line, "address", client->login->address);
    audit_text(line, "listener", client->listener->name);
    put_tls(line, client);
}

void login_audit_accepted(const struct client *client)
{
    struct audit_line line;

    if (!audit_enabled())
        return;
    begin(&line, client, "accepted");
    audit_text(&line, "method",
               client->is_admin && client->user == NULL ? "own user" : method_of(client->login));
    audit_text(&line, "secret", source_of(client));
    audit_send(&line);
}

void login_audit_refused(const struct client *client, const struct error *error)
{
    struct audit_line line;

    if (client->login == NULL || client->user_name == NULL || !audit_enabled())
        return;
    begin(&line, client, "refused");
    audit_text(&line, "method", method_of(client->login));
    audit_text(&line, "sqlstate", error->sqlstate);
    audit_text(&line, "cause",
               client->login->cause != NULL ? client->login->cause : error->message);
    audit_send(&line);
}

void login_audit_breaker(const struct client *client)
{
    struct audit_line line;

    if (!audit_enabled())
        return;
    audit_begin(&line, "breaker");
    audit_text(&line, "database", client->database_name);
    audit_text(&line, "user", client->user_name);
    audit_text(&line, "address", client->login->address);
    audit_send(&line);
}
