/* retirement.c - measures the worker that calls it, and decides whether it ends.
 *
 * Runs in workers, between two requests.
 */
#include "worker/retirement.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

#define SPREAD_FROM   100 /* of pm.max_requests */
#define MEASURE_EVERY 16  /* requests */
#define MEGABYTE      (1024.0 * 1024.0)

/* pm.max_requests. Workers that were started together shall not end together: up to a tenth
 * earlier, by the slot. Small numbers are taken at their word. */
static uint64_t count_requests(const fpd_worker_setup *setup)
{
    int32_t limit = setup->plan->max_requests;

    if (limit < SPREAD_FROM) {
        return limit > 0 ? (uint64_t)limit : 0;
    }
    return (uint64_t)limit -
           (uint64_t)(limit / 10) * (uint64_t)setup->slot / (uint64_t)setup->plan->max_children;
}

void fpd_retirement_set(fpd_retirement *retirement, const fpd_worker_setup *setup)
{
    int32_t limit = setup->plan->max_memory;

    retirement->requests = count_requests(setup);
    retirement->memory = (int64_t)limit * 1024;
    retirement->file = limit > 0 ? open("/proc/self/statm", O_RDONLY | O_CLOEXEC) : -1;
}

/* -1: unknown. */
static int64_t read_private(int file)
{
    long long resident;
    long long shared;
    char text[128];
    ssize_t length = file >= 0 ? pread(file, text, sizeof(text) - 1, 0) : -1;

    if (length <= 0) {
        return -1;
    }
    text[length] = '\0';
    if (sscanf(text, "%*d %lld %lld", &resident, &shared) != 2 || resident < shared) {
        return -1;
    }
    return (resident - shared) * sysconf(_SC_PAGESIZE);
}

/* What it holds for itself, or 0 when that is within the limit. One system call, two when the
 * worker has ever been large. */
static int64_t measure(const fpd_retirement *retirement)
{
    struct rusage usage;
    int64_t peak;
    int64_t own;

    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    peak = (int64_t)usage.ru_maxrss * 1024;
    if (peak <= retirement->memory) { /* so is what is its own */
        return 0;
    }
    own = read_private(retirement->file);
    own = own >= 0 ? own : peak;
    return own > retirement->memory ? own : 0;
}

/* Looked at after a request that needed much, and now and then for what libraries keep: a system
 * call for every request would be one too many. */
int fpd_retirement_is_due(const fpd_retirement *retirement, uint64_t served, uint64_t peak)
{
    int64_t held = 0;

    if (retirement->memory > 0 &&
        (peak >= (uint64_t)retirement->memory / 2 || served % MEASURE_EVERY == 0)) {
        held = measure(retirement);
    }
    if (held > 0) {
        fpd_log(FPD_LOG_NOTICE,
                "child %d ends after %llu requests: it holds %.1f MB, pm.max_memory is %.1f MB",
                (int)getpid(), (unsigned long long)served, (double)held / MEGABYTE,
                (double)retirement->memory / MEGABYTE);
    }
    return held > 0;
}

int fpd_retirement_pays_debt(fpd_board *board)
{
    _Atomic uint32_t *debt = &board->debt;
    uint32_t left = atomic_load(debt);

    while (left > 0) {
        if (atomic_compare_exchange_weak(debt, &left, left - 1)) {
            return 1;
        }
    }
    return 0;
}
