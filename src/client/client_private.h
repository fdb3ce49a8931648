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
/* With a peer_id, its two bytes follow, and the low bits of the eighth say how often a cancel
 * request may be passed on: 39 bits of a 3.0 key are random then. */
#define CANCEL_KEY_TTL_BITS 0x03
_Static_assert(WORKERS_MAX <= CANCEL_KEY_WORKER_BITS + 1, "a worker's number fits a cancel key");

struct cancel; /* of cancel */
struct passthrough_wait;
struct startup_choice;

enum login_method {
    LOGIN_NOTHING_ASKED, /* any, trust, own UID on a Unix socket */
    LOGIN_CLEARTEXT,
    LOGIN_MD5,
    LOGIN_SCRAM,
    LOGIN_PASSTHROUGH, /* in clear, and the server decides */
};

enum login_step {
    LOGIN_STARTING, /* before the StartupMessage; auth_query may be asked about its user */
    LOGIN_PASSWORD, /* the answer to a cleartext or md5 request is due */
    LOGIN_SASL_FIRST,
    LOGIN_SASL_FINAL,
    LOGIN_HELPER, /* a helper thread computes, or auth_query is asked again; the message that waits
                     for it stays in the input buffer */
    LOGIN_OVER,   /* authenticated: on the way to the welcome */
    LOGIN_FAILED, /* it is told so later: nothing is taken from it meanwhile */
};

struct client_login {
    char address[64]; /* as in the log: "127.0.0.1:5432", "unix(123):6432" */
    bool ssl_was_asked, gss_was_asked;
    bool awaits_proxy_header;
    bool has_no_address;   /* the proxy's header said none: it may not log in */
    bool is_inside;        /* of a WebSocket: there is no TLS to begin */
    bool awaits_handshake; /* too many others are under way: nothing is read meanwhile */
    struct cancel *cancel; /* this connection has brought a CancelRequest, which is under way */

