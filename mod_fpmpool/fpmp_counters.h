/* fpmp_counters.h - what the requests of all children to a server of a pool add up to
 * (specification: apache.md 1.8).
 *
 * Lies in the shared record of (pool, server). Whole words are added, so a child that is killed
 * leaves no wrong figure behind; figures of one request may be read a moment apart.
 */
#ifndef FPMP_COUNTERS_H
#define FPMP_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* The values of the note fpmpool-state, in the order of fpmp_counters_state_name. */
#define FPMP_COUNTERS_STATES 18

/* All 0 at first. */
typedef struct fpmp_counters {
    _Atomic(uint64_t) states[FPMP_COUNTERS_STATES];
    _Atomic(uint64_t) bytes;
    _Atomic(uint64_t) microseconds;
} fpmp_counters;

typedef struct fpmp_count {
    uint64_t requests; /* that have ended */
    uint64_t states[FPMP_COUNTERS_STATES];
    uint64_t bytes;        /* of bodies, to clients */
    uint64_t microseconds; /* from start to end, sum */
} fpmp_count;

/* A request has ended there. state: a value of the note, or NULL. Returns its number. */
int fpmp_counters_add(fpmp_counters *counters, const char *state, uint64_t bytes,
                      uint64_t microseconds);

void fpmp_counters_read(const fpmp_counters *counters, fpmp_count *count);

/* Did something go wrong that is no client's doing: everything but ok, abort, client, refused. */
int fpmp_counters_is_failure(int state);

/* "ok", "down", ...; NULL behind the last. */
const char *fpmp_counters_state_name(int state);

#endif
