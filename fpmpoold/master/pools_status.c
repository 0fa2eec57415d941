/* pools_status.c - pm.status_listen: a pool's second address, for its status and ping pages.
 *
 * Runs in the master, beside pools.c, which decides about the pool. php-fpm makes a pool of its own
 * of it, NAME_status; messages about the address carry that name. A pool serves without it if it
 * cannot be had: monitoring must not take a site down.
 */
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "master/listen.h"
#include "master/pools_private.h"

#define STATUS_BACKLOG (-1) /* the kernel's limit: php-fpm's default */

/* What listens there is the pool's in everything but the address. */
static fpd_plan_pool status_plan(const fpd_pool_record *record)
{
    fpd_plan_pool plan = *record->plan;

    plan.name = apr_pstrcat(record->plan_pool, plan.name, "_status", NULL);
    plan.listen = plan.status_listen;
    plan.listen_backlog = STATUS_BACKLOG;
    return plan;
}

void fpd_pools_status_open(fpd_pool_record *record)
{
    fpd_plan_pool plan;

    if (record->status_listener >= 0 || record->plan->status_listen == NULL) {
        return;
    }
    plan = status_plan(record);
    if (fpd_listeners_open(record->pools->listeners, &record->status_listener, &plan,
                           record->plan_pool) != APR_SUCCESS) {
        record->status_listener = -1;
        fpd_log(FPD_LOG_ERROR,
                "[pool %s] pm.status_listen = %s cannot be bound: the pool serves without it, a "
                "reload tries again",
                record->name, plan.listen);
    }
}

void fpd_pools_status_give_up(fpd_pool_record *record)
{
    fpd_pools_status_rouse(record);
    if (record->status_listener >= 0) {
        fpd_listeners_spare(record->pools->listeners, record->plan->status_listen,
                            record->status_listener);
        record->status_listener = -1;
    }
}

void fpd_pools_status_adjust(fpd_pool_record *record)
{
    if (record->status_listener >= 0) {
        fpd_plan_pool plan = status_plan(record);
        (void)fpd_listen_adjust(record->status_listener, &plan); /* logs what it could not do */
    }
}

void fpd_pools_status_sleep(fpd_pool_record *record, fpd_loop_event_fn *wake)
{
    apr_status_t status;

    if (record->status_listener < 0 || record->status_sleep_id != 0) {
        return;
    }
    status = fpd_loop_add(record->pools->loop, record->status_listener, EPOLLIN, wake, record,
                          &record->status_sleep_id);
    if (status != APR_SUCCESS) {
        record->status_sleep_id = 0;
        fpd_log_errno(FPD_LOG_ERROR, status, "[pool %s] cannot watch pm.status_listen",
                      record->name);
    }
}

void fpd_pools_status_rouse(fpd_pool_record *record)
{
    fpd_loop_remove(record->pools->loop, record->status_sleep_id);
    record->status_sleep_id = 0;
}
