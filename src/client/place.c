/* A client's place among those who have not logged in (client/moat): what it says keeps it, and who
 * has lost it is closed. */
#include <sys/socket.h>

#include "client_private.h"
#include "wire/proxy_header.h"
#include "wire/startup.h"

#define STARTUP_PACKET_MIN    8
#define STARTUP_REQUEST_CODES 1234   /* upper half of the codes of SSLRequest and its like */
#define TLS_HANDSHAKE         0x1603 /* a record of that kind, and the major version */

/* A proxy has its header ready (THREATS §3.5). */
#define PROXY_HEADER_TIMEOUT USEC_PER_SEC

/* How long a TLS handshake that must wait for another one's end is put off. */
#define HANDSHAKE_RETRY (20 * USEC_PER_MSEC)

static struct moat *moat_of(const struct client *client)
{
    return client->set->shared->moat;
}

/* The beginning of a packet that may come first, or of TLS. */
static bool begins_well(struct cursor bytes)
{
    uint32_t size = cursor_u32(&bytes), code = cursor_u32(&bytes);

    if (!cursor_ok(&bytes))
        return false;
    return size >> 16 == TLS_HANDSHAKE ||
           (size >= STARTUP_PACKET_MIN && size <= STARTUP_PACKET_MAX &&
            (code >> 16 == 3 || code >> 16 == STARTUP_REQUEST_CODES));
}

static bool begins_as_due(const struct client *client, const uint8_t *bytes, size_t size)
{
    struct proxy_header header;
    const char *why;

    if (client->login->awaits_proxy_header)
        return proxy_header_parse(bytes, size, &header, &why) != PROXY_BAD;
    return begins_well(cursor_over(bytes, size));
}

/* In a flood newcomers push a client out before its first bytes were read, though they are there:
 * it stays. */
static bool stays(struct client *client)
{
    uint8_t bytes[8];

    if (client->state != CLIENT_FIRST_BYTES || client->stream.received > 0)
        return false;
    ssize_t size = recv(client->stream.fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
    return size > 0 && begins_as_due(client, bytes, (size_t)size) &&
           moat_readmit(moat_of(client), client->guest, loop_now(client->set->loop));
}

/* Without a line for each: the acceptor has counted them, and says so from time to time. */
static void close_dropped(struct mail *mail, struct loop *loop)
{
    struct client_set *set =
        (struct client_set *)((char *)mail - offsetof(struct client_set, place_mail));
    struct client *client;

    (void)loop;
    atomic_store(&set->place_mail_is_posted, false);
    while ((client = moat_next_dropped(set->shared->moat, set->worker)) != NULL)
        if (!stays(client))
            client_close(client, NULL);
}

void client_set_look_for_dropped(struct client_set *set)
{
    if (atomic_exchange(&set->place_mail_is_posted, true))
        return;
    set->place_mail.deliver = close_dropped;
    loop_post(set->loop, &set->place_mail);
}

bool place_take(struct client *client)
{
    return moat_set_owner(moat_of(client), client->guest, client) || stays(client);
}

void place_start(struct client *client)
{
    struct client_set *set = client->set;
    const struct settings *settings = &set->config->settings;
    usec_t whole = settings->client_login_timeout, first = settings->client_first_byte_timeout;

    if (client->login->awaits_proxy_header && (first == 0 || first > PROXY_HEADER_TIMEOUT))
        first = PROXY_HEADER_TIMEOUT;
    if (first > 0 && (whole == 0 || first < whole))
        deadline_set(&set->first_byte_deadlines, &client->deadline, client->connect_time + first);
    else
        place_set_deadline(client);
}

void place_set_deadline(struct client *client)
{
    struct client_set *set = client->set;
    usec_t timeout = set->config->settings.client_login_timeout;

    deadline_clear(&client->deadline);
    if (timeout > 0)
        deadline_set(&set->login_deadlines, &client->deadline, client->connect_time + timeout);
}

void place_expired(struct deadline *deadline, struct deadline_list *list)
{
    (void)list;
    client_close(client_of_deadline(deadline), NULL);
}

void place_heard(struct client *client)
{
    if (client->guest != NULL)
        moat_heard(moat_of(client), client->guest, loop_now(client->set->loop));
    if (client->deadline.list == &client->set->first_byte_deadlines)
        place_set_deadline(client);
}

bool place_begin_handshake(struct client *client)
{
    struct client_set *set = client->set;
    usec_t now = loop_now(set->loop), timeout = set->config->settings.client_login_timeout;
    int limit = set->config->settings.tls_handshakes_max, told_worker;

    bool may_begin = moat_begin_handshake(moat_of(client), client->guest, limit, now, &told_worker);
    if (told_worker >= 0)
        client_set_look_for_dropped(set->siblings[told_worker]);
    if (may_begin) {
        place_set_deadline(client);
        return true;
    }
    if (timeout > 0 && client->connect_time + timeout <= now)
        client_close(client, "client_login_timeout (tls_handshakes_max)");
    else
        deadline_set(&set->handshake_deadlines, &client->deadline, now + HANDSHAKE_RETRY);
    return false;
}

void place_end_handshake(struct client *client)
{
    moat_end_handshake(moat_of(client), client->guest);
    place_heard(client);
}
