/* slow_requests.h - request_slowlog_timeout: finds requests that run for long, has each traced once
 * by its own worker (worker/slow_log.h), and says and counts it (spec/php-fpm.md 3.6).
 *
 * A message is logged when its trace has been written, so that one is not there without the other.
 */
#ifndef FPD_SLOW_REQUESTS_H
#define FPD_SLOW_REQUESTS_H

#include "pool/spawn.h"

/* Sets pool->slow_requests, which stays NULL in a pool without a slow log. */
void fpd_slow_requests_create(fpd_pool *pool);

/* A new worker; channel to its tracer, which the child owns from now on, or -1. */
void fpd_slow_requests_adopt(fpd_child *child, int channel);

/* The worker has died: its last answer is read, the channel closed. */
void fpd_slow_requests_leave(fpd_child *child);

#endif
