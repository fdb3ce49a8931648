/* The dialogues by which a client proves who it is: cleartext, md5, SCRAM-SHA-256
 * (COMPAT 4.2, 4.3).
 *
 * A name that nobody has, or whose secret is of no use here, goes through the dialogue of most
 * known users and fails at its end, with the same text and the same work (THREATS §2.7). PBKDF2
 * runs on helper threads only. */
#include <stdio.h>
#include <string.h>

#include "auth/base64.h"
#include "auth/client_keys.h"
#include "auth/md5.h"
#include "auth/verifier.h"
#include "base/memory.h"
#include "base/random.h"
#include "client/passthrough.h"
#include "client_private.h"
#include "wire/answer.h"
#include "wire/build.h"
#include "wire/message.h"

#define PASSWORD_FAILED "password authentication failed"
#define SASL_FAILED     "SASL authentication failed"

/* ---- secrets ---- */

static const struct auth_secret *secret_of(const struct client *client)
{
    return client->login->must_fail ? &client->login->mock_secret : &client->user->secret;
}

static bool verifier_is_usable(struct client *client, const char *text)
{
    struct scram_verifier verifier;
    uint32_t most = (uint32_t)client->set->config->settings.scram_iterations_max;
    bool is_usable = scram_verifier_parse(text, &verifier) && verifier.iterations <= most;

    memory_wipe(&verifier, sizeof(verifier));
    if (!is_usable)
        notice_text(client, LOG_ERROR,
                    "SCRAM authentication failed: the verifier has more rounds than "
                    "scram_iterations_max");
    return is_usable;
}

/* The user has a secret with which this method can succeed. */
static bool has_usable_secret(struct client *client)
{
    if (client->login->has_no_route) /* the log has it already */
        return false;
    if (client->login->is_outside) {
        notice_outside(client);
        return false;
    }
    if (client->user == NULL || !client->user->is_known) {
        notice_no_such_user(client);
        return false;
    }
    switch (client->user->secret.kind) {
    case AUTH_SECRET_NONE:
        return false;
    case AUTH_SECRET_PLAIN:
        return true;
    case AUTH_SECRET_MD5:
        if (client->login->method != LOGIN_SCRAM)
            return true;
        notice_text(client, LOG_ERROR, "SCRAM authentication failed: user has MD5 secret");
        return false;
    case AUTH_SECRET_SCRAM:
        return verifier_is_usable(client, client->user->secret.text);
    }
    return false;
}

static void put_hex(char *text, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
}

/* How those look whom this one is to be taken for. */
static void find_profile(struct client *client)
{
    struct login_profile *profile = &client->login->profile;

    if (!user_lookup_shape(client, profile))
        scram_cache_profile(client->set->shared->scram_cache, client->set->config, profile);
}

/* Without a file of its own the process has made one. */
static const uint8_t *mock_key_of(const struct client *client)
{
    const struct client_set *set = client->set;

    return set->config->has_mock_key ? set->config->mock_key : set->shared->mock_key;
}

static bool make_mock_verifier(struct client *client)
{
    const struct login_profile *profile = &client->login->profile;
    struct scram_verifier verifier;
    char salt[BASE64_TEXT_SIZE(SCRAM_SALT_MAX) + 1];
    char stored_key[BASE64_TEXT_SIZE(SCRAM_KEY_SIZE) + 1];
    char text[sizeof(salt) + 2 * sizeof(stored_key) + 64];

    scram_mock_verifier(mock_key_of(client), client->user_name, profile->iterations,
                        profile->salt_size, &verifier);
    base64_encode(verifier.salt, verifier.salt_size, salt);
    base64_encode(verifier.stored_key, SCRAM_KEY_SIZE, stored_key);
    snprintf(text, sizeof(text), SCRAM_MECHANISM "$%u:%s$%s:%s", verifier.iterations, salt,
             stored_key, stored_key);
    return auth_secret_set(&client->login->mock_secret, text);
}

