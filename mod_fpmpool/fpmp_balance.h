/* fpmp_balance.h - the servers of a pool as they are now: which of them gets a request. */
#ifndef FPMP_BALANCE_H
#define FPMP_BALANCE_H

#include "fpmp_conf.h"
#include "fpmp_health.h"
#include "fpmp_select.h"
#include "fpmp_share.h"

/* What this request wants of the pool's FpmPoolBalance: the text that is hashed, the server that
 * the visitor is tied to. */
void fpmp_balance_wish(request_rec *r, const fpmp_pool *pool, fpmp_wish *wish);

/* Chooses a server (index in pool->servers, or FPMP_SELECT_DOWN or _FULL) and counts the request as
 * under way there, until fpmp_balance_release. Keeps each server's max= over all children. tried:
 * bit i is set for servers that are out of the question. */
int fpmp_balance_take(const fpmp_global *global, const fpmp_pool *pool, fpmp_wish *wish,
                      uint64_t tried, apr_time_t now);

/* Would it find one now that is not at its max=? Counts nothing. */
int fpmp_balance_has_room(const fpmp_global *global, const fpmp_pool *pool, const fpmp_wish *wish,
                          uint64_t tried);

void fpmp_balance_release(const fpmp_global *global, const fpmp_server *server);

/* A request, or an attempt of one, has ended at a server of one of these pools: counts it. state: a
 * value of the note fpmpool-state, or NULL. */
void fpmp_balance_end(const fpmp_global *global, const fpmp_pool *const *pools, int pool_count,
                      const fpmp_server *server, const char *state, uint64_t bytes,
                      apr_time_t began, apr_time_t end);

/* Ties the visitor to that server (FpmPoolBalance sticky), if he is not. */
void fpmp_balance_tie(request_rec *r, const fpmp_pool *pool, const fpmp_wish *wish, int index);

static inline fpmp_record *fpmp_balance_record(const fpmp_global *global, const fpmp_server *server)
{
    return global->records->servers[server->index];
}

static inline fpmp_pool_record *fpmp_balance_pool_record(const fpmp_global *global,
                                                         const fpmp_pool *pool)
{
    return global->records->pools[pool->index];
}

#endif
