/* A listener with proxy_protocol: a PROXY header stands before anything else, TLS too, and says
 * where the client comes from (THREATS §3.5). The acceptor has let in connections from
 * proxy_trusted alone. */
#include <string.h>

#include "base/memory.h"
#include "client_private.h"
#include "wire/proxy_header.h"

static bool refuse(struct client *client, const char *text)
{
    static struct log_limit limit;
    uint32_t held_back;

    if (log_allow(&limit, 1, &held_back))
        log_warning(&client->subject, "PROXY header: %s: connection closed (%u lines held back)",
                    text, held_back);
    client_close(client, NULL);
    return false;
}

static void take_address(const struct proxy_header *header, struct address *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    memset(address, 0, sizeof(*address));
    /* IPv4 inside IPv6 is IPv4: rules and limits are to know it as such. */
    bool is_mapped =
        header->family == PROXY_IPV6 && memcmp(header->source, mapped, sizeof(mapped)) == 0;
    if (header->family == PROXY_IPV4 || is_mapped) {
        address->u.v4.sin_family = AF_INET;
        address->u.v4.sin_port = htons(header->source_port);
        memcpy(&address->u.v4.sin_addr, header->source + (is_mapped ? sizeof(mapped) : 0), 4);
        address->size = sizeof(address->u.v4);
    } else {
        address->u.v6.sin6_family = AF_INET6;
        address->u.v6.sin6_port = htons(header->source_port);
        memcpy(&address->u.v6.sin6_addr, header->source, 16);
        address->size = sizeof(address->u.v6);
    }
}

/* Counts from here on where it comes from. */
static bool move(struct client *client)
{
    const struct settings *settings = &client->set->config->settings;
    const struct moat_limits limits = {
        .connections_per_prefix = settings->max_client_conn_per_ip,
        .logins_per_prefix = settings->login_rate_per_ip,
    };

    switch (moat_move(client->set->shared->moat, client->guest, client->real_address, &limits,
                      loop_now(client->set->loop))) {
    case MOAT_TOO_MANY:
        client_refuse_text(client, SQLSTATE_TOO_MANY_CONNECTIONS,
                           "too many connections from this address (max_client_conn_per_ip)");
        return false;
    case MOAT_TOO_OFTEN:
        client_refuse_text(client, SQLSTATE_TOO_MANY_CONNECTIONS,
                           "too many new connections from this address (login_rate_per_ip)");
        return false;
    default:
        return true;
    }
}

static bool know_address(struct client *client, const struct proxy_header *header)
{
    struct client_login *login = client->login;
    char proxy[sizeof(login->address)];

    if (header->family == PROXY_NOBODY) {
        login->has_no_address = true;
        return true;
    }
    client->real_address = memory_zalloc(sizeof(*client->real_address));
    if (client->real_address == NULL) {
        client_close(client, "out of memory");
        return false;
    }
    take_address(header, client->real_address);
    memcpy(proxy, login->address, sizeof(proxy));
    address_text(client->real_address, login->address, sizeof(login->address));
    notice_subject(client, NULL, NULL);
    log_debug(&client->subject, "came by the proxy %s", proxy);
    return move(client);
}

bool proxied_take_header(struct client *client)
{
    struct span input = stream_input(&client->stream);
    struct proxy_header header;
    const char *why;

    switch (proxy_header_parse(input.data, input.size, &header, &why)) {
    case PROXY_NEED_MORE:
        return false;
    case PROXY_BAD:
        return refuse(client, why);
    case PROXY_TAKEN:
        break;
    }
    client->login->awaits_proxy_header = false;
    stream_consume(&client->stream, header.size);
    if (!know_address(client, &header))
        return false;
    place_start(client);
    return true;
}

bool client_address(const struct client *client, struct address *address)
{
    const struct client *carrier = client_carrier(client);

    if (carrier->real_address == NULL)
        return address_of_peer(address, carrier->stream.fd);
    *address = *carrier->real_address;
    return true;
}
