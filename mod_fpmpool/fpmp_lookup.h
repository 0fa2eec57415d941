/* fpmp_lookup.h - host names of servers are looked up again and again (FpmPoolServer resolve=). */
#ifndef FPMP_LOOKUP_H
#define FPMP_LOOKUP_H

#include "fpmp_conf.h"

/* Starts the thread of this child, if any server is a name that is looked up again. Each child has
 * one; a lease lets one of them work. It stops with `child`; one that waits for a name server is
 * left behind. */
apr_status_t fpmp_lookup_start(const fpmp_global *global, server_rec *main, apr_pool_t *child);

/* From now on this process never unmaps this module: a thread that is left behind returns to it.
 * Only in a child, or with -X: neither loads another configuration. */
void fpmp_lookup_pin_module(void);

#endif
