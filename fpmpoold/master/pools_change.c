/* pools_change.c - what an operator asks of a pool, and whether that has come about.
 *
 * Runs in the master. The events that bring a change about are in pools.c.
 */
#include <string.h>

#include "apr_strings.h"
#include "master/pools_private.h"

void fpd_pools_begin_change(fpd_pool_record *record)
{
    record->pools->changing += !record->is_changing;
    record->is_changing = 1;
    record->failure[0] = '\0';
}

void fpd_pools_end_change(fpd_pool_record *record, const char *failure)
{
    if (record->is_changing) {
        record->pools->changing--;
        record->is_changing = 0;
        (void)apr_cpystrn(record->failure, failure, sizeof(record->failure));
    }
}

void fpd_pools_restart(fpd_pools *pools, const char *name)
{
    fpd_pool_record *record = apr_hash_get(pools->records, name, APR_HASH_KEY_STRING);

    fpd_pools_replace(pools, record->plan, 0);
}

void fpd_pools_drain(fpd_pools *pools, const char *name)
{
    fpd_pool_record *record = apr_hash_get(pools->records, name, APR_HASH_KEY_STRING);

    fpd_loop_timer_cancel(record->retry);
    fpd_loop_remove(pools->loop, record->sleep_id);
    record->sleep_id = 0;
    fpd_pools_status_rouse(record);
    fpd_pools_drop_next(record);
    if (record->current != NULL && record->current->is_answering) { /* for another reason */
        fpd_pools_retire(record, record->current, NULL);
        record->current = NULL;
    }
    record->is_drained = 1;
    fpd_pools_begin_change(record);
    fpd_pools_start_host(record);
    if (record->next == NULL) { /* nobody is there who could answer: the change has failed */
        record->is_drained = 0;
        if (record->current != NULL) {
            record->reason[0] = '\0';
        }
    }
}
