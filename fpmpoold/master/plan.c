/* plan.c - compares the pools that run with the pools that shall run.
 *
 * Pure: no I/O, no processes; t/unit/test_plan.c holds its table.
 */
#include "master/plan.h"

#include <string.h>

#include "apr_hash.h"

static apr_hash_t *index_by_name(const apr_array_header_t *pools, apr_pool_t *pool)
{
    apr_hash_t *index = apr_hash_make(pool);

    for (int i = 0; i < pools->nelts; i++) {
        fpd_plan_pool *plan = APR_ARRAY_IDX(pools, i, fpd_plan_pool *);
        apr_hash_set(index, plan->name, APR_HASH_KEY_STRING, plan);
    }
    return index;
}

static void add(apr_array_header_t *actions, fpd_plan_kind kind, const char *name,
                fpd_plan_pool *plan, int has_new_listener)
{
    fpd_plan_action *action = apr_array_push(actions);

    action->kind = kind;
    action->name = name;
    action->plan = plan;
    action->has_new_listener = has_new_listener;
}

apr_array_header_t *fpd_plan_compare(const apr_array_header_t *old_pools,
                                     const apr_array_header_t *new_pools, int replace_all,
                                     apr_pool_t *pool)
{
    apr_array_header_t *actions = apr_array_make(pool, 8, sizeof(fpd_plan_action));
    apr_hash_t *old_index = index_by_name(old_pools, pool);
    apr_hash_t *new_index = index_by_name(new_pools, pool);

    for (int i = 0; i < old_pools->nelts; i++) {
        const fpd_plan_pool *old = APR_ARRAY_IDX(old_pools, i, fpd_plan_pool *);
        if (apr_hash_get(new_index, old->name, APR_HASH_KEY_STRING) == NULL) {
            add(actions, FPD_PLAN_STOP, old->name, NULL, 0);
        }
    }
    for (int i = 0; i < new_pools->nelts; i++) {
        fpd_plan_pool *plan = APR_ARRAY_IDX(new_pools, i, fpd_plan_pool *);
        const fpd_plan_pool *old = apr_hash_get(old_index, plan->name, APR_HASH_KEY_STRING);
        if (old == NULL) {
            add(actions, FPD_PLAN_START, plan->name, plan, 1);
        } else if (replace_all || !fpd_plan_pool_equals(old, plan)) {
            add(actions, FPD_PLAN_REPLACE, plan->name, plan,
                strcmp(old->listen, plan->listen) != 0);
        } else {
            add(actions, FPD_PLAN_KEEP, plan->name, plan, 0);
        }
    }
    return actions;
}