/* A secret that nobody knows, of the kind that most users have. */
static bool make_mock_secret(struct client *client)
{
    struct client_login *login = client->login;
    uint8_t noise[16];
    char text[MD5_TEXT_SIZE] = "md5";

    if (login->profile.is_scram)
        return make_mock_verifier(client);
    random_bytes(noise, sizeof(noise));
    put_hex(text + (login->method == LOGIN_MD5 ? 3 : 0), noise, sizeof(noise));
    return auth_secret_set(&login->mock_secret, text);
}

/* auth_type=md5 with a verifier is SCRAM: md5 could not be checked with it. */
static bool settle_secret(struct client *client)
{
    struct client_login *login = client->login;

    if (login->method == LOGIN_PASSTHROUGH) {
        notice_subject(client, client->database_name, client->user_name);
        login->must_fail = login->is_outside;
        if (login->is_outside)
            notice_outside(client);
        return true;
    }
    login->must_fail = !has_usable_secret(client);
    if (!login->must_fail) {
        notice_subject(client, client->database_name, client->user_name);
        if (login->method == LOGIN_MD5 && client->user->secret.kind == AUTH_SECRET_SCRAM)
            login->method = LOGIN_SCRAM;
        return true;
    }
    find_profile(client);
    if (login->method == LOGIN_MD5 && login->profile.is_scram)
        login->method = LOGIN_SCRAM;
    if (make_mock_secret(client))
        return true;
    client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    return false;
}

/* ---- asking ---- */

static bool put(struct client *client, const struct bytes *out)
{
    if (bytes_ok(out) && stream_put(&client->stream, out->data, out->size))
        return true;
    client_close(client, "out of memory");
    return false;
}

static void build_request(struct client_login *login, struct bytes *out)
{
    static const char *const mechanisms[] = {SCRAM_MECHANISM_PLUS, SCRAM_MECHANISM};
    size_t unbound = login->scram.binding.size > 0 ? 0 : 1;

    switch (login->method) {
    case LOGIN_NOTHING_ASKED:
        break;
    case LOGIN_CLEARTEXT:
    case LOGIN_PASSTHROUGH:
        build_authentication(out, AUTHENTICATION_CLEARTEXT, NULL, 0);
        login->step = LOGIN_PASSWORD;
        break;
    case LOGIN_MD5:
        random_bytes(login->md5_salt, sizeof(login->md5_salt));
        build_authentication(out, AUTHENTICATION_MD5, login->md5_salt, sizeof(login->md5_salt));
        login->step = LOGIN_PASSWORD;
        break;
    case LOGIN_SCRAM:
        build_sasl_mechanisms(out, mechanisms + unbound, 2 - unbound);
        login->step = LOGIN_SASL_FIRST;
        break;
    }
}

bool login_methods_start(struct client *client)
{
    uint8_t memory[64];
    struct bytes out = bytes_over(memory, sizeof(memory));

    if (client->login->method == LOGIN_NOTHING_ASKED) {
        login_succeeded(client);
        return false;
    }
    if (!settle_secret(client))
        return false;
    struct scram_binding *binding = &client->login->scram.binding;
    binding->size = stream_tls_end_point(&client->stream, binding->hash);
    build_request(client->login, &out);
    return put(client, &out);
}

/* ---- answers ---- */

static bool refuse_packet(struct client *client, const char *text)
{
    client_refuse_text(client, SQLSTATE_PROTOCOL_VIOLATION, text);
    return false;
}

/* The client's message, whole. False: it is not there yet, or was refused. */
static bool peek_answer(struct client *client, struct message *message)
{
    struct span input = stream_input(&client->stream);
    struct cursor cursor = cursor_over(input.data, input.size);
    uint8_t type = cursor_u8(&cursor);

    if (!cursor_ok(&cursor))
        return false;
    if (type == 'X') {
        client_close(client, "client close request");
        return false;
    }
    if (type != 'p')
        return refuse_packet(client, "bad packet");
    switch (message_peek(input.data, input.size, PASSWORD_MESSAGE_MAX, message)) {
    case MESSAGE_WHOLE:
        return true;
    case MESSAGE_PARTIAL:
        stream_want(&client->stream, message->size);
        return false;
    case MESSAGE_NONE:
        return false;
    case MESSAGE_BAD:
        break;
    }
    bool is_long = cursor_u32(&cursor) > PASSWORD_MESSAGE_MAX - 1;
    return refuse_packet(client, is_long ? "password too long" : "bad packet");
}

