/* pools_report.c - how every pool is, for people and for systemd.
 *
 * Runs in the master. Counters come from boards that tenants can write: they are bounded, printed
 * and never decided by.
 */
#include <stdlib.h>
#include <string.h>

#include "master/pools_private.h"

static const char *name_state(const fpd_pool_record *record)
{
    if (record->is_drained) {
        int has_ended = record->child_count <= 1 && record->current != NULL;
        return has_ended ? "drained" : "draining";
    }
    if (record->sleep_id != 0) {
        return "asleep";
    }
    if (record->current != NULL && !record->current->is_answering) {
        return "serving";
    }
    return record->reason[0] != '\0' ? "failed" : "starting";
}

static void describe(const fpd_pool_record *record, fpd_pool_report *report)
{
    const fpd_child *next =
        record->next != NULL && !record->next->is_answering ? record->next : NULL;
    const fpd_child *shown = record->current != NULL ? record->current : next;

    memset(report, 0, sizeof(*report));
    report->name = record->name;
    report->address = record->address;
    report->state = name_state(record);
    report->failure = record->failure;
    report->reason = record->reason;
    report->is_changing = record->is_changing;
    report->is_serving = strcmp(report->state, "serving") == 0 || record->sleep_id != 0;
    report->is_drained = record->is_drained;
    report->generations = record->child_count;
    report->draining = record->child_count - (unsigned)(record->current != NULL) -
                       (unsigned)(record->next != NULL);
    report->max_children = (uint32_t)record->plan->max_children;
    if (shown != NULL) {
        report->pid = shown->pid;
        report->up = fpd_monotonic_now() - shown->started_at;
        report->has_board = !shown->is_answering;
    }
    if (report->has_board) {
        fpd_children_read_board(shown, &report->board);
    }
}

int fpd_pools_describe(const fpd_pools *pools, const char *name, fpd_pool_report *report)
{
    const fpd_pool_record *record = apr_hash_get(pools->records, name, APR_HASH_KEY_STRING);

    if (record == NULL) {
        return 0;
    }
    describe(record, report);
    return 1;
}

unsigned fpd_pools_changing(const fpd_pools *pools)
{
    return pools->changing;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

apr_array_header_t *fpd_pools_names(const fpd_pools *pools, apr_pool_t *scratch)
{
    apr_array_header_t *names = apr_array_make(scratch, 8, sizeof(const char *));

    for (apr_hash_index_t *i = apr_hash_first(scratch, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        const fpd_pool_record *record = apr_hash_this_val(i);
        APR_ARRAY_PUSH(names, const char *) = record->name;
    }
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    return names;
}

/* Without overflow, whatever a tenant wrote. */
static void add(uint64_t *sum, uint64_t more)
{
    *sum = *sum > UINT64_MAX - more ? UINT64_MAX : *sum + more;
}

void fpd_pools_keep_counts(fpd_pools *pools, const fpd_child *child)
{
    fpd_board_view view;

    if (child->has_successor) {
        return;
    }
    fpd_children_read_board(child, &view);
    add(&pools->ended_requests, view.requests);
    add(&pools->ended_slow_requests, view.slow_requests);
}

fpd_pools_sums fpd_pools_sum(const fpd_pools *pools)
{
    fpd_pools_sums sums = {.requests = pools->ended_requests,
                           .slow_requests = pools->ended_slow_requests};

    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->children); i != NULL;
         i = apr_hash_next(i)) {
        const fpd_child *child = apr_hash_this_val(i);
        fpd_board_view view;
        fpd_children_read_board(child, &view);
        sums.active += view.active;
        sums.idle += view.idle;
        if (child->has_successor) { /* which has been told of them */
            continue;
        }
        add(&sums.requests, view.requests);
        add(&sums.slow_requests, view.slow_requests);
    }
    return sums;
}
