/* worker.h - one worker: serves one request at a time (design section 3, dispatch.md 3).
 *
 * Called by the pool process in the forked child; never returns to the pool process's code.
 */
#ifndef FPD_WORKER_H
#define FPD_WORKER_H

#include "apr_pools.h"
#include "base/board.h"
#include "base/plan_format.h"

typedef struct fpd_worker_setup {
    const fpd_plan_pool *plan;
    fpd_board *board;
    uint32_t slot;    /* index on the board, state STARTING */
    int channel;      /* its end, to the pool process */
    int log;          /* datagrams to the master */
    int output;       /* write end of a pipe for stdout, or -1: /dev/null */
    int errors;       /* the same for stderr */
    int access_log;   /* or -1 */
    int tracer;       /* slow_log.h: its end of that channel, or -1 */
    int file_limit;   /* soft RLIMIT_NOFILE to give back, 0: none */
    apr_pool_t *pool; /* a new pool for the worker's own things */
} fpd_worker_setup;

/* The child's whole life: closes what it must not hold (every descriptor but those above and 0-2),
 * default signal dispositions and empty mask, own session, title "php-fpm: pool NAME"; then
 * READY_WORKER and requests until RETIRE, EOF on the channel, max_requests or slot.retire. Ends
 * with _exit(0) (_exit(70) when it could not start). */
void fpd_worker_run(const fpd_worker_setup *setup) __attribute__((noreturn));

#endif
