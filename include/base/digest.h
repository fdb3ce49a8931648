/* digest: keyed hash of the process (SipHash-2-4, 64 and 128 bits).
 *
 * The seed is random, made once by digest_init() before any thread starts, and never leaves the
 * process: names that collide cannot be chosen by a client. Not for stored secrets. Any thread
 * after digest_init(). Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct digest128 {
    uint64_t low, high;
};

void digest_init(void);
uint64_t digest64(const void *data, size_t size);
struct digest128 digest128(const void *data, size_t size);

/* The same under a key of the caller (the published test vectors; a key that must outlive the
 * process). */
struct digest_key {
    uint64_t low, high;
};
uint64_t digest64_keyed(struct digest_key key, const void *data, size_t size);
struct digest128 digest128_keyed(struct digest_key key, const void *data, size_t size);

static inline bool digest128_equal(struct digest128 a, struct digest128 b)
{
    return a.low == b.low && a.high == b.high;
}