    enum login_method method;
    enum login_step step;
    bool has_no_route;           /* no line of [routes] fits: it must fail */
    bool is_outside;             /* allow_from of its database or user leaves its address out */
    const char *unknown_refusal; /* the user must be known: said if it is not; NULL: a proof decides
                                  */
    struct user_lookup *lookup;  /* auth_query is asked about its user */
    usec_t asked_at;             /* when what is known of its user was asked */
    bool is_looked_up, was_asked_again;
    struct login_profile profile; /* how its dialogue looks if it must fail */
    bool must_fail; /* nobody can log in by this dialogue: unknown user, or one without a usable
                       secret (THREATS §2.7) */
    bool is_console;
    uint8_t md5_salt[4];
    struct auth_secret mock_secret;
    struct scram_server scram;
    bool has_client_key; /* in `scram`: the client has shown it, or a password that has it */
    struct scram_check *check;
    uint64_t password_era; /* of the password cache, when the check began */
    struct passthrough_wait *passthrough;
    bool password_is_fresh; /* its server has accepted the password just now */
    struct scram_cache_wait *wait;
    uint8_t prelude[128]; /* AuthenticationSASLFinal: goes out in one write with what follows */
    size_t prelude_size;
    const char *cause;  /* why it must fail, for the audit; NULL: what it is told */
    char failure[64];   /* what it is told: LOGIN_FAILED */
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

/* client/login: its user is known, or known to be unknown: the dialogue begins, or its proof is
 * judged again. */
void login_user_found(struct client *client);

/* client/user_lookup: a user who is not in auth_file, by auth_query. */
enum user_lookup_verdict {
    USER_LOOKUP_DONE,    /* client->user is as good as can be known */
    USER_LOOKUP_AWAITED, /* login_user_found is called later */
    USER_LOOKUP_OVER, /* start: the client was refused. again: it was, or there is nothing newer */
};
enum user_lookup_verdict user_lookup_start(struct client *client);
/* A proof has failed: perhaps the secret was changed. Once a login. */
enum user_lookup_verdict user_lookup_again(struct client *client);
/* How those whom auth_query knows look; false: it is not asked about this client. */
bool user_lookup_shape(const struct client *client, struct login_profile *profile);
void user_lookup_forget(struct user_lookup *lookup); /* the client is gone; NULL is fine */

/* client/login: authenticated, or not. Both may end the client, or move it to another worker: it is
 * not to be touched afterwards. */
void login_succeeded(struct client *client);
void login_failed(struct client *client, const char *text);
/* The expired function of the set's refusal_deadlines: the answer was held back long enough. */
void login_refusal_due(struct deadline *deadline, struct deadline_list *list);
/* The expired function of the set's login_deadlines. */
void login_expired(struct deadline *deadline, struct deadline_list *list);

/* client/login_methods: settles how the user proves who it is (auth_type and the kind of its
 * secret), and asks. True: an answer is awaited, and goes to login_methods_input. False, and after
 * login_methods_input: it may be gone, as above. */
bool login_methods_start(struct client *client);
/* The secret may be another now: the message that is held is judged again. */
void login_methods_again(struct client *client);
void login_methods_input(struct client *client);
/* The client's database is known: the key that its SCRAM login has shown may serve the logins to
 * its servers (COMPAT 4.6). */
void login_methods_keep_key(struct client *client);
/* The password in the message that is held, or NULL; and the end of its dialogue. */
const char *login_methods_password(struct client *client);
void login_methods_conclude(struct client *client, bool is_right);
/* client/login_passthrough: nobody can listen between the client and us. */
bool login_passthrough_is_safe(const struct client *client);
/* Its password has come, and is held: judged now or later. */
void login_passthrough_take(struct client *client, const char *password);
/* client/login_memory: this very password was right less than auth_cache_ttl ago, with the secret
 * that holds now, and servers of the client can be opened without checking it again. */
bool login_is_remembered(const struct client *client, const char *password);
/* It was checked and is right. `era`: password_cache_era() before the check. */
void login_remember(const struct client *client, const char *password, uint64_t era);
/* Leaves helpers that are at work for this client, and wipes what is held for them. */
void login_methods_finish(struct client *client);

/* client/startup_trial: what it asks for in its startup packet is known to be right, and is its own
 * from now on. False: a server is asked, and welcome_go_on called when that has answered; or the
 * client is refused. */
bool startup_trial_passed(struct client *client);
void startup_findings_finish(struct startup_findings *findings);
/* client/welcome: goes on where a trial was due. */
void welcome_go_on(struct client *client);

/* client/route: finds its database by [routes], if there are any; `endpoint` is "" or what its
 * options say. False: refused. */
bool route_client(struct client *client, const char *endpoint);

/* client/proxied: takes the PROXY header off the input. False: more is needed, or it is closed. */
bool proxied_take_header(struct client *client);

/* client/place: its place among those who have not logged in.
 *
 * The client, whose stream is open, is on its worker. False: it lost its place on the way. */
bool place_take(struct client *client);
/* Sets the first time limit of a new client; the one of its whole login. */
void place_start(struct client *client);
void place_set_deadline(struct client *client);
/* It has said something valid. */
void place_heard(struct client *client);
/* False: too many TLS handshakes are under way. It is tried again when its entry in the set's
 * handshake_deadlines comes, or was closed. */
bool place_begin_handshake(struct client *client);
void place_end_handshake(struct client *client);
/* The expired function of the set's first_byte_deadlines. */
void place_expired(struct deadline *deadline, struct deadline_list *list);

/* The expired function of the set's handshake_deadlines, in client/first_bytes. */
void first_bytes_retry(struct deadline *deadline, struct deadline_list *list);

/* client/session: tells it, once a kind, what of its session its transaction has lost by parting
 * (session_state=reset; with `leak` nothing counts as touched). False: no memory. */
bool session_tell_lost(struct client *client, uint32_t touched);

/* client/session_follow: it has a server, for a transaction of which all is in doubt. */
void session_doubt(struct client *client);
static inline void session_begin(struct client *client)
{
    if (client->set->config->settings.session_probe == SESSION_PROBE_ALWAYS)
        session_doubt(client);
}
/* client/prefix: the server's session differs from what the client wants: its settings go out in
 * front. `moves`: beyond those that servers report. False: the client is closed. */
bool prefix_put(struct client *client, bool moves);
static inline bool prefix_send(struct client *client)
{
    const struct server *server = client->server;
    bool moves = session_profile_hash(server->profile) != session_profile_hash(client->profile);
    if (!moves && !wanted_parameters_differ(&client->wanted, &server->parameters))
        return true;
    return prefix_put(client, moves);
}
/* A ReadyForQuery of the prefix has come. */
void prefix_ready(struct client *client);
/* client/mend: its settings could not be applied when it last had a server. Those that its next
 * message sets anew or resets are left out now; and come back, for that was not enough; or stay
 * out.
 */
void mend_profile(struct client *client);
void mend_undo(struct client *client);
void mend_done(struct client *client);

/* client/session_pins: it gives its place among the pinned back. */
void session_give_place_back(struct client *client);
static inline void session_unpin(struct client *client)
{
    if (client->pins)
        session_give_place_back(client);
}

/* client/replication: it asked for a replication connection. False: no memory. */
bool replication_begin(struct client *client, const struct startup_choice *choice);
/* In its pool, on its home worker: asks for its server. It may be refused at once. */
void replication_ask(struct client *client);
/* client/welcome: it has its server, which said `welcome` at login (a reference, taken over). */
struct pool_welcome;
void welcome_dedicated(struct client *client, struct pool_welcome *welcome);

/* client/cancel: the connection that brought a CancelRequest has gone. */
void cancel_leave(struct cancel *cancel);
/* Marks a client's key, of 8 bytes at least, as one of this process. */
void cancel_key_for_peers(uint8_t *key, int peer_id);

/* client/login_rules: by which method this client must prove itself (auth_type, and the rules of
 * auth_hba_file), into login->method; where a certificate does, it was looked at. False: refused.
 * Looks at names and addresses alone. */
bool login_rules_choose(struct client *client);
/* Whether allow_from of its database and user let its address in, into login->is_outside. False:
 * refused. Whoever is outside goes through the dialogue that others do, and fails at its end
 * (THREATS §2.7). */
bool login_rules_look_at_address(struct client *client);
/* False: refused, for its user is not known, or it is outside and nothing would be asked. */
bool login_rules_enter(struct client *client);

/* client/login_audit: a login, or a flood of failed ones, in the audit. */
void login_audit_accepted(const struct client *client);
/* Of clients that have not logged in, and have said who they are. */
void login_audit_refused(const struct client *client, const struct error *error);
void login_audit_breaker(const struct client *client);

/* client/notice: what we say to a client, and of one to the log. */
/* False: no memory. */
bool notice_error(struct client *client, const char *severity, const struct error *error);
/* Fills client->subject; NULL: "(nodb)", "(nouser)". */
void notice_subject(struct client *client, const char *database, const char *user);
void notice_login_attempt(struct client *client, const struct startup_choice *choice);
void notice_login_failed(struct client *client);
void notice_no_such_user(struct client *client);
void notice_breaker(struct client *client); /* so often has its login failed */
void notice_outside(struct client *client); /* allow_from leaves its address out */
void notice_refused_setting(struct client *client, const struct startup_choice *choice);
/* "TLS handshake error: ...", what was wrong with a SCRAM message. */
void notice_text(struct client *client, enum log_level level, const char *text);
void notice_closing(struct client *client, const char *reason);
/* log_min_duration: a query has taken so long. */
void notice_duration(struct client *client, usec_t took, usec_t limit);
void notice_pooler_error(struct client *client, const char *text);