/* The buffer goes back to the loop's list: the password does not. */
static void forget_answer(struct client *client, const struct message *message)
{
    struct stream *stream = &client->stream;

    memory_wipe(stream->in->data + stream->in_start, message->size);
    stream_consume(stream, message->size);
}

/* The end of a dialogue: the client is not to be touched afterwards. */
static void conclude(struct client *client, bool is_right, const char *text)
{
    if (is_right && !client->login->must_fail) {
        login_succeeded(client);
        return;
    }
    if (client->login->cause == NULL)
        client->login->cause = "wrong password";
    login_failed(client, text);
}

/* ---- cleartext and md5 ---- */

/* The password, or what md5 has made of it, was judged; it is still in the input buffer. A wrong
 * one may be a new one. */
void login_methods_conclude(struct client *client, bool is_right)
{
    struct client_login *login = client->login;
    struct message message;

    login->step = LOGIN_HELPER;
    if (!is_right) {
        switch (user_lookup_again(client)) {
        case USER_LOOKUP_DONE:
            login_methods_again(client);
            return;
        case USER_LOOKUP_AWAITED:
            return;
        case USER_LOOKUP_OVER:
            if (client->state == CLIENT_CLOSED)
                return;
            break;
        }
    }
    if (peek_answer(client, &message))
        forget_answer(client, &message);
    conclude(client, is_right, PASSWORD_FAILED);
}

const char *login_methods_password(struct client *client)
{
    struct message message;

    if (!peek_answer(client, &message))
        return NULL;
    struct cursor body = cursor_over(message.body.data, message.body.size);
    return cursor_string(&body);
}

static void remember(struct client *client)
{
    const char *password = login_methods_password(client);

    if (password != NULL)
        login_remember(client, password, client->login->password_era);
}

static void check_answered(void *argument, bool is_right, const uint8_t client_key[SCRAM_KEY_SIZE])
{
    struct client *client = argument;

    client->login->check = NULL;
    client->login->has_client_key = is_right;
    memcpy(client->login->scram.client_key, client_key, SCRAM_KEY_SIZE);
    if (is_right)
        remember(client);
    login_methods_conclude(client, is_right && !client->login->must_fail);
}

static void start_check(struct client *client, const char *password)
{
    struct client_set *set = client->set;
    struct client_login *login = client->login;

    login->step = LOGIN_HELPER;
    login->password_era = password_cache_era(set->servers->password_cache);
    login->check = scram_cache_check(set->shared->scram_cache, set->offload, set->loop,
                                     secret_of(client), password, check_answered, client);
    if (login->check == NULL)
        client_refuse_text(client, SQLSTATE_TOO_MANY_CONNECTIONS,
                           "too many passwords are being checked");
}

/* True: `*is_right` says it. False: a helper will, or the client was refused. */
static bool judge_password(struct client *client, const char *password, bool *is_right)
{
    const struct auth_secret *secret = secret_of(client);
    const struct client_login *login = client->login;

    if (login->method == LOGIN_MD5) {
        *is_right = verifier_check_md5(secret, client->user_name, login->md5_salt, password);
        return true;
    }
    switch (verifier_check_cleartext(secret, client->user_name, password)) {
    case VERIFIER_RIGHT:
        *is_right = true;
        return true;
    case VERIFIER_WRONG:
        *is_right = false;
        return true;
    case VERIFIER_NEEDS_PBKDF2:
        *is_right = login_is_remembered(client, password);
        if (*is_right)
            return true;
        start_check(client, password);
        return false;
    }
    return false;
}

