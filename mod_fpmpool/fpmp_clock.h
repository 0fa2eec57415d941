/* fpmp_clock.h - the module's clock for everything that is a limit or a duration. */
#ifndef FPMP_CLOCK_H
#define FPMP_CLOCK_H

#include <apr_time.h>

/* Microseconds of CLOCK_MONOTONIC: whoever sets the time of day must not end requests. Only
 * differences mean anything. */
apr_time_t fpmp_clock_now(void);

#endif
