/* How pgweir proves to a server who it is: cleartext, md5, SCRAM (COMPAT 4.6, THREATS §3.3). PBKDF2
 * runs on a helper thread, never on the loop. */
#include <stdio.h>
#include <string.h>

#include "auth/client_keys.h"
#include "auth/require_auth.h"
#include "base/digest.h"
#include "base/memory.h"
#include "login_private.h"
#include "wire/answer.h"
#include "wire/build.h"

static bool wrong_type(struct server_login *login, const char *log_text)
{
    struct error error;
    log_error(&login->server->subject, "%s", log_text);
    error_set(&error, SQLSTATE_PROTOCOL_VIOLATION, "server login failed: wrong password type");
    return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
}

static bool no_secret(struct server_login *login)
{
    struct error error;
    error_set(
        &error, SQLSTATE_INVALID_PASSWORD,
        "server login failed: the server asks for a password of user \"%s\" and none is stored",
        login->server->member.pool->user_name);
    return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
}

/* In clear only where nobody can listen, and to a server that has shown its certificate. */
static bool may_send_cleartext(const struct server *server)
{
    if (address_is_loopback(&server->address))
        return true;
    return stream_is_tls(&server->stream) && tls_context_mode(server->tls) >= TLS_VERIFY_CA;
}

static bool answer_cleartext(struct server_login *login)
{
    struct bytes out;
    struct error error;
    if (!may_send_cleartext(login->server)) {
        error_set(
            &error, SQLSTATE_INVALID_AUTHORIZATION,
            "server login failed: the server asks for the password in clear over a connection "
            "that is not verified TLS");
        return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
    }
    /* What is stored is not the password, and would let in whoever reads it. */
    if (login->secret.kind != AUTH_SECRET_PLAIN)
        return wrong_type(login, "cannot do cleartext authentication: wrong password type");
    bytes_init(&out, AUTH_SECRET_MAX + 16);
    build_password(&out, login->secret.text, strlen(login->secret.text));
    bool ok = login_put(login, &out);
    bytes_finish_secret(&out);
    return ok;
}

static bool answer_md5(struct server_login *login, struct span salt)
{
    char stored[MD5_TEXT_SIZE], answer[MD5_TEXT_SIZE];
    uint8_t memory[64];
    struct bytes out = bytes_over(memory, sizeof(memory));
    if (salt.size != 4)
        return login_fail_text(login, POOL_FAILURE_PASSING, "malformed md5 request");
    if (login->secret.kind == AUTH_SECRET_SCRAM)
        return wrong_type(login, "cannot do MD5 authentication: wrong password type");
    bool ok = login->secret.kind == AUTH_SECRET_MD5
                  ? snprintf(stored, sizeof(stored), "%s", login->secret.text) > 0
                  : md5_stored(login->secret.text, login->server->member.pool->user_name, stored);
    ok = ok && md5_answer(stored, salt.data, answer);
    if (!ok)
        return login_fail_text(login, POOL_FAILURE_PASSING, "no MD5 in this OpenSSL");
    build_password(&out, answer, strlen(answer));
    return login_put(login, &out);
}

/* The keys with which a client of this pool proved itself against the verifier that is the secret
 * here. */
static bool find_client_keys(struct server_login *login)
{
    const struct server *server = login->server;
    const char *name = server->member.pool->user_name;
    const struct client_keys_owner owner = {
        .database = server->database->name,
        .login_name = name,
        .server_name = name,
        .verifier = login->secret.text,
    };
    return client_keys_get(server->set->client_keys, &owner, login->client_key, login->server_key);
}

/* The mechanism, and what it is bound to. NULL: none of the server's will do, which error says. */
static const char *choose_mechanism(struct server_login *login, struct span offered,
                                    struct error *error)
{
    const struct server *server = login->server;
    struct scram_client *scram = &login->scram;
    enum channel_binding mode = server->set->config->settings.server_channel_binding;
    struct scram_binding *binding = &scram->binding;

