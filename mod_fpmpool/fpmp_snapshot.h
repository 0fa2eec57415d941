/* fpmp_snapshot.h - takes the figures of this moment from shared memory. */
#ifndef FPMP_SNAPSHOT_H
#define FPMP_SNAPSHOT_H

#include "fpmp_conf.h"
#include "fpmp_query.h"
#include "fpmp_seen.h"

/* The pools that the query asks for by name, in no order. now: fpmp_clock_now(); `wall`, `up_for`
 * and `host` are left to the caller. */
fpmp_snapshot *fpmp_snapshot_take(const fpmp_global *global, const fpmp_query *query,
                                  apr_time_t now, apr_pool_t *memory);

#endif
