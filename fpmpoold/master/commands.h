/* commands.h - what the commands of the control socket mean, and when they have come about.
 *
 * Between control.h, which has the connections, and pools.h. The master tells it how its tests of
 * the configuration went, and calls fpd_commands_check when a pool has changed.
 */
#ifndef FPD_COMMANDS_H
#define FPD_COMMANDS_H

#include "apr_pools.h"
#include "apr_tables.h"
#include "master/control_line.h"
#include "master/jobs.h"
#include "master/pools.h"
#include "master/state.h"

/* Wants a test of the configuration: begins one now, or when the one under way has ended. */
typedef void fpd_commands_reload_fn(void *context);

typedef struct fpd_commands {
    fpd_pools *pools;
    const char *config_file;
    fpd_commands_reload_fn *reload;
    void *context;
    int64_t started_at;                   /* fpd_monotonic_now */
    int is_ending;                        /* the daemon: only status is answered */
    int patience;                         /* seconds that old generations have */
    char test_pool[FPD_CONTROL_POOL_MAX]; /* what the test under way is for; "": all pools */
    fpd_jobs jobs;
} fpd_commands;

/* config_file must live as long. */
void fpd_commands_init(fpd_commands *commands, fpd_pools *pools, const char *config_file,
                       fpd_commands_reload_fn *reload, void *context);

/* Does what a request asks. Returns the lines for the client, from pool. *job: 0 when they end with
 * "done" or "failed"; else the number whose outcome follows, at the latest at *until. */
const char *fpd_commands_take(fpd_commands *commands, const fpd_control_request *request,
                              uint64_t *job, int64_t *until, apr_pool_t *pool);

/* The last lines of a job, from pool; NULL while it has none. A job that is not known has failed.
 */
const char *fpd_commands_outcome(fpd_commands *commands, uint64_t job, apr_pool_t *pool);

/* Before a test begins: sets test_pool. is_whole: a signal asks for all pools. Returns 0 when
 * nobody wants a test. */
int fpd_commands_begin_test(fpd_commands *commands, int is_whole);
/* For all whose test is under way: a line for people. */
void fpd_commands_note(fpd_commands *commands, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The test has ended. NULL: its result is applied; or why it is not. */
void fpd_commands_end_test(fpd_commands *commands, const char *failure);

/* Over an exec of the master, after fpd_commands_init. The reload that executes it is TESTING
 * before and afterwards. */
void fpd_commands_save(const fpd_commands *commands, fpd_state *state);
void fpd_commands_resume(fpd_commands *commands, const fpd_state *state);

/* Ends what has come about, failed, or taken too long. */
void fpd_commands_check(fpd_commands *commands);

#endif