    binding->size =
        mode == CHANNEL_BINDING_DISABLE ? 0 : stream_tls_end_point(&server->stream, binding->hash);
    if (binding->size > 0 && sasl_mechanisms_have(offered, SCRAM_MECHANISM_PLUS)) {
        scram->gs2 = 'p';
        return SCRAM_MECHANISM_PLUS;
    }
    scram->gs2 = binding->size > 0 ? 'y' : 'n';
    if (mode == CHANNEL_BINDING_REQUIRE) {
        error_set(error, SQLSTATE_INVALID_AUTHORIZATION,
                  "server login failed: server_channel_binding=require, and the server does not "
                  "offer " SCRAM_MECHANISM_PLUS " over this connection");
        return NULL;
    }
    if (sasl_mechanisms_have(offered, SCRAM_MECHANISM))
        return SCRAM_MECHANISM;
    error_set(error, SQLSTATE_INVALID_AUTHORIZATION,
              "server login failed: none of the server's SASL authentication mechanisms are "
              "supported");
    return NULL;
}

static bool start_sasl(struct server_login *login, struct span mechanisms)
{
    uint8_t memory[512];
    struct bytes first = bytes_over(memory, sizeof(memory));
    struct bytes out;
    struct error error;
    const char *mechanism = choose_mechanism(login, mechanisms, &error);
    if (!mechanism)
        return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
    if (login->secret.kind == AUTH_SECRET_MD5)
        return wrong_type(login, "cannot do SCRAM authentication: wrong password type");
    if (login->secret.kind == AUTH_SECRET_SCRAM && !find_client_keys(login))
        return wrong_type(login,
                          "cannot do SCRAM authentication: password is SCRAM secret but client "
                          "authentication did not provide SCRAM keys");
    if (!scram_client_first(&login->scram, &first))
        return login_fail_text(login, POOL_FAILURE_PASSING, "out of memory");
    bytes_init(&out, SCRAM_MESSAGE_MAX);
    build_sasl_initial(&out, mechanism, first.data, first.size);
    login->step = LOGIN_SASL_CONTINUE;
    bool ok = login_put(login, &out);
    bytes_finish(&out);
    return ok;
}

/* Entry, host and user: keys are never used for another. A hash, for all of it may be longer than
 * what the cache takes. */
static struct digest128 identity_of(const struct server *server)
{
    const struct database_entry *database = server->database;
    char text[1024];
    int used =
        snprintf(text, sizeof(text), "%s\n%s\n%s\n%d\n%s", database->name, database->dbname,
                 server->member.pool->user_name, database->port, server->host ? server->host : "");
    return digest128(text, used < 0                      ? 0
                           : (size_t)used < sizeof(text) ? (size_t)used
                                                         : sizeof(text) - 1);
}

static bool send_final(struct server_login *login, const uint8_t client_key[SCRAM_KEY_SIZE],
                       const uint8_t server_key[SCRAM_KEY_SIZE])
{
    struct bytes final, out;
    struct error error;
    bytes_init(&final, SCRAM_MESSAGE_MAX);
    bytes_init(&out, SCRAM_MESSAGE_MAX + 16);
    bool ok = scram_client_final(&login->scram, client_key, server_key, &final, &error);
    if (ok) {
        build_sasl_response(&out, final.data, final.size);
        login->step = LOGIN_SASL_FINAL;
        ok = login_put(login, &out);
    } else {
        login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
    }
    bytes_finish_secret(&final);
    bytes_finish_secret(&out);
    return ok;
}

static void compute_keys(struct offload_job *job)
{
    struct login_keys *keys = (struct login_keys *)((char *)job - offsetof(struct login_keys, job));
    uint8_t salted[SCRAM_KEY_SIZE], stored[SCRAM_KEY_SIZE];
    keys->ok =
        scram_salt_password(keys->password, keys->salt, keys->salt_size, keys->iterations, salted);
    if (keys->ok)
        scram_keys(salted, keys->client_key, stored, keys->server_key);
    memory_wipe(salted, sizeof(salted));
    memory_wipe(stored, sizeof(stored));
}

static void free_keys(struct login_keys *keys)
{
    memory_free_secret(keys->password);
    memory_wipe(keys, sizeof(*keys));
    memory_free(keys);
}

/* The server may have been closed meanwhile. */
static void keys_done(struct offload_job *job, struct loop *loop)
{
    struct login_keys *keys = (struct login_keys *)((char *)job - offsetof(struct login_keys, job));
    struct server *server;
    (void)loop;
    TAILQ_FOREACH (server, &keys->set->servers, link)
        if (server->id == keys->server_id)
            break;
    if (server && server->login && server->login->step == LOGIN_PBKDF2)
        login_keys_ready(server->login, keys);
    free_keys(keys);
}

