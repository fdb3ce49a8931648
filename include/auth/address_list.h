/* address_list: the addresses that a database or a user may be used from (`allow_from`).
 *
 * Words between commas or white space: an address, a network (ADDRESS/BITS), `local` (Unix
 * sockets), `all`; with ! in front it is kept out. Who is kept out by one word is out, whatever
 * the others say; a list of such words alone lets everybody else in. Immutable and
 * reference-counted; any thread.
 */
#pragma once
#include <stdbool.h>

#include "base/error.h"

#define ADDRESS_LIST_MAX 1024 /* words */

struct address_list;

/* With one reference; NULL: the error says which word is wrong, or that there is none. */
struct address_list *address_list_parse(const char *text, struct error *error);
struct address_list *address_list_acquire(struct address_list *list); /* NULL gives NULL */
void address_list_release(struct address_list *list);                 /* NULL is fine */

/* `peer`: a struct sockaddr. An IPv4 address inside an IPv6 one counts as IPv4. NULL as list: all
 * are let in. */
bool address_list_allows(const struct address_list *list, const void *peer);
