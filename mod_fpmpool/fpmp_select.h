/* fpmp_select.h - which pool, which server, which time limits: decisions without side effects. */
#ifndef FPMP_SELECT_H
#define FPMP_SELECT_H

#include "fpmp_pool.h"

#include <apr_hash.h>
#include <stdint.h>

/* The pool of that name (defined or implied, as check_config registered it), or NULL. */
const fpmp_pool *fpmp_select_pool(apr_hash_t *pools, const char *name);

/* What a choice among the servers of a pool looks at, for each of them. */
typedef struct fpmp_view {
    int is_up;
    int may_try;        /* down, but one request may be its trial now */
    int was_tried;      /* this request has been there */
    int is_drained;     /* an operator took it out */
    unsigned weight;    /* in force; 0: the configured one */
    unsigned in_flight; /* requests under way */
    unsigned cold;      /* percent of its weight that it does not carry yet, 0..99 */
    uint64_t since;     /* when it failed last */
    uint64_t key;       /* of its name: for the hash */
} fpmp_view;

/* Who chooses, and how. */
typedef struct fpmp_wish {
    fpmp_balance balance;
    int avoids_trials; /* it has failed once: no experiments */
    int takes_down;    /* all are down: one that is, rather than none */
    uint32_t turn;     /* of the pool; counts up with each choice */
    uint64_t key;      /* of the text that is hashed; 0: none, then it is FPMP_BALANCE_LEAST */
    int wanted;        /* server that the visitor is tied to, -1: none */
    int is_strict;     /* that one or none */
} fpmp_wish;

#define FPMP_SELECT_DOWN (-1) /* nobody is left: they are down, or have been tried */
#define FPMP_SELECT_FULL (-2) /* nobody is left, but some only because they are at their limit */

/* The server that a request shall go to: an index into servers and views, or one of the above.
 * Groups in their order, then the backups; in the first that has a usable server, a server that
 * needs a trial comes first, then `balance` decides by weight. */
int fpmp_select_server(const fpmp_server *servers, const fpmp_view *views, int count,
                       const fpmp_wish *wish);

/* fpmp_view.cold of a server that came up at `risen` (0: it was never down), all in milliseconds:
 * from 99 down to 0 within `slowstart`. */
unsigned fpmp_select_cold(unsigned slowstart, uint64_t risen, uint64_t now);

/* What is sent again, the most specific setting first, as with the limits. */
fpmp_retry fpmp_select_retry(const fpmp_retry *section, const fpmp_pool *pool,
                             const fpmp_retry *server);

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
