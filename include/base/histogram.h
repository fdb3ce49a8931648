/* histogram: how often a time was how long, in buckets that double.
 *
 * Bucket i counts times of at most 16 us << i, the last one all that is longer (over a minute).
 * Adding is a shift and an increment. Nothing but 64-bit counters, so that two of them are added
 * like any others. One writer; readers see counters of the moment.
 */
#pragma once
#include "base/clock.h"

#define HISTOGRAM_BUCKETS 24

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
};

/* `time` in microseconds; negative counts as 0. */
static inline void histogram_add(struct histogram *histogram, usec_t time)
{
    uint64_t above = time > 16 ? (uint64_t)time - 1 : 15;
    int bucket = 60 - __builtin_clzll(above);
    histogram->counts[bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1]++;
}

/* How many there are. */
static inline uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += histogram->counts[i];
    return count;
}

/* The bucket that holds the time which `thousandths` of all do not exceed; -1: there is none. */
static inline int histogram_quantile(const struct histogram *histogram, unsigned thousandths)
{
    uint64_t count = histogram_count(histogram), seen = 0;
    uint64_t wanted = (count * thousandths + 999) / 1000;
    for (int i = 0; count > 0 && i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted)
            return i;
    }
    return -1;
}

/* The longest time of a bucket but the last, which has no bound. */
static inline usec_t histogram_bound(int bucket)
{
    return (usec_t)16 << bucket;
}
