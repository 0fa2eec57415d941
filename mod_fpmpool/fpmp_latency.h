/* fpmp_latency.h - how long requests take, and how the last hour went: figures in shared memory
 * that any child adds to (specification: apache.md 1.8).
 *
 * No locks and no resets: a word that belongs to a period carries the number of that period and is
 * replaced as a whole by whoever comes first in the next one. Who is killed leaves nothing half
 * done. All zero is empty. Needs APR only.
 */
#ifndef FPMP_LATENCY_H
#define FPMP_LATENCY_H

#include <apr_time.h>
#include <stdatomic.h>
#include <stdint.h>

/* Six buckets for each power of ten (bounds 1, 1.5, 2, 3, 5, 7), from 200 us to 100 s, and one for
 * what is longer. A bucket has what is not longer than its bound and longer than the one before. */
#define FPMP_LATENCY_BOUNDS  35
#define FPMP_LATENCY_BUCKETS (FPMP_LATENCY_BOUNDS + 1)
/* What is counted for ever: three of them (bounds 1, 2, 5), from 1 ms. */
#define FPMP_LATENCY_COARSE 17
#define FPMP_LATENCY_PERIOD apr_time_from_sec(300)

/* Of one server. */
typedef struct fpmp_latency {
    _Atomic(uint64_t) ever[FPMP_LATENCY_COARSE];
    _Atomic(uint32_t) recent[2][FPMP_LATENCY_BUCKETS]; /* of periods with even and odd numbers; no
                                                          word counts more than 2 million */
} fpmp_latency;

/* Plain copies of it. */
typedef struct fpmp_latency_counts {
    uint64_t buckets[FPMP_LATENCY_BUCKETS];
} fpmp_latency_counts;

typedef struct fpmp_latency_ever {
    uint64_t buckets[FPMP_LATENCY_COARSE];
} fpmp_latency_ever;

#define FPMP_HISTORY_MINUTES 60

typedef struct fpmp_minute {
    _Atomic(uint64_t) requests; /* and, in its upper half, errors */
    _Atomic(uint64_t) microseconds;
} fpmp_minute;

/* Of one pool: a ring. */
typedef struct fpmp_history {
    fpmp_minute minutes[FPMP_HISTORY_MINUTES];
} fpmp_history;

typedef struct fpmp_minute_counts {
    uint64_t requests; /* that have ended in this minute */
    uint64_t errors;
    uint64_t microseconds; /* that these requests took, sum */
} fpmp_minute_counts;

/* The upper bound of a bucket in microseconds; UINT64_MAX for the last one. */
uint64_t fpmp_latency_bound(int bucket);
uint64_t fpmp_latency_coarse_bound(int bucket);

/* A request has ended. now: fpmp_clock_now(). */
void fpmp_latency_add(fpmp_latency *latency, uint64_t microseconds, apr_time_t now);
void fpmp_history_add(fpmp_history *history, int is_error, uint64_t microseconds, apr_time_t now);

void fpmp_latency_read_ever(const fpmp_latency *latency, fpmp_latency_ever *ever);
/* What ended within this period and the one before: the last five to ten minutes. */
void fpmp_latency_read_recent(const fpmp_latency *latency, apr_time_t now,
                              fpmp_latency_counts *counts);

/* minutes[0] is an hour ago, the last one is the minute that runs. */
void fpmp_history_read(const fpmp_history *history, apr_time_t now,
                       fpmp_minute_counts minutes[FPMP_HISTORY_MINUTES]);

/* Microseconds within which that part (0 < part < 1) of the requests was done, estimated within its
 * bucket; 0: there were none. */
uint64_t fpmp_latency_quantile(const fpmp_latency_counts *counts, double part);

#endif
