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
