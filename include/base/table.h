/* table: hash tables, intrusive, through uthash with our seeded hash.
 *
 * Include this and never <uthash.h>: its own hash has no secret seed, and by default it exits when
 * memory is short. Here HASH_FUNCTION is digest64() and a failed addition leaves the element out
 * (check with TABLE_ADDED). An element embeds `UT_hash_handle hh`. One thread (or lock) per table.
 */
#pragma once
#include "base/digest.h"

#define HASH_FUNCTION(key, length, hash) ((hash) = (unsigned)digest64((key), (length)))
#define HASH_NONFATAL_OOM                1
#define uthash_nonfatal_oom(element)     ((void)(element))
#include <uthash.h>

/* True when `element` really is in its table (its addition had memory). Valid right after
 * HASH_ADD*. */
#define TABLE_ADDED(element) ((element)->hh.tbl != NULL)
