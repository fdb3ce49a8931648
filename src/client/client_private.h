/* What the files of room client share about clients that are not logged in yet, and how they end.
 */
#pragma once
#include "auth/scram.h"
#include "client/client_set.h"
#include "client/scram_cache.h"
#include "ledger/session_settings.h"

#define PASSWORD_MESSAGE_MAX                                                                       \
    65536 /* with its head; what a stranger may make us hold (COMPAT 4.2, THREATS §1) */

/* The worker is in the low bits of a cancel key's first byte; its highest bit is 0 (COMPAT 9.7).
 * What is left of a 3.0 key is random: 57 bits. */
#define CANCEL_KEY_WORKER_BITS 0x3f
#define CANCEL_KEY_RANDOM_BITS 0x40
_Static_assert(WORKERS_MAX <= CANCEL_KEY_WORKER_BITS + 1, "a worker's number fits a cancel key");

struct cancel; /* of cancel */
struct startup_choice;

enum login_method {
    LOGIN_NOTHING_ASKED, /* any, trust, own UID on a Unix socket */
    LOGIN_CLEARTEXT,
    LOGIN_MD5,
    LOGIN_SCRAM,
};

enum login_step {
    LOGIN_STARTING, /* before the StartupMessage */
    LOGIN_PASSWORD, /* the answer to a cleartext or md5 request is due */
    LOGIN_SASL_FIRST,
    LOGIN_SASL_FINAL,
    LOGIN_HELPER, /* a helper thread computes; the message that waits for it stays in the input
                     buffer */
    LOGIN_OVER,   /* authenticated: on the way to the welcome */
};

struct client_login {
    char address[64];        /* as in the log: "127.0.0.1:5432", "unix(123):6432" */
    struct tls_context *tls; /* a reference; NULL: no TLS here */
    bool admin_listener;
    bool ssl_was_asked, gss_was_asked;
    struct cancel *cancel; /* this connection has brought a CancelRequest, which is under way */

    enum login_method method;
    enum login_step step;
    bool must_fail; /* nobody can log in by this dialogue: unknown user, or one without a usable
                       secret (THREATS §2.7) */
    bool is_console;
    uint8_t md5_salt[4];
    struct auth_secret mock_secret;
    struct scram_server scram;
    struct scram_check *check;
    struct scram_cache_wait *wait;
    uint8_t prelude[128]; /* AuthenticationSASLFinal: goes out in one write with what follows */
    size_t prelude_size;
    usec_t deadline_at; /* while it moves */
    bool follows;       /* session_state=follow: settings of the startup packet hold for it */
    bool has_passed;    /* they have been tried, and are its own */
    uint8_t tries;
    bool startup_in_options;     /* the first of `startup` came in `options` */
    struct session_list startup; /* those that are not tracked, as it asked for them */
    struct session_list asked;   /* and the tracked ones behind them */
    struct session_list tried;   /* all of them, as PostgreSQL calls them */
    struct digest128 trial_key;
};

static inline struct client *client_of_deadline(struct deadline *deadline)
{
    return (struct client *)((char *)deadline - offsetof(struct client, deadline));
}

/* client/login: authenticated, or not. Both may end the client, or move it to another worker: it is
 * not to be touched afterwards. */
void login_succeeded(struct client *client);
void login_failed(struct client *client, const char *text);
/* The expired function of the set's login_deadlines. */
void login_expired(struct deadline *deadline, struct deadline_list *list);

/* client/login_methods: settles how the user proves who it is (auth_type and the kind of its
 * secret), and asks. True: an answer is awaited, and goes to login_methods_input. False, and after
 * login_methods_input: it may be gone, as above. */
bool login_methods_start(struct client *client);
void login_methods_input(struct client *client);
/* The client's database is known: the key that its SCRAM login has shown may serve the logins to
 * its servers (COMPAT 4.6). */
void login_methods_keep_key(struct client *client);
/* Leaves helpers that are at work for this client; idempotent. */
void login_methods_finish(struct client_login *login);

/* client/startup_trial: what it asks for in its startup packet is known to be right, and is its own
 * from now on. False: a server is asked, and welcome_go_on called when that has answered; or the
 * client is refused. */
bool startup_trial_passed(struct client *client);
void startup_findings_finish(struct startup_findings *findings);
/* client/welcome: goes on where a trial was due. */
void welcome_go_on(struct client *client);

/* client/session: tells it, once a kind, what of its session its transaction has lost by parting
 * (session_state=reset; with `leak` nothing counts as touched). False: no memory. */
bool session_tell_lost(struct client *client, uint32_t touched);

/* client/cancel: the connection that brought a CancelRequest has gone. */
void cancel_leave(struct cancel *cancel);

/* client/login_rules: by which method this client must prove itself (auth_type, and the rules of
 * auth_hba_file), into login->method; where a certificate does, it was looked at. False: refused.
 */
bool login_rules_choose(struct client *client);

/* client/notice: what we say to a client, and of one to the log. */
/* False: no memory. */
bool notice_error(struct client *client, const char *severity, const struct error *error);
/* Fills client->subject; NULL: "(nodb)", "(nouser)". */
void notice_subject(struct client *client, const char *database, const char *user);
void notice_login_attempt(struct client *client, const struct startup_choice *choice);
void notice_login_failed(struct client *client);
void notice_no_such_user(struct client *client);
void notice_refused_setting(struct client *client, const struct startup_choice *choice);
/* "TLS handshake error: ...", what was wrong with a SCRAM message. */
void notice_text(struct client *client, enum log_level level, const char *text);
void notice_closing(struct client *client, const char *reason);
void notice_pooler_error(struct client *client, const char *text);