void login_keys_ready(struct server_login *login, const struct login_keys *keys)
{
    struct server *server = login->server;
    const struct digest128 identity = identity_of(server);
    if (!keys->ok) {
        login_fail_text(login, POOL_FAILURE_PASSING, "out of memory");
        return;
    }
    const struct key_cache_subject subject = {
        .identity = {(const uint8_t *)&identity, sizeof(identity)},
        .salt = {login->scram.salt, login->scram.salt_size},
        .iterations = login->scram.iterations,
        .password = login->secret.text,
    };
    if (!server->probe) /* nobody knows yet whether it is right */
        key_cache_put(server->set->key_cache, &subject, keys->client_key, keys->server_key);
    if (send_final(login, keys->client_key, keys->server_key))
        stream_resume(&server->stream);
}

static bool ask_helper(struct server_login *login)
{
    struct server *server = login->server;
    struct login_keys *keys = memory_zalloc(sizeof(*keys));
    if (!keys)
        return login_fail_text(login, POOL_FAILURE_PASSING, "out of memory");
    keys->job.run = compute_keys;
    keys->job.done = keys_done;
    keys->set = server->set;
    keys->server_id = server->id;
    keys->password = memory_strdup_secret(login->secret.text);
    memcpy(keys->salt, login->scram.salt, login->scram.salt_size);
    keys->salt_size = login->scram.salt_size;
    keys->iterations = login->scram.iterations;
    if (!keys->password ||
        !offload_submit(server->set->offload, OFFLOAD_PBKDF2, &keys->job, server->set->loop)) {
        free_keys(keys);
        return login_fail_text(login, POOL_FAILURE_PASSING, "too many logins at once");
    }
    login->step = LOGIN_PBKDF2;
    stream_pause(&server->stream);
    return true;
}

/* Keys made with one salt prove nothing for another. */
static bool answer_with_client_keys(struct server_login *login)
{
    const struct scram_client *scram = &login->scram;
    struct scram_verifier verifier;
    struct error error;
    bool fits = scram_verifier_parse(login->secret.text, &verifier) &&
                verifier.iterations == scram->iterations &&
                verifier.salt_size == scram->salt_size &&
                memcmp(verifier.salt, scram->salt, scram->salt_size) == 0;
    memory_wipe(&verifier, sizeof(verifier));
    if (fits)
        return send_final(login, login->client_key, login->server_key);
    error_set(&error, SQLSTATE_INVALID_AUTHORIZATION,
              "server login failed: the SCRAM secret stored for user \"%s\" has not the salt and "
              "iterations of the server's; store what pg_authid says there, or a plain password",
              login->server->member.pool->user_name);
    return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
}

static bool go_on_sasl(struct server_login *login, struct span server_first)
{
    struct server *server = login->server;
    struct error error;
    uint8_t client_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
    const struct digest128 identity = identity_of(server);
    uint32_t most = (uint32_t)server->set->config->settings.scram_iterations_max;
    if (!scram_client_server_first(&login->scram, server_first, most, &error)) {
        error_prefix(&error, "server login failed");
        return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
    }
    if (login->secret.kind == AUTH_SECRET_SCRAM)
        return answer_with_client_keys(login);
    const struct key_cache_subject subject = {
        .identity = {(const uint8_t *)&identity, sizeof(identity)},
        .salt = {login->scram.salt, login->scram.salt_size},
        .iterations = login->scram.iterations,
        .password = login->secret.text,
    };
    if (!key_cache_get(server->set->key_cache, &subject, client_key, server_key))
        return ask_helper(login);
    bool ok = send_final(login, client_key, server_key);
    memory_wipe(client_key, sizeof(client_key));
    memory_wipe(server_key, sizeof(server_key));
    return ok;
}

/* A SCRAM dialogue is over only with the server's own proof. */
static bool refuse_unproved(struct server_login *login)
{
    struct error error;
    error_set(&error, SQLSTATE_INVALID_AUTHORIZATION,
              "server login failed: the server did not prove that it knows the password");
    return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
}

/* server_require_auth and server_channel_binding: looked at before a password, or a proof made with
 * it, leaves the house. */
