/* fpmp_latency.c - how long requests take, and how the last hour went.
 *
 * Runs in every thread of every httpd child, once for each request. Owns nothing: the memory is
 * fpmp_share.c's. Plain atomics; must not log or wait.
 */
#include "fpmp_latency.h"

/* A word of a period: the period's number in the upper bits, the count in the lower ones. */
#define COUNT_BITS 48
#define COUNT_MOST ((UINT64_C(1) << COUNT_BITS) - 1)

/* Two counts in one word: in a minute there are less than 16 million requests. */
#define HALF_BITS 24
#define HALF_MOST ((UINT64_C(1) << HALF_BITS) - 1)

static const uint32_t bounds[FPMP_LATENCY_BOUNDS] = {
    200,     300,      500,      700,      1000,     1500,     2000,     3000,     5000,
    7000,    10000,    15000,    20000,    30000,    50000,    70000,    100000,   150000,
    200000,  300000,   500000,   700000,   1000000,  1500000,  2000000,  3000000,  5000000,
    7000000, 10000000, 15000000, 20000000, 30000000, 50000000, 70000000, 100000000};

uint64_t fpmp_latency_bound(int bucket)
{
    return bucket < FPMP_LATENCY_BOUNDS ? bounds[bucket] : UINT64_MAX;
}

/* Every second bound from 1 ms. */
#define COARSE_FIRST 4

uint64_t fpmp_latency_coarse_bound(int bucket)
{
    return fpmp_latency_bound(COARSE_FIRST + 2 * bucket);
}

static int coarse_of(int bucket)
{
    return bucket <= COARSE_FIRST ? 0 : (bucket - COARSE_FIRST + 1) / 2;
}

static int bucket_of(uint64_t microseconds)
{
    int low = 0;
    int high = FPMP_LATENCY_BOUNDS;
    while (low < high) {
        int middle = (low + high) / 2;
        if (microseconds <= bounds[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* ---- words of a period ----------------------------------------------------------------------- */

/* A word of the ring belongs to one minute of each hour. */
static uint64_t tag_of(uint64_t minute)
{
    return (minute / FPMP_HISTORY_MINUTES + 1) << COUNT_BITS;
}

static void count(_Atomic(uint64_t) *word, uint64_t tag, uint64_t number)
{
    uint64_t before = atomic_load_explicit(word, memory_order_relaxed);
    while ((before ^ tag) & ~COUNT_MOST) {
        if (atomic_compare_exchange_weak_explicit(word, &before, tag + number, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return;
        }
    }
    atomic_fetch_add_explicit(word, number, memory_order_relaxed);
}

static uint64_t look(const _Atomic(uint64_t) *word, uint64_t tag)
{
    uint64_t found = atomic_load_explicit(word, memory_order_relaxed);
    return (found ^ tag) & ~COUNT_MOST ? 0 : found & COUNT_MOST;
}

/* The same in half the room. A count stops where many threads at once could not carry it into the
 * tag; a tag comes again after two weeks. */
#define SMALL_BITS 21
#define SMALL_MOST ((UINT32_C(1) << SMALL_BITS) - 1)
#define SMALL_STOP (SMALL_MOST - 65536)

static uint32_t small_tag_of(uint64_t period)
{
    return (uint32_t)((period / 2 + 1) << SMALL_BITS);
}

static void count_small(_Atomic(uint32_t) *word, uint32_t tag)
{
    uint32_t before = atomic_load_explicit(word, memory_order_relaxed);
    while ((before ^ tag) & ~SMALL_MOST) {
        if (atomic_compare_exchange_weak_explicit(word, &before, tag + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return;
        }
    }
    if ((before & SMALL_MOST) < SMALL_STOP) {
        atomic_fetch_add_explicit(word, 1, memory_order_relaxed);
    }
}

static uint32_t look_small(const _Atomic(uint32_t) *word, uint32_t tag)
{
    uint32_t found = atomic_load_explicit(word, memory_order_relaxed);
    return (found ^ tag) & ~SMALL_MOST ? 0 : found & SMALL_MOST;
}

/* ---- how long -------------------------------------------------------------------------------- */

void fpmp_latency_add(fpmp_latency *latency, uint64_t microseconds, apr_time_t now)
{
    uint64_t period = (uint64_t)(now / FPMP_LATENCY_PERIOD);
    int bucket = bucket_of(microseconds);
    atomic_fetch_add_explicit(&latency->ever[coarse_of(bucket)], 1, memory_order_relaxed);
    count_small(&latency->recent[period % 2][bucket], small_tag_of(period));
}

void fpmp_latency_read_ever(const fpmp_latency *latency, fpmp_latency_ever *ever)
{
    for (int i = 0; i < FPMP_LATENCY_COARSE; i++) {
        ever->buckets[i] = atomic_load_explicit(&latency->ever[i], memory_order_relaxed);
    }
}

void fpmp_latency_read_recent(const fpmp_latency *latency, apr_time_t now,
                              fpmp_latency_counts *counts)
{
    uint64_t period = (uint64_t)(now / FPMP_LATENCY_PERIOD);
    for (int i = 0; i < FPMP_LATENCY_BUCKETS; i++) {
        counts->buckets[i] = look_small(&latency->recent[period % 2][i], small_tag_of(period));
        if (period) {
            counts->buckets[i] +=
                look_small(&latency->recent[(period - 1) % 2][i], small_tag_of(period - 1));
        }
    }
}

uint64_t fpmp_latency_quantile(const fpmp_latency_counts *counts, double part)
{
    uint64_t total = 0;
    for (int i = 0; i < FPMP_LATENCY_BUCKETS; i++) {
        total += counts->buckets[i];
    }
    double wanted = part * (double)total;
    double before = 0;
    for (int i = 0; i < FPMP_LATENCY_BUCKETS; i++) {
        double here = (double)counts->buckets[i];
        if (here > 0 && before + here >= wanted) {
            uint64_t low = i ? fpmp_latency_bound(i - 1) : 0;
            uint64_t high = i < FPMP_LATENCY_BOUNDS ? fpmp_latency_bound(i) : low;
            return low + (uint64_t)((double)(high - low) * (wanted - before) / here);
        }
        before += here;
    }
    return 0;
}

/* ---- the last hour --------------------------------------------------------------------------- */

static uint64_t minute_of(apr_time_t now)
{
    return (uint64_t)(now / apr_time_from_sec(60));
}

void fpmp_history_add(fpmp_history *history, int is_error, uint64_t microseconds, apr_time_t now)
{
    uint64_t number = minute_of(now);
    uint64_t tag = tag_of(number);
    fpmp_minute *minute = &history->minutes[number % FPMP_HISTORY_MINUTES];
    count(&minute->requests, tag, is_error ? 1 | UINT64_C(1) << HALF_BITS : 1);
    count(&minute->microseconds, tag, microseconds);
}

void fpmp_history_read(const fpmp_history *history, apr_time_t now,
                       fpmp_minute_counts minutes[FPMP_HISTORY_MINUTES])
{
    uint64_t last = minute_of(now);
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        uint64_t back = (uint64_t)(FPMP_HISTORY_MINUTES - 1 - i);
        minutes[i] = (fpmp_minute_counts){0};
        if (back <= last) {
            uint64_t number = last - back;
            uint64_t tag = tag_of(number);
            const fpmp_minute *minute = &history->minutes[number % FPMP_HISTORY_MINUTES];
            uint64_t both = look(&minute->requests, tag);
            minutes[i].requests = both & HALF_MOST;
            minutes[i].errors = both >> HALF_BITS;
            minutes[i].microseconds = look(&minute->microseconds, tag);
        }
    }
}
