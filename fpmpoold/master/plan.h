/* plan.h - what a new configuration asks the master to do. Pure. */
#ifndef FPD_PLAN_H
#define FPD_PLAN_H

#include "apr_pools.h"
#include "apr_tables.h"
#include "base/plan_format.h"

typedef enum fpd_plan_kind {
    FPD_PLAN_KEEP,    /* same plan: the running generation serves on */
    FPD_PLAN_START,   /* new pool */
    FPD_PLAN_REPLACE, /* start a new generation beside the old one, then drain the old one */
    FPD_PLAN_STOP     /* pool is gone: drain it, unlink its socket */
} fpd_plan_kind;

typedef struct fpd_plan_action {
    fpd_plan_kind kind;
    const char *name;
    fpd_plan_pool *plan;  /* the new one; NULL for STOP */
    int has_new_listener; /* REPLACE: the address changed */
} fpd_plan_action;

/* Actions in a safe order: STOP first (frees addresses), then the others in the new file's order.
 * old_pools, new_pools: arrays of fpd_plan_pool *. replace_all: USR2, every pool gets a new
 * generation. From pool. */
apr_array_header_t *fpd_plan_compare(const apr_array_header_t *old_pools,
                                     const apr_array_header_t *new_pools, int replace_all,
                                     apr_pool_t *pool);

#endif
