/* emergency.c - a ring of the last crashes.
 *
 * Pure; runs in the master.
 */
#include "master/emergency.h"

#define THRESHOLD_MOST 65536 /* of crashes that are remembered */

struct fpd_emergency {
    apr_pool_t *pool;
    apr_pool_t *memory; /* owns times */
    int32_t threshold;
    int64_t interval;
    int64_t not_before; /* crashes before this do not count */
    int32_t count;      /* in the ring */
    int32_t next;
    int64_t *times;
};

fpd_emergency *fpd_emergency_create(apr_pool_t *pool)
{
    fpd_emergency *emergency = apr_pcalloc(pool, sizeof(*emergency));

    emergency->pool = pool;
    return emergency;
}

void fpd_emergency_set(fpd_emergency *emergency, int threshold, int interval)
{
    apr_pool_t *memory = NULL;

    threshold = threshold < THRESHOLD_MOST ? threshold : THRESHOLD_MOST;
    if (threshold <= 0 || interval <= 0) {
        threshold = 0;
        interval = 0;
    }
    if (threshold == emergency->threshold && interval == emergency->interval / 1000000) {
        return;
    }
    if (emergency->memory != NULL) {
        apr_pool_destroy(emergency->memory);
    }
    emergency->memory = NULL;
    emergency->threshold = 0;
    emergency->count = 0;
    emergency->next = 0;
    emergency->interval = (int64_t)interval * 1000000;
    if (threshold > 0 && apr_pool_create(&memory, emergency->pool) == APR_SUCCESS) {
        emergency->memory = memory;
        emergency->threshold = threshold;
        emergency->times = apr_palloc(memory, (apr_size_t)threshold * sizeof(emergency->times[0]));
    }
}

int fpd_emergency_note(fpd_emergency *emergency, int64_t now)
{
    int64_t oldest;

    if (emergency->threshold == 0 || now < emergency->not_before) {
        return 0;
    }
    emergency->times[emergency->next] = now;
    emergency->next = (emergency->next + 1) % emergency->threshold;
    if (emergency->count < emergency->threshold) {
        emergency->count++;
    }
    oldest = emergency->times[emergency->next]; /* the slot that is overwritten next */
    if (emergency->count < emergency->threshold || now - oldest > emergency->interval) {
        return 0;
    }
    emergency->count = 0;
    emergency->next = 0;
    emergency->not_before = now + emergency->interval;
    return 1;
}

int64_t fpd_emergency_pause(const fpd_emergency *emergency)
{
    return emergency->not_before;
}

void fpd_emergency_resume(fpd_emergency *emergency, int64_t not_before)
{
    emergency->not_before = not_before;
}
