/* fpmp_counters.h - what the requests of all children add up to, in shared memory (specification:
 * apache.md 1.8).
 *
 * One row for each child, one cell of it for each server of a pool. Only its own child writes a
 * row, so nothing is lost between threads and processes; readers add rows up. What is in flight is
 * forgotten when a child ends, however it ends; everything else stays, also over graceful restarts,
 * for pools and servers that are still there under their names.
 */
#ifndef FPMP_COUNTERS_H
#define FPMP_COUNTERS_H

#include "fpmp_pool.h"

#include <apr_pools.h>
#include <stdint.h>

/* The values of the note fpmpool-state, in the order of fpmp_counters_state_name. */
#define FPMP_COUNTERS_STATES 14

typedef struct fpmp_counters fpmp_counters;

/* Sums over all children. */
typedef struct fpmp_count {
    uint64_t in_flight;
    uint64_t requests; /* that have ended */
    uint64_t states[FPMP_COUNTERS_STATES];
    uint64_t bytes;        /* of bodies, to clients */
    uint64_t microseconds; /* from start to end, sum */
} fpmp_count;

/* In the parent, when everything is configured: memory for `rows` children at once and for these
 * servers, each named by its pool and its address and numbered by server->index. process: the pool
 * that lives as long as the parent; config: that of this configuration. */
apr_status_t fpmp_counters_create(fpmp_counters **counters, apr_pool_t *process, apr_pool_t *config,
                                  int rows, int server_count);
/* Says which pool and server an index is; before any child is forked. */
void fpmp_counters_name(fpmp_counters *counters, const fpmp_server *server, const char *pool_name);

/* In a new child: takes a row. When there is none (which no MPM lets happen) the child counts
 * nothing. `child` gives it back. */
void fpmp_counters_enter(fpmp_counters *counters, apr_pool_t *child);
/* In the parent: that process has ended; its row is free. */
void fpmp_counters_leave(fpmp_counters *counters, int pid);

/* A request has chosen its server; it is in flight until _end. counters may be NULL. */
void fpmp_counters_begin(fpmp_counters *counters, const fpmp_server *server);
/* It goes to another one instead: nothing was asked here. */
void fpmp_counters_cancel(fpmp_counters *counters, const fpmp_server *server);
/* state: a value of the note, or NULL. */
void fpmp_counters_end(fpmp_counters *counters, const fpmp_server *server, const char *state,
                       uint64_t bytes, uint64_t microseconds);

void fpmp_counters_read(const fpmp_counters *counters, const fpmp_server *server,
                        fpmp_count *count);

/* "ok", "down", ...; NULL behind the last. */
const char *fpmp_counters_state_name(int state);

#endif
