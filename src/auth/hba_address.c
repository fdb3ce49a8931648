#include "hba_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/memory.h"

static size_t size_of(int family)
{
    return family == AF_INET ? 4 : 16;
}

/* False: neither IPv4 nor IPv6. */
static bool take_sockaddr(const struct sockaddr *from, int *family, uint8_t address[16])
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    *family = from->sa_family;
    if (from->sa_family == AF_INET) {
        memcpy(&v4, from, sizeof(v4));
        memcpy(address, &v4.sin_addr, 4);
        return true;
    }
    if (from->sa_family != AF_INET6)
        return false;
    memcpy(&v6, from, sizeof(v6));
    memcpy(address, &v6.sin6_addr, 16);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        *family = AF_INET;
        memmove(address, address + 12, 4);
    }
    return true;
}

/* ---- interfaces ---- */

bool hba_interfaces_read(struct hba_interfaces *interfaces)
{
    struct ifaddrs *list, *item;
    int count = 0, mask_family;

    *interfaces = (struct hba_interfaces){0};
    if (getifaddrs(&list) != 0)
        return false;
    for (item = list; item != NULL; item = item->ifa_next)
        count++;
    interfaces->networks = memory_zalloc_array((size_t)count + 1, sizeof(*interfaces->networks));
    for (item = list; item != NULL && interfaces->networks != NULL; item = item->ifa_next) {
        struct hba_network *network = &interfaces->networks[interfaces->count];

        if (item->ifa_addr != NULL && item->ifa_netmask != NULL &&
            take_sockaddr(item->ifa_addr, &network->family, network->address) &&
            take_sockaddr(item->ifa_netmask, &mask_family, network->mask))
            interfaces->count++;
    }
    freeifaddrs(list);
    return interfaces->networks != NULL;
}

/* ---- reading ---- */

static bool parse_literal(const char *text, int *family, uint8_t address[16])
{
    *family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    return inet_pton(*family, text, address) == 1;
}

static bool set_bits(struct hba_network *network, const char *text)
{
    char *end;
    long bits = text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : -1;

    if (bits < 0 || *end != '\0' || bits > (long)size_of(network->family) * 8)
        return false;
    for (long i = 0; i < bits; i++)
        network->mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
    return true;
}

bool hba_network_has_host_bits(const struct hba_network *network)
{
    for (size_t i = 0; i < size_of(network->family); i++)
        if ((network->address[i] & ~network->mask[i]) != 0)
            return true;
    return false;
}

/* A mask is ones and then zeros. */
static bool is_mask(const struct hba_network *network)
{
    bool has_ended = false;

    for (size_t i = 0; i < size_of(network->family) * 8; i++) {
        bool is_one = (network->mask[i / 8] & (0x80 >> i % 8)) != 0;
        if (is_one && has_ended)
            return false;
        has_ended |= !is_one;
    }
    return true;
}

static bool take_mask(const struct rule_line *line, int field, struct hba_network *network,
                      struct error *error)
{
    const struct rule_item *mask = rule_line_word(line, field);
    int family;

    if (mask == NULL)
        return rule_line_error(line, error, "did not find mask");
    if (!parse_literal(mask->text, &family, network->mask) || family != network->family ||
        !is_mask(network))
        return rule_line_error(line, error, "failed to parse mask: %.100s", mask->text);
    return true;
}

/* What stands before a /. */
static bool take_literal(const char *text, struct hba_network *network)
{
    char literal[64] = "";
    size_t size = strcspn(text, "/");

    if (size < sizeof(literal))
        snprintf(literal, sizeof(literal), "%.*s", (int)size, text);
    return parse_literal(literal, &network->family, network->address);
}

static bool take_network(const struct rule_line *line, int *field, struct hba_network *network,
                         struct error *error)
{
    const char *text = rule_line_word(line, *field)->text;
    bool has_bits = strchr(text, '/') != NULL;

    ++*field;
    if (!take_literal(text, network))
        return rule_line_error(line, error,
                               "failed to parse address - %.100s: it is no IPv4 or IPv6 address "
                               "(names of hosts are not supported)",
                               text);
    if (!has_bits)
        return take_mask(line, (*field)++, network, error);
    return set_bits(network, strchr(text, '/') + 1) ||
           rule_line_error(line, error, "invalid mask: %.100s", text);
}

bool hba_network_parse(const char *text, struct hba_network *network)
{
    const char *slash = strchr(text, '/');

    memset(network, 0, sizeof(*network));
    return take_literal(text, network) && set_bits(network, slash != NULL                ? slash + 1
                                                            : network->family == AF_INET ? "32"
                                                                                         : "128");
}

bool hba_address_parse(const struct rule_line *line, int *field, struct hba_address *address,
                       bool *has_host_bits, struct error *error)
{
    static const struct {
        const char *word;
        enum hba_address_kind kind;
    } words[] = {{"all", HBA_ADDRESS_ALL},
                 {"samehost", HBA_ADDRESS_SAMEHOST},
                 {"samenet", HBA_ADDRESS_SAMENET}};
    const struct rule_item *item = rule_line_word(line, *field);

    *has_host_bits = false;
    if (item == NULL)
        return rule_line_error(line, error, "did not find address");
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (item->is_quoted || strcmp(item->text, words[i].word) != 0)
            continue;
        address->kind = words[i].kind;
        ++*field;
        return true;
    }
    address->kind = HBA_ADDRESS_NETWORK;
    if (!take_network(line, field, &address->network, error))
        return false;
    *has_host_bits = hba_network_has_host_bits(&address->network);
    return true;
}

/* ---- matching ---- */

static bool is_within(const struct hba_network *network, int family, const uint8_t *address,
                      bool whole)
{
    if (family != network->family)
        return false;
    for (size_t i = 0; i < size_of(family); i++)
        if (((address[i] ^ network->address[i]) & (whole ? 0xff : network->mask[i])) != 0)
            return false;
    return true;
}

bool hba_network_has(const struct hba_network *network, const void *peer)
{
    uint8_t bytes[16];
    int family;

    return take_sockaddr(peer, &family, bytes) && is_within(network, family, bytes, false);
}

bool hba_address_matches(const struct hba_address *address, const struct hba_interfaces *interfaces,
                         const void *peer)
{
    uint8_t bytes[16];
    int family;

    if (address->kind == HBA_ADDRESS_ALL)
        return true;
    if (!take_sockaddr(peer, &family, bytes))
        return false;
    if (address->kind == HBA_ADDRESS_NETWORK)
        return is_within(&address->network, family, bytes, false);
    for (int i = 0; i < interfaces->count; i++)
        if (is_within(&interfaces->networks[i], family, bytes,
                      address->kind == HBA_ADDRESS_SAMEHOST))
            return true;
    return false;
}

bool hba_peer_is_loopback(const void *peer)
{
    static const uint8_t one[16] = {[15] = 1};
    uint8_t bytes[16];
    int family;

    return take_sockaddr(peer, &family, bytes) &&
           (family == AF_INET ? bytes[0] == 127 : memcmp(bytes, one, 16) == 0);
}

bool hba_address_is_loopback(const struct hba_address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    const struct hba_network *network = &address->network;

    if (address->kind != HBA_ADDRESS_NETWORK)
        return address->kind == HBA_ADDRESS_SAMEHOST;
    if (network->family == AF_INET)
        return network->address[0] == 127 && network->mask[0] == 0xff;
    return memcmp(network->address, one, 16) == 0 && network->mask[15] == 0xff;
}