static bool take_password(struct client *client, const struct message *message)
{
    struct cursor body = cursor_over(message->body.data, message->body.size);
    const char *password = cursor_string(&body);
    bool is_right = false;

    if (password == NULL || !cursor_finished(&body))
        return refuse_packet(client, "bad packet");
    if (*password == '\0') {
        login_failed(client, "empty password returned by client");
        return false;
    }
    if (client->login->method == LOGIN_PASSTHROUGH && client->login->must_fail)
        login_methods_conclude(client, false);
    else if (client->login->method == LOGIN_PASSTHROUGH)
        login_passthrough_take(client, password);
    else if (judge_password(client, password, &is_right))
        login_methods_conclude(client, is_right && !client->login->must_fail);
    return false;
}

void login_methods_again(struct client *client)
{
    client->login->must_fail = !has_usable_secret(client);
    client->login->step = LOGIN_PASSWORD;
    login_methods_input(client);
}

/* ---- SCRAM ---- */

/* What exactly was wrong is for the log. */
static bool refuse_sasl(struct client *client, const struct error *error)
{
    notice_text(client, LOG_WARNING, error->message);
    client_refuse_text(client, error->sqlstate, SASL_FAILED);
    return false;
}

static bool refuse_sasl_message(struct client *client)
{
    struct error error;

    error_set(&error, SQLSTATE_PROTOCOL_VIOLATION, "malformed SASL message");
    return refuse_sasl(client, &error);
}

/* What the dialogue begins with: salt and rounds, and the keys of a stored verifier. */
static bool make_verifier(const struct client *client, struct scram_verifier *verifier)
{
    const struct login_profile *profile = &client->login->profile;
    const struct auth_secret *secret = secret_of(client);

    if (client->login->must_fail) {
        scram_mock_verifier(mock_key_of(client), client->user_name, profile->iterations,
                            profile->salt_size, verifier);
        return true;
    }
    if (secret->kind == AUTH_SECRET_SCRAM)
        return scram_verifier_parse(secret->text, verifier);
    memset(verifier, 0, sizeof(*verifier));
    verifier->iterations = (uint32_t)client->set->config->settings.scram_iterations;
    verifier->salt_size = SCRAM_DERIVED_SALT;
    scram_mock_salt(mock_key_of(client), client->user_name, verifier->salt);
    return true;
}

static bool answer_sasl_first(struct client *client, struct span data)
{
    struct scram_verifier verifier;
    uint8_t text[SCRAM_MESSAGE_MAX], memory[SCRAM_MESSAGE_MAX + 16];
    struct bytes answer = bytes_over(text, sizeof(text));
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct error error;

    if (!make_verifier(client, &verifier))
        return refuse_sasl_message(client);
    bool ok = scram_server_first(&client->login->scram, &verifier, data, &answer, &error);
    memory_wipe(&verifier, sizeof(verifier));
    if (!ok)
        return refuse_sasl(client, &error);
    build_authentication(&out, AUTHENTICATION_SASL_CONTINUE, answer.data, answer.size);
    return put(client, &out);
}

static bool take_sasl_first(struct client *client, const struct message *message)
{
    struct cursor body = cursor_over(message->body.data, message->body.size);
    const char *mechanism = cursor_string(&body);
    int32_t size = cursor_i32(&body);
    struct span data = cursor_rest(&body, SCRAM_MESSAGE_MAX);

    if (mechanism == NULL)
        return refuse_sasl_message(client);
    struct scram_server *scram = &client->login->scram;
    scram->is_plus = scram->binding.size > 0 && strcmp(mechanism, SCRAM_MECHANISM_PLUS) == 0;
    if (!scram->is_plus && strcmp(mechanism, SCRAM_MECHANISM) != 0)
        return refuse_packet(client, "client selected an invalid SASL authentication mechanism");
    if (!cursor_finished(&body) || size < 0 || (size_t)size != data.size)
        return refuse_sasl_message(client);
    if (!answer_sasl_first(client, data))
        return false;
    forget_answer(client, message);
    client->login->step = LOGIN_SASL_FINAL;
    return true;
}

/* Keys of a plain password were made, or could not be. */
static void keys_made(void *argument, bool ok)
{
    struct client *client = argument;

    client->login->wait = NULL;
    client->login->step = LOGIN_SASL_FINAL;
    if (ok)
        login_methods_input(client);
    else
        client_refuse_text(client, SQLSTATE_OUT_OF_MEMORY, "out of memory");
}

