/* pools_ends.c - how pool processes end: told, watched, and ended when they do not.
 *
 * Runs in the master. Why one is to end is pools.c's business, and its steps are in children.c.
 */
#include "base/loop.h"
#include "master/pools_private.h"

#define CHECK_EVERY    250000 /* microseconds */
#define START_PATIENCE 2      /* seconds, for a child that has not said READY */

void fpd_pools_check_limits(void *context)
{
    fpd_pools *pools = context;
    int64_t now = fpd_monotonic_now();
    int is_waiting = 0;

    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->children); i != NULL;
         i = apr_hash_next(i)) {
        fpd_child *child = apr_hash_this_val(i);
        fpd_children_check(child, now);
        is_waiting |= child->stop_by != 0;
    }
    if (is_waiting) {
        fpd_loop_timer_set(pools->check, now + CHECK_EVERY);
    }
}

void fpd_pools_watch_limits(fpd_pools *pools)
{
    if (!fpd_loop_timer_is_set(pools->check)) {
        fpd_loop_timer_set(pools->check, fpd_monotonic_now() + CHECK_EVERY);
    }
}

void fpd_pools_stop_child(fpd_child *child)
{
    fpd_pool_record *record = child->owner;

    fpd_children_stop(child);
    fpd_pools_watch_limits(record->pools);
}

void fpd_pools_drain_child(fpd_child *child, int patience, fpd_child *successor)
{
    fpd_pool_record *record = child->owner;

    if (successor != NULL && (successor->is_answering || record->pools->is_finishing)) {
        successor = NULL; /* it would refuse what it gets */
    }
    fpd_children_drain(child, patience, successor);
    fpd_pools_watch_limits(record->pools);
}

void fpd_pools_retire(fpd_pool_record *record, fpd_child *child, fpd_child *successor)
{
    if (child != NULL) {
        fpd_pools_drain_child(
            child, child->is_answering ? 1 : record->plan->process_control_timeout, successor);
    }
}

/* It may be serving already: its READY may have come, and is heard then, or be on its way, so even
 * then it is drained, but not for long; what it accepted goes to the one that serves. */
void fpd_pools_drop_next(fpd_pool_record *record)
{
    if (record->next != NULL) {
        fpd_children_take_messages(record->next);
    }
    if (record->next != NULL) {
        fpd_pools_drain_child(record->next, START_PATIENCE, record->current);
        record->next = NULL;
    }
}
