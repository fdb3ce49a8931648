/* Errors that clients are told, and lines of the log about them (COMPAT 8.2, 8.3). What a stranger
 * can cause is limited (THREATS §5.2). */
#include <stdio.h>

#include "client_private.h"
#include "startup_parameters.h"
#include "wire/build.h"

/* Each kind of line that connections which are not logged in can cause. A site with more logins
 * than that a second has other ways to count them. */
#define LINES_PER_SECOND 1000
/* Of one foreign text. */
#define SHOWN_MAX 128

static bool may_log(struct log_limit *limit)
{
    uint32_t held_back;

    if (!log_allow(limit, LINES_PER_SECOND, &held_back))
        return false;
    if (held_back > 0)
        log_info(NULL, "%u lines like the next one were held back", held_back);
    return true;
}

bool notice_error(struct client *client, const char *severity, const struct error *error)
{
    uint8_t memory[ERROR_MESSAGE_MAX + ERROR_HINT_MAX + 64];
    struct bytes out = bytes_over(memory, sizeof(memory));

    build_error(&out, severity, error);
    tally_add(&client->set->errors, error->sqlstate, error->message);
    return bytes_ok(&out) && stream_put(&client->stream, out.data, out.size);
}

/* Each login makes its prefix anew two or three times, and few of them are ever printed: snprintf
 * would be a twentieth of what a login costs. */
static void put_hex(struct bytes *out, uintptr_t value)
{
    char digits[2 * sizeof(value)];
    size_t at = sizeof(digits);

    do
        digits[--at] = "0123456789abcdef"[value & 15];
    while ((value >>= 4) != 0);
    bytes_put(out, digits + at, sizeof(digits) - at);
}

static void put_name(struct bytes *out, const char *name)
{
    bytes_put(out, name, strnlen(name, 40));
}

void notice_subject(struct client *client, const char *database, const char *user)
{
    const char *address = client->login != NULL ? client->login->address : "";
    char *prefix = client->subject.prefix;
    struct bytes out = bytes_over(prefix, sizeof(client->subject.prefix) - 1);

    bytes_text(&out, "C-0x");
    put_hex(&out, (uintptr_t)client);
    bytes_text(&out, ": ");
    put_name(&out, database != NULL ? database : "(nodb)");
    bytes_u8(&out, '/');
    put_name(&out, user != NULL ? user : "(nouser)");
    bytes_u8(&out, '@');
    bytes_text(&out, address);
    prefix[out.size] = '\0';
}

void notice_login_attempt(struct client *client, const struct startup_choice *choice)
{
    static struct log_limit limit;
    char tls[80] = "no";

    if (!client->set->config->settings.log_connections || !may_log(&limit))
        return;
    if (stream_is_tls(&client_carrier(client)->stream))
        stream_tls_text(&client_carrier(client)->stream, tls, sizeof(tls));
    log_info(&client->subject, "login attempt: db=%.*s user=%.*s tls=%s replication=%s", SHOWN_MAX,
             choice->database, SHOWN_MAX, choice->user, tls,
             startup_replication_name(choice->replication));
}

void notice_login_failed(struct client *client)
{
    static struct log_limit limit;

    if (client->set->config->settings.log_connections && may_log(&limit))
        log_info(&client->subject, "login failed: db=%.*s user=%.*s", SHOWN_MAX,
                 client->database_name, SHOWN_MAX, client->user_name);
}

void notice_no_such_user(struct client *client)
{
    static struct log_limit limit;

    client->login->cause = "no such user";
    if (may_log(&limit))
        log_info(&client->subject, "no such user: %.*s", SHOWN_MAX, client->user_name);
}

void notice_breaker(struct client *client)
{
    static struct log_limit limit;

    login_audit_breaker(client);
    if (may_log(&limit))
        log_warning(&client->subject,
                    "more than auth_breaker_failures logins a minute fail: the next failures are "
                    "answered late: db=%.*s user=%.*s",
                    SHOWN_MAX, client->database_name, SHOWN_MAX, client->user_name);
}

void notice_outside(struct client *client)
{
    static struct log_limit limit;

    client->login->cause = "allow_from";
    if (may_log(&limit))
        log_warning(&client->subject, "allow_from leaves this address out: db=%.*s user=%.*s",
                    SHOWN_MAX, client->database_name, SHOWN_MAX, client->user_name);
}

void notice_refused_setting(struct client *client, const struct startup_choice *choice)
{
    static struct log_limit limit;

    if (choice->refused_name != NULL && may_log(&limit))
        log_warning(&client->subject, "unsupported startup parameter: %.*s=%.*s", SHOWN_MAX,
                    choice->refused_name, SHOWN_MAX, choice->refused_value);
}

void notice_text(struct client *client, enum log_level level, const char *text)
{
    static struct log_limit limit;

    if (may_log(&limit))
        log_write(level, &client->subject, "%s", text);
}

void notice_closing(struct client *client, const char *reason)
{
    static struct log_limit limit;
    usec_t age = (loop_now(client->set->loop) - client->connect_time) / USEC_PER_SEC;

    if (client->set->config->settings.log_disconnections && may_log(&limit))
        log_info(&client->subject, "closing because: %s (age=%llds)", reason, (long long)age);
}

void notice_pooler_error(struct client *client, const char *text)
{
    static struct log_limit limit;

    if (client->set->config->settings.log_pooler_errors && may_log(&limit))
        log_warning(&client->subject, "pooler error: %s", text);
}

void notice_duration(struct client *client, usec_t took, usec_t limit)
{
    static struct log_limit lines;
    usec_t waited = client->waited < took ? client->waited : took;

    client->waited = 0; /* the next query of its transaction finds the server there */
    if (took <= limit || !may_log(&lines))
        return;
    log_info(&client->subject,
             "duration: %lld.%03lld ms, waited: %lld.%03lld ms, server: %lld.%03lld ms",
             (long long)took / 1000, (long long)took % 1000, (long long)waited / 1000,
             (long long)waited % 1000, (long long)(took - waited) / 1000,
             (long long)(took - waited) % 1000);
}
