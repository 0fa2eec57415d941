/* fpmp_clock.c - a clock that nobody sets. Runs in every thread of an httpd child. */
#include "fpmp_clock.h"

#include <time.h>

apr_time_t fpmp_clock_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* fails for unknown clocks only */
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}
