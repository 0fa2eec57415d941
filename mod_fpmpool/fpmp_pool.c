/* fpmp_pool.c - a pool's plain data: how its time limits are overlaid.
 *
 * Runs while the configuration is read and merged, and for each request. Pure.
 */
#include "fpmp_pool.h"

int fpmp_pool_is_bad_status(const fpmp_pool *pool, int status)
{
    for (const int *at = pool->bad_statuses; at && *at; at++) {
        if (*at == status) {
            return 1;
        }
    }
    return 0;
}

void fpmp_pool_overlay(fpmp_timeouts *timeouts, const fpmp_timeouts *inner)
{
    if (inner->connect_set) {
        timeouts->connect = inner->connect;
        timeouts->connect_set = 1;
    }
    if (inner->first_set) {
        timeouts->first = inner->first;
        timeouts->first_set = 1;
    }
    if (inner->idle_set) {
        timeouts->idle = inner->idle;
        timeouts->idle_set = 1;
    }
    if (inner->total_set) {
        timeouts->total = inner->total;
        timeouts->total_set = 1;
    }
    if (inner->keep_set) {
        timeouts->keep = inner->keep;
        timeouts->keep_set = 1;
    }
}
