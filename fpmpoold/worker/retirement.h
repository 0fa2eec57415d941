/* retirement.h - when a worker ends between two requests: pm.max_requests, pm.max_memory, and a
 * place that the master wants back (process.max).
 */
#ifndef FPD_RETIREMENT_H
#define FPD_RETIREMENT_H

#include "worker/worker.h"

typedef struct fpd_retirement {
    uint64_t requests; /* 0: no limit */
    int64_t memory;    /* bytes, 0: no limit */
    int file;          /* /proc/self/statm; -1: it is not there (chroot) */
} fpd_retirement;

/* In a new worker. pm.max_requests from 100 on is up to a tenth less, by the slot, so that workers
 * that were started together do not end together. */
void fpd_retirement_set(fpd_retirement *retirement, const fpd_worker_setup *setup);

/* Does the worker hold more memory than pm.max_memory? Then it has been logged. Counts what is
 * resident and shared with nobody; without /proc the most that ever was resident. served: its
 * requests; peak: PHP's memory for the last one. Mostly no system call. */
int fpd_retirement_is_due(const fpd_retirement *retirement, uint64_t served, uint64_t peak);

/* Takes 1 off board->debt; 0: there is none. Who gets 1 must end. */
int fpd_retirement_pays_debt(fpd_board *board);

#endif
