/* grants.h - the pool process's part of process.max: asks the master before it forks.
 *
 * Without process.max everything is allowed and nothing is sent. The master's part is
 * master/permits.h.
 */
#ifndef FPD_GRANTS_H
#define FPD_GRANTS_H

#include <stdint.h>

struct fpd_pool;

typedef struct fpd_grants {
    uint32_t held;    /* workers that the master has granted */
    uint32_t pending; /* forks that wait for a grant */
    uint32_t debt;    /* workers that the master wants back and that are busy still */
    uint32_t told;    /* the last WANT */
    int is_told_urgent;
} fpd_grants;

/* The process manager wants to fork `count`: returns how many may be forked now. The rest is asked
 * for with the next settle. */
uint32_t fpd_grants_allow(struct fpd_pool *pool, uint32_t count);

/* Is it of no use to ask the process manager, because a grant must come first? Notes that `count`
 * workers are wanted. */
int fpd_grants_must_wait(struct fpd_pool *pool, uint32_t count);

/* Once a second, before the process manager decides anew: what is pending is asked for again. */
void fpd_grants_tick(struct fpd_pool *pool);

/* A worker was reaped: pays what is owed. */
void fpd_grants_pay(struct fpd_pool *pool);

/* After forks and deaths: gives back what is not used, tells the master what is wanted. */
void fpd_grants_settle(struct fpd_pool *pool);

/* GRANT: returns how many of what was pending may be forked now. RECLAIM: an idle worker ends, or
 * the first one that would become idle. */
uint32_t fpd_grants_take(struct fpd_pool *pool, uint32_t count);
void fpd_grants_reclaim(struct fpd_pool *pool);

#endif
