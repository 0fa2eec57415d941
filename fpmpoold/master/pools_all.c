/* pools_all.c - what is done to every pool at once: the beginning and the end, new logs, lists,
 * counts.
 *
 * Runs in the master. What it means for one pool is in pools.c.
 */
#include "master/logs.h"
#include "master/pools_private.h"

fpd_pools *fpd_pools_create(fpd_loop *loop, const char *const *host_directories,
                            fpd_pools_change_fn *on_change, fpd_pools_crash_fn *on_crash,
                            void *context, apr_pool_t *pool)
{
    fpd_pools *pools = apr_pcalloc(pool, sizeof(*pools));

    pools->pool = pool;
    pools->loop = loop;
    pools->host_directories = host_directories;
    pools->on_change = on_change;
    pools->on_crash = on_crash;
    pools->context = context;
    pools->listeners = fpd_listeners_create(pool);
    pools->records = apr_hash_make(pool);
    pools->children = apr_hash_make(pool);
    pools->check = fpd_loop_timer_create(loop, fpd_pools_check_limits, pools);
    fpd_pools_create_permits(pools);
    return pools;
}

apr_array_header_t *fpd_pools_list(const fpd_pools *pools, apr_pool_t *scratch)
{
    apr_array_header_t *plans = apr_array_make(scratch, 8, sizeof(fpd_plan_pool *));

    for (apr_hash_index_t *i = apr_hash_first(scratch, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        fpd_pool_record *record = apr_hash_this_val(i);
        APR_ARRAY_PUSH(plans, fpd_plan_pool *) = record->plan;
    }
    return plans;
}

/* Who comes now would wait for somebody who never accepts: over TCP he is told so, and can go to
 * another host. What has come already is taken by the pool when it is told to drain. A unix socket
 * stays, as php-fpm's does, until the end. */
static void leave_network(fpd_pool_record *record)
{
    if (record->listener >= 0 && record->address[0] != '/' && record->current != NULL &&
        record->current->state != FPD_CHILD_LEAVING && !record->current->is_answering) {
        fpd_pools_give_listener_up(record);
    }
}

void fpd_pools_finish(fpd_pools *pools, int is_graceful, int patience)
{
    int may_finish = is_graceful && patience > 0;

    pools->is_finishing = 1;
    /* an iterator of its own: a READY that is heard here makes the master count the pools */
    for (apr_hash_index_t *i = apr_hash_first(pools->pool, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        fpd_pool_record *record = apr_hash_this_val(i);
        fpd_loop_timer_cancel(record->retry);
        if (may_finish) {
            fpd_pools_drop_next(record);
            leave_network(record);
        }
    }
    fpd_listeners_close_spares(pools->listeners);
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->children); i != NULL;
         i = apr_hash_next(i)) {
        fpd_child *child = apr_hash_this_val(i);
        if (child->state == FPD_CHILD_LEAVING) {
            continue;
        }
        if (!may_finish || child->is_answering) { /* who answers runs no request */
            fpd_pools_stop_child(child);
        } else {
            fpd_pools_drain_child(child, patience, NULL);
        }
    }
}

void fpd_pools_take_inherited(fpd_pools *pools, const fpd_activation *activation)
{
    fpd_listeners_inherit(pools->listeners, activation);
}

void fpd_pools_close_unclaimed(fpd_pools *pools)
{
    fpd_listeners_close_unclaimed(pools->listeners);
}

void fpd_pools_unlink_all(fpd_pools *pools)
{
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        fpd_pools_give_listener_up(apr_hash_this_val(i));
    }
    fpd_listeners_close_spares(pools->listeners);
}

static void tell_logs(fpd_child *child, const fpd_logs_pair *logs)
{
    if (child != NULL && !child->is_answering && (logs->access_log >= 0 || logs->slow_log >= 0)) {
        fpd_children_tell_logs(child, logs->access_log, logs->slow_log);
    }
}

/* The next generation may have opened the old files just before they were moved away: it hears of
 * the new ones when it is ready. */
static int reopen_logs(fpd_pool_record *record)
{
    fpd_logs_pair logs;
    int is_good = fpd_logs_open_pair(&logs, record->plan);

    tell_logs(record->current, &logs);
    tell_logs(record->next, &logs);
    fpd_logs_close_pair(&logs);
    return is_good;
}

/* Older generations, whose last requests are not logged yet. */
static void reopen_logs_of_drained(fpd_pools *pools)
{
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->children); i != NULL;
         i = apr_hash_next(i)) {
        fpd_child *child = apr_hash_this_val(i);
        const fpd_pool_record *record = child->owner;
        fpd_logs_pair logs;
        if (child != record->current && child != record->next) {
            (void)fpd_logs_open_pair(&logs, record->plan);
            tell_logs(child, &logs);
            fpd_logs_close_pair(&logs);
        }
    }
}

int fpd_pools_reopen_logs(fpd_pools *pools, int *has_failed)
{
    int count = 0;

    *has_failed = 0;
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        fpd_pool_record *record = apr_hash_this_val(i);
        if (record->plan->access_log != NULL) {
            count++;
        }
        if (!reopen_logs(record)) {
            *has_failed = 1;
        }
    }
    reopen_logs_of_drained(pools);
    return count > 0;
}

fpd_pools_counts fpd_pools_count(const fpd_pools *pools)
{
    fpd_pools_counts counts = {.children = apr_hash_count(pools->children)};

    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        const fpd_pool_record *record = apr_hash_this_val(i);
        counts.starting += !record->is_settled;
        counts.serving += record->reason[0] == '\0';
    }
    return counts;
}

int fpd_pools_may_have_orphans(const fpd_pools *pools)
{
    return pools->may_have_orphans;
}

int fpd_pools_has_crashed(const fpd_pools *pools, const char *name)
{
    const fpd_pool_record *record = apr_hash_get(pools->records, name, APR_HASH_KEY_STRING);

    return record != NULL && record->has_crashed;
}
