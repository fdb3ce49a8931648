/* clock: time as pgweir counts it.
 *
 * usec_t is signed microseconds of the monotonic clock; 0 means "never" or "none" where a header
 * says so. Loops read it once a turn (net/loop, loop_now); nothing else on a hot path reads a
 * clock. Any thread.
 */
#pragma once
#include <stdint.h>

typedef int64_t usec_t;

#define USEC_PER_SEC  INT64_C(1000000)
#define USEC_PER_MSEC INT64_C(1000)

usec_t clock_monotonic(void);
usec_t clock_realtime(void); /* microseconds since 1970, for people only */
