/* fpmp_seen.c - all figures at one moment: what they mean together, and in which order they come.
 *
 * Runs in an httpd child for each page of figures. Pure.
 */
#include "fpmp_seen.h"

#include <stdlib.h>
#include <string.h>

const char *fpmp_seen_state_name(fpmp_seen_state state)
{
    static const char *const names[] = {"down",    "partly down", "trying",
                                        "drained", "up",          "not asked yet"};
    return names[state];
}

fpmp_seen_state fpmp_seen_server_state(const fpmp_seen_server *server)
{
    if (server->mode != FPMP_ADMIN_READY) {
        return FPMP_SEEN_DRAINED;
    }
    if (server->health != FPMP_HEALTH_UP) {
        return server->health == FPMP_HEALTH_DOWN ? FPMP_SEEN_DOWN : FPMP_SEEN_TRYING;
    }
    return server->count.requests || server->in_flight || server->changed != FPMP_NEVER
               ? FPMP_SEEN_UP
               : FPMP_SEEN_UNASKED;
}

static void add_counts(fpmp_latency_counts *to, const fpmp_latency_counts *from)
{
    for (int i = 0; i < FPMP_LATENCY_BUCKETS; i++) {
        to->buckets[i] += from->buckets[i];
    }
}

static fpmp_seen_state state_of(const fpmp_seen_pool *pool, const int *of_state)
{
    if (!pool->usable) {
        return of_state[FPMP_SEEN_TRYING] ? FPMP_SEEN_TRYING : FPMP_SEEN_DOWN;
    }
    if (of_state[FPMP_SEEN_DOWN]) {
        return FPMP_SEEN_PARTLY;
    }
    if (of_state[FPMP_SEEN_TRYING]) {
        return FPMP_SEEN_TRYING;
    }
    if (of_state[FPMP_SEEN_DRAINED]) {
        return FPMP_SEEN_DRAINED;
    }
    return of_state[FPMP_SEEN_UP] ? FPMP_SEEN_UP : FPMP_SEEN_UNASKED;
}

void fpmp_seen_sum(fpmp_seen_pool *pool)
{
    int of_state[FPMP_SEEN_UNASKED + 1] = {0};
    for (int i = 0; i < pool->server_count; i++) {
        const fpmp_seen_server *server = &pool->servers[i];
        of_state[fpmp_seen_server_state(server)]++;
        pool->in_flight += server->in_flight;
        pool->requests += server->count.requests;
        pool->bytes += server->count.bytes;
        add_counts(&pool->recent, &server->recent);
    }
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        pool->hour_requests += pool->minutes[i].requests;
        pool->hour_errors += pool->minutes[i].errors;
    }
    pool->usable = of_state[FPMP_SEEN_UP] + of_state[FPMP_SEEN_UNASKED];
    pool->state = state_of(pool, of_state);
}

/* ---- order ----------------------------------------------------------------------------------- */

typedef uint64_t rank_fn(const fpmp_seen_pool *pool);

static uint64_t by_state(const fpmp_seen_pool *pool)
{
    /* Up, or not asked yet: both are as they should be, and stand in one list. */
    return pool->state < FPMP_SEEN_UP ? (uint64_t)(FPMP_SEEN_UP - pool->state) : 0;
}

static uint64_t by_name(const fpmp_seen_pool *pool)
{
    (void)pool;
    return 0;
}

static uint64_t by_flight(const fpmp_seen_pool *pool)
{
    return pool->in_flight + pool->waiting;
}

static uint64_t by_requests(const fpmp_seen_pool *pool)
{
    return pool->hour_requests;
}

static uint64_t by_errors(const fpmp_seen_pool *pool)
{
    return pool->hour_errors;
}

static uint64_t by_time(const fpmp_seen_pool *pool)
{
    return fpmp_latency_quantile(&pool->recent, 0.99);
}

static int compare(const fpmp_seen_pool *one, const fpmp_seen_pool *other, rank_fn *rank)
{
    uint64_t here = rank(one);
    uint64_t there = rank(other);
    if (here != there) {
        return here > there ? -1 : 1;
    }
    return strcmp(one->name, other->name);
}

#define COMPARE(rank)                                                                              \
    static int compare_##rank(const void *one, const void *other)                                  \
    {                                                                                              \
        return compare(one, other, rank);                                                          \
    }
COMPARE(by_state)
COMPARE(by_name)
COMPARE(by_flight)
COMPARE(by_requests)
COMPARE(by_errors)
COMPARE(by_time)

/* In the order of fpmp_sort. */
static int (*const comparisons[])(const void *, const void *) = {
    compare_by_state,    compare_by_name,   compare_by_flight,
    compare_by_requests, compare_by_errors, compare_by_time};

void fpmp_seen_arrange(fpmp_snapshot *snapshot, const fpmp_query *query)
{
    int kept = 0;
    for (int i = 0; i < snapshot->pool_count; i++) {
        const fpmp_seen_pool *pool = &snapshot->pools[i];
        int is_dull = query->wants_trouble && pool->state >= FPMP_SEEN_UP && !pool->waiting;
        int is_unasked =
            query->leaves_unasked && !pool->requests && !pool->in_flight && !pool->waiting;
        if (!is_dull && !is_unasked) {
            snapshot->pools[kept++] = *pool;
        }
    }
    snapshot->pool_count = kept;
    qsort(snapshot->pools, (size_t)kept, sizeof(*snapshot->pools), comparisons[query->sort]);
}