/* A plain password has no keys until they are derived. False: they are being made, or the client
 * was refused. */
static bool provide_keys(struct client *client)
{
    struct client_set *set = client->set;
    struct client_login *login = client->login;
    const struct auth_secret *secret = secret_of(client);
    uint8_t stored_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];

    if (secret->kind != AUTH_SECRET_PLAIN)
        return true;
    const struct scram_cache_subject subject = {
        .user = client->user_name,
        .password = secret->text,
        .salt = login->scram.verifier.salt,
        .iterations = login->scram.verifier.iterations,
    };
    bool is_known = scram_cache_get(set->shared->scram_cache, &subject, stored_key, server_key);
    if (login->must_fail) /* it was looked up only for the time that this takes */
        return true;
    if (is_known) {
        scram_server_keys(&login->scram, stored_key, server_key);
        memory_wipe(stored_key, sizeof(stored_key));
        memory_wipe(server_key, sizeof(server_key));
        return true;
    }
    login->step = LOGIN_HELPER;
    login->wait = scram_cache_derive(set->shared->scram_cache, set->offload, set->loop, &subject,
                                     keys_made, client);
    if (login->wait == NULL)
        client_refuse_text(client, SQLSTATE_TOO_MANY_CONNECTIONS,
                           "too many passwords are being checked");
    return false;
}

static bool take_sasl_final(struct client *client, const struct message *message)
{
    struct client_login *login = client->login;
    uint8_t text[128];
    struct bytes answer = bytes_over(text, sizeof(text));
    struct bytes prelude = bytes_over(login->prelude, sizeof(login->prelude));
    struct error error;
    bool is_right;

    if (!provide_keys(client))
        return false;
    if (!scram_server_final(&login->scram, message->body, &is_right, &answer, &error))
        return refuse_sasl(client, &error);
    forget_answer(client, message);
    build_authentication(&prelude, AUTHENTICATION_SASL_FINAL, answer.data, answer.size);
    login->prelude_size = prelude.size;
    login->has_client_key = is_right;
    conclude(client, is_right && bytes_ok(&prelude), SASL_FAILED);
    return false;
}

/* PgBouncer, too, keeps none where the database forces a user: its servers are not the client's. */
void login_methods_keep_key(struct client *client)
{
    const struct client_login *login = client->login;

    if (!login->has_client_key || client->database->user != NULL || client->server_user != NULL ||
        client->user == NULL || client->user->secret.kind != AUTH_SECRET_SCRAM)
        return;
    const struct client_keys_owner owner = {
        .database = client->database->name,
        .login_name = client->user_name,
        .server_name = client->user_name,
        .verifier = client->user->secret.text,
    };
    client_keys_put(client->set->servers->client_keys, &owner, login->scram.client_key);
}

/* ---- the door ---- */

/* True: go on with the next message. */
static bool take_answer(struct client *client)
{
    struct message message;
    enum login_step step = client->login->step;

    if (step != LOGIN_PASSWORD && step != LOGIN_SASL_FIRST && step != LOGIN_SASL_FINAL)
        return false; /* what is here waits until it is known who speaks */
    if (!peek_answer(client, &message))
        return false;
    place_heard(client);
    if (step == LOGIN_PASSWORD)
        return take_password(client, &message);
    return step == LOGIN_SASL_FIRST ? take_sasl_first(client, &message)
                                    : take_sasl_final(client, &message);
}

void login_methods_input(struct client *client)
{
    while (take_answer(client))
        continue;
}

void login_methods_finish(struct client *client)
{
    struct client_login *login = client->login;
    struct stream *stream = &client->stream;

    if (login->step == LOGIN_HELPER && stream->in != NULL)
        memory_wipe(stream->in->data + stream->in_start, stream_input(stream).size);
    if (login->check != NULL)
        scram_cache_forget_check(login->check);
    if (login->wait != NULL)
        scram_cache_forget(login->wait);
    if (login->passthrough != NULL)
        passthrough_forget(login->passthrough);
    login->check = NULL;
    login->wait = NULL;
    login->passthrough = NULL;
}
