#include "base/clock.h"

#include <time.h>

static usec_t read_clock(clockid_t which)
{
    struct timespec now;

    clock_gettime(which, &now);
    return (usec_t)now.tv_sec * USEC_PER_SEC + (usec_t)now.tv_nsec / 1000;
}

usec_t clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

usec_t clock_realtime(void)
{
    return read_clock(CLOCK_REALTIME);
}
