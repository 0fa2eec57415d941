/* fpmp_select.h - which pool, which server, which time limits: decisions without side effects. */
#ifndef FPMP_SELECT_H
#define FPMP_SELECT_H

#include "fpmp_pool.h"

#include <apr_hash.h>

/* The pool of that name (defined or implied, as check_config registered it), or NULL. */
const fpmp_pool *fpmp_select_pool(apr_hash_t *pools, const char *name);

/* The server that this request shall go to. A pool has exactly one so far. */
const fpmp_server *fpmp_select_server(const fpmp_pool *pool);

/* The limits of a request, the most specific setting first: directory section, the pool's
 * definition, server or vhost, built-in default. Every value of the result is set. */
fpmp_timeouts fpmp_select_timeouts(const fpmp_timeouts *section, const fpmp_pool *pool,
                                   const fpmp_timeouts *server);

/* May a request be sent on a kept connection? Only if losing it before the first byte can always
 * be made good: our daemon on a unix socket tells (dispatch.md 4), for any other server only an
 * idempotent method without a body is worth the risk of losing it (it is not sent again).
 * is_streamed: the body cannot be repeated. */
int fpmp_select_may_reuse(const fpmp_server *server, int is_idempotent, int has_body,
                          int is_streamed);

#endif