static bool may_use(struct server_login *login, unsigned method)
{
    const struct settings *settings = &login->server->set->config->settings;
    struct error error;
    unsigned allowed;
    bool is_bound = method == SERVER_AUTH_SCRAM; /* or start_sasl refuses */
    if (login->server->probe && !may_send_cleartext(login->server))
        error_set(&error, SQLSTATE_INVALID_AUTHORIZATION,
                  "passthrough authentication failed: the server is reached neither over verified "
                  "TLS nor over loopback or a Unix socket");
    else if (login->server->probe && method == SERVER_AUTH_NONE)
        error_set(&error, SQLSTATE_INVALID_AUTHORIZATION,
                  "passthrough authentication failed: the server lets user \"%.63s\" in without "
                  "asking for a password, which proves nothing",
                  login->server->member.pool->user_name);
    else if (settings->server_channel_binding == CHANNEL_BINDING_REQUIRE && !is_bound)
        error_set(&error, SQLSTATE_INVALID_AUTHORIZATION,
                  "server login failed: server_channel_binding=require, and the server asks for "
                  "another proof than SCRAM, or for none");
    else if (!require_auth_parse(settings->server_require_auth, &allowed, &error))
        error_prefix(&error, "server login failed: server_require_auth");
    else if (allowed & method)
        return true;
    else
        error_set(&error, SQLSTATE_INVALID_AUTHORIZATION,
                  "server login failed: the server asks for a proof (or for none) that "
                  "server_require_auth=%s does not allow",
                  settings->server_require_auth);
    return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
}

static bool accept_ok(struct server_login *login)
{
    static struct log_limit limit;
    uint32_t held_back;
    if (!login->was_asked && !may_use(login, SERVER_AUTH_NONE))
        return false;
    if (!login->was_asked && login->secret.text && log_allow(&limit, 1, &held_back))
        log_warning(&login->server->subject,
                    "server lets in without asking for the password that is stored for it");
    login->was_let_in = true;
    login->step = LOGIN_GREETING;
    return true;
}

static bool take_final(struct server_login *login, struct span server_final)
{
    struct error error;
    if (!scram_client_check_server(&login->scram, server_final, &error)) {
        error_prefix(&error, "server login failed");
        return login_fail(login, POOL_FAILURE_LOGIN, "failed to answer authreq", &error);
    }
    login->step = LOGIN_AUTHENTICATE;
    return true;
}

static unsigned method_of(uint32_t code)
{
    switch (code) {
    case AUTHENTICATION_CLEARTEXT:
        return SERVER_AUTH_PASSWORD;
    case AUTHENTICATION_MD5:
        return SERVER_AUTH_MD5;
    case AUTHENTICATION_SASL:
        return SERVER_AUTH_SCRAM;
    default:
        return SERVER_AUTH_OTHER;
    }
}

bool login_authentication(struct server_login *login, struct span body)
{
    uint32_t code;
    struct span rest;
    if (!authentication_read(body, &code, &rest))
        return login_fail_text(login, POOL_FAILURE_PASSING, "malformed authentication request");
    if (code == AUTHENTICATION_OK && login->step == LOGIN_AUTHENTICATE)
        return accept_ok(login);
    if (code == AUTHENTICATION_OK &&
        (login->step == LOGIN_SASL_CONTINUE || login->step == LOGIN_SASL_FINAL))
        return refuse_unproved(login);
    if (code == AUTHENTICATION_SASL_CONTINUE && login->step == LOGIN_SASL_CONTINUE)
        return go_on_sasl(login, rest);
    if (code == AUTHENTICATION_SASL_FINAL && login->step == LOGIN_SASL_FINAL)
        return take_final(login, rest);
    if (login->step != LOGIN_AUTHENTICATE || login->was_asked)
        return login_fail_text(login, POOL_FAILURE_PASSING, "authentication request out of turn");
    login->was_asked = true;
    if (!may_use(login, method_of(code)))
        return false;
    if (!login->secret.text)
        return no_secret(login);
    if (code == AUTHENTICATION_CLEARTEXT)
        return answer_cleartext(login);
    if (code == AUTHENTICATION_MD5)
        return answer_md5(login, rest);
    if (code == AUTHENTICATION_SASL)
        return start_sasl(login, rest);
    log_error(&login->server->subject, "unknown/unsupported auth method: %u", code);
    return login_fail_text(login, POOL_FAILURE_LOGIN,
                           "server login failed: unsupported auth method");
}
