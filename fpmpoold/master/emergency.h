/* emergency.h - emergency_restart_threshold and _interval: have too many workers crashed lately?
 *
 * Pure. Counts over all pools (spec/php-fpm.md 3.5). What tenants let crash leads to one reload in
 * an interval at most.
 */
#ifndef FPD_EMERGENCY_H
#define FPD_EMERGENCY_H

#include <stdint.h>

#include "apr_pools.h"

typedef struct fpd_emergency fpd_emergency;

/* Never an emergency until it is set. From pool. */
fpd_emergency *fpd_emergency_create(apr_pool_t *pool);

/* interval in seconds; either 0 or less: never. The same values again change nothing; new ones
 * start the count anew, but not earlier than the old ones would have. */
void fpd_emergency_set(fpd_emergency *emergency, int threshold, int interval);

/* A worker has crashed at `now` (monotonic microseconds). Returns 1 when the last `threshold`
 * crashes were all within the interval; then counting starts anew, an interval later. */
int fpd_emergency_note(fpd_emergency *emergency, int64_t now);

/* The time before which crashes do not count, for a master that executes itself, and back. */
int64_t fpd_emergency_pause(const fpd_emergency *emergency);
void fpd_emergency_resume(fpd_emergency *emergency, int64_t not_before);

#endif
