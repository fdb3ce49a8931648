/* What the files of a server's login share. */
#pragma once
#include "auth/auth_file.h"
#include "auth/md5.h"
#include "auth/scram.h"
#include "base/bytes.h"
#include "net/resolver.h"
#include "server_private.h"

#define LOGIN_MESSAGE_MAX (64 * 1024)   /* one message of a server that has not logged us in */
#define LOGIN_BYTES_MAX   (1024 * 1024) /* all of them */

enum login_step {
    LOGIN_CONNECT,       /* resolving, connect() */
    LOGIN_SSL_ANSWER,    /* SSLRequest was sent: one byte is due */
    LOGIN_TLS,           /* handshake */
    LOGIN_AUTHENTICATE,  /* startup was sent */
    LOGIN_PBKDF2,        /* a helper computes keys: nothing is due from the server */
    LOGIN_SASL_CONTINUE, /* client-first was sent */
    LOGIN_SASL_FINAL,    /* client-final was sent */
    LOGIN_GREETING,      /* AuthenticationOk came: ParameterStatus, BackendKeyData, ReadyForQuery */
    LOGIN_CONNECT_QUERY, /* connect_query runs */
};

/* A PBKDF2 that may outlive its login: found again by (set, id). */
struct login_keys {
    struct offload_job job;
    struct server_set *set;
    uint64_t server_id;
    char *password;
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint32_t iterations;
    bool ok;
    uint8_t client_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
};

struct server_login {
    struct server *server;
    enum login_step step;
    struct resolver_request request;
    bool is_resolving;
    struct address addresses[RESOLVER_ADDRESSES_MAX]; /* of the host */
    int address_count, address_next, addresses_left;
    bool wants_tls;      /* this attempt asks for TLS */
    bool was_asked;      /* for a password */
    bool was_let_in;     /* AuthenticationOk came */
    bool server_said_no; /* it has sent an error */
    bool is_ready;       /* the last ReadyForQuery came: nothing but what may come unasked is due */
    struct auth_secret secret;
    struct user_entry *passed_on; /* whose secret that is, where a client has passed it on (a
                                     reference) */
    struct scram_client scram;
    /* Of a client's own login, where `secret` is a verifier. */
    uint8_t client_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
    struct bytes welcome;
    size_t bytes;
};

/* login_methods: an AuthenticationRequest. False: the login has failed (and is over). */
bool login_authentication(struct server_login *login, struct span body);
void login_keys_ready(struct server_login *login, const struct login_keys *keys);
/* login_connect: chooses a host and connects to it. */
void login_connect_start(struct server_login *login);
/* The same address once more, with TLS. */
void login_connect_again(struct server_login *login);
void login_send_startup(struct server_login *login);

/* Ends it. `failure` says what the pool makes of it; `error` what the clients are told; `reason` is
 * for the log. Returns false. */
bool login_fail(struct server_login *login, enum pool_failure failure, const char *reason,
                const struct error *error);
bool login_fail_text(struct server_login *login, enum pool_failure failure, const char *text);
bool login_put(struct server_login *login, const struct bytes *out);
/* Takes what the server says. */
void login_input(struct server_login *login);
