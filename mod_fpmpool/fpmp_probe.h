/* fpmp_probe.h - active checks of servers (FpmPoolCheck; specification: apache.md 2.2). */
#ifndef FPMP_PROBE_H
#define FPMP_PROBE_H

#include "fpmp_conf.h"

/* Starts the thread of this child, if any pool has checks. Each child has one; a lease in shared
 * memory lets one of them work and the others sleep until it ends. It stops with `child`. */
apr_status_t fpmp_probe_start(const fpmp_global *global, server_rec *main, apr_pool_t *child);

#endif
