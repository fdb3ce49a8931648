/* hba_address: the addresses that a rule is for. */
#pragma once
#include "rule_file.h"

enum hba_address_kind {
    HBA_ADDRESS_ALL,
    HBA_ADDRESS_NETWORK,
    HBA_ADDRESS_SAMEHOST,
    HBA_ADDRESS_SAMENET
};

struct hba_network {
    int family; /* AF_INET or AF_INET6 */
    uint8_t address[16], mask[16];
};

/* "ADDRESS", which is one alone, or "ADDRESS/BITS". False: neither. */
bool hba_network_parse(const char *text, struct hba_network *network);
/* The address has bits outside its mask. */
bool hba_network_has_host_bits(const struct hba_network *network);
/* `peer`: a struct sockaddr. An IPv4 address inside an IPv6 one counts as IPv4. */
bool hba_network_has(const struct hba_network *network, const void *peer);

struct hba_address {
    enum hba_address_kind kind;
    struct hba_network network;
};

/* Those of this machine, as they are when the file is read. */
struct hba_interfaces {
    struct hba_network *networks;
    int count;
};
bool hba_interfaces_read(struct hba_interfaces *interfaces);

/* Reads the field (and the next one, where the mask stands apart); `*field` is then the one behind.
 * `*has_host_bits`: the address has bits outside its mask. */
bool hba_address_parse(const struct rule_line *line, int *field, struct hba_address *address,
                       bool *has_host_bits, struct error *error);
/* `peer`: a struct sockaddr. An IPv4 address inside an IPv6 one counts as IPv4. */
bool hba_address_matches(const struct hba_address *address, const struct hba_interfaces *interfaces,
                         const void *peer);
/* 127.0.0.0/8 or ::1. */
bool hba_peer_is_loopback(const void *peer);
/* Every address in it is this machine's own. */
bool hba_address_is_loopback(const struct hba_address *address);
