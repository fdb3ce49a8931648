/* resolver: host names to addresses, off the loops (getaddrinfo on a helper), cached for all
 * workers.
 *
 * Answers live dns_max_ttl, failures dns_nxdomain_ttl. One lookup per name is in flight. Any loop's
 * thread.
 */
#pragma once
#include "base/clock.h"
#include "net/address.h"
#include "net/offload.h"

#define RESOLVER_ADDRESSES_MAX 16

struct resolver;

struct resolver_request {
    /* Called on the loop that asked, possibly before resolver_lookup returns (cached). count 0:
     * error says why. */
    void (*answer)(struct resolver_request *request, const struct address *addresses, int count,
                   const struct error *error);
    /* private */
    struct loop *loop;
    struct resolver_request *next;
    struct resolver_lookup *lookup;
    struct mail mail;
    bool is_cancelled;
};

struct resolver *resolver_create(struct offload *offload);
/* After offload_destroy, when no loop runs any more. Requests that still wait are not answered. */
void resolver_destroy(struct resolver *resolver);
void resolver_set_ttl(struct resolver *resolver, usec_t max_ttl, usec_t failure_ttl);
/* `request` must stay until the answer, or resolver_cancel (after which it is not called; both on
 * its own loop). */
void resolver_lookup(struct resolver *resolver, struct loop *loop, const char *host, int port,
                     struct resolver_request *request);
void resolver_cancel(struct resolver *resolver, struct resolver_request *request);
int resolver_count(struct resolver *resolver); /* names known, for SHOW LISTS */

/* Every name that is known, with the time left to it, for SHOW DNS_HOSTS. `visit` must not come
 * back to the resolver. Ports are 0. */
typedef void resolver_visitor(void *argument, const char *host, usec_t ttl,
                              const struct address *addresses, int count);
void resolver_visit(struct resolver *resolver, usec_t now, resolver_visitor *visit, void *argument);

/* How often names have lost an address: who keeps the number knows when to ask resolver_has_lost.
 */
uint64_t resolver_losses(struct resolver *resolver);
/* The name is known, and `address` (whatever its port) is not among its addresses. */
bool resolver_has_lost(struct resolver *resolver, const char *host, const struct address *address);

/* Zones: what stands behind the first dot of the names. Every `period` (0: never) the serial number
 * of each is asked for (its SOA record: RFC 1035 §3.3.13), and when it has grown (RFC 1982), its
 * names are looked up anew. To be called about every second, always on the same loop. */
void resolver_watch_zones(struct resolver *resolver, struct loop *loop, usec_t period);
/* Every zone that is watched, for SHOW DNS_ZONES; serial 0: not known yet. `visit` must not come
 * back to the resolver. */
typedef void resolver_zone_visitor(void *argument, const char *zone, uint32_t serial, int count);
void resolver_visit_zones(struct resolver *resolver, resolver_zone_visitor *visit, void *argument);
int resolver_zone_count(struct resolver *resolver); /* for SHOW LISTS */
