/* fpmp_manager.h - changes of servers at run time, asked for by POST (specification:
 * apache.md 2.2).
 *
 * A form of pool, server, action (ready, drain, down, weight), weight, and nonce: what the page or
 * its JSON has told, new at each start of httpd. Requests that a browser sends for another site's
 * page are refused. Each change is one line of the error log.
 */
#ifndef FPMP_MANAGER_H
#define FPMP_MANAGER_H

#include "fpmp_conf.h"
#include "fpmp_query.h"

/* Runs a POST. nonce: what it must carry; "": everything is refused. */
int fpmp_manager_change(request_rec *r, const fpmp_global *global, const fpmp_query *query,
                        const char *nonce);

/* Do both texts have the same bytes? Takes the same time wherever they differ. */
int fpmp_manager_is_same(const char *one, const char *other);

#endif
