/* limits.h - request_terminate_timeout (spec/php-fpm.md 3.5). The board says who runs since when.
 */
#ifndef FPD_LIMITS_H
#define FPD_LIMITS_H

#include "pool/spawn.h"

/* Starts to check, if the pool has a limit. */
void fpd_limits_create(fpd_pool *pool);

/* Did the child get a signal for the request that its slot shows now? */
int fpd_limits_has_ended(const fpd_child *child);

#endif
