/* pm.h - how many workers a pool should have: php-fpm's static, dynamic and ondemand
 * (spec/php-fpm.md 3.2 to 3.4), with spawning that follows the queue.
 *
 * Pure: counts and a time in, a decision out; the caller forks, retires and logs. Times are
 * microseconds of one monotonic clock.
 */
#ifndef FPD_PM_H
#define FPD_PM_H

#include <stdint.h>

#include "base/plan_format.h"

typedef struct fpd_pm_state {
    int kind; /* fpd_pm of plan_format.h: FPD_PM_STATIC, ... */
    int max_children;
    int start_servers;
    int min_spare;
    int max_spare;
    int max_spawn_rate;
    int64_t idle_timeout;
    int spawn_rate;      /* php-fpm's 1, 2, 4, ... of dynamic */
    int is_max_reported; /* the max_children warning of this episode was given */
    int64_t credit;      /* forks allowed at once, in millionths */
    int64_t credit_at;
    int failures;       /* workers in a row that died at once */
    int64_t not_before; /* no fork before this time (back-off) */
} fpd_pm_state;

/* What the pool has. A worker counts once. */
typedef struct fpd_pm_counts {
    int idle;     /* waits for work, or is starting */
    int starting; /* of these: not ready yet */
    int active;
    int total; /* idle + active + retiring: every process that holds a slot */
    int queued;
} fpd_pm_counts;

typedef enum fpd_pm_warning {
    FPD_PM_WARN_NONE = 0,
    FPD_PM_WARN_MAX_CHILDREN, /* also: count it (max children reached) */
    FPD_PM_WARN_BUSY          /* "seems busy", with `rate` */
} fpd_pm_warning;

typedef struct fpd_pm_decision {
    int fork;          /* workers to fork now */
    int should_retire; /* ask fpd_pm_choose_retired for one worker and retire it */
    fpd_pm_warning warning;
    int rate;         /* php-fpm's spawn rate before this decision, for the warning */
    int64_t retry_at; /* 0, or when to decide again because forking was limited */
} fpd_pm_decision;

void fpd_pm_init(fpd_pm_state *pm, const fpd_plan_pool *plan, int64_t now);

/* Workers to fork at start. */
int fpd_pm_start_count(const fpd_pm_state *pm);

/* Once a second. */
fpd_pm_decision fpd_pm_tick(fpd_pm_state *pm, const fpd_pm_counts *counts, int64_t now);

/* Workers that waiting requests want beside those that are idle, without a limit in time. */
uint32_t fpd_pm_need(const fpd_pm_state *pm, const fpd_pm_counts *counts);

/* A request waits and no worker is idle, or a worker has died while requests wait. */
fpd_pm_decision fpd_pm_follow_queue(fpd_pm_state *pm, const fpd_pm_counts *counts, int64_t now);

/* A worker is gone that the process manager had not retired: should another take its place now?
 * lived: its age; has_served: it had begun at least one request. fork is 0 or 1; retry_at says when
 * back-off ends. */
fpd_pm_decision fpd_pm_replace(fpd_pm_state *pm, const fpd_pm_counts *counts, int64_t lived,
                               int has_served, int64_t now);

/* fork(2) itself failed: back off as after a worker that died at once. Returns when to try again.
 */
int64_t fpd_pm_fork_failed(fpd_pm_state *pm, int64_t now);

/* Is the pool unable to keep a worker: back-off longer than 1 s is in force? */
int fpd_pm_is_failing(const fpd_pm_state *pm, int64_t now);

typedef struct fpd_pm_slot {
    int is_idle;        /* ready, not retiring */
    int64_t started_at; /* monotonic */
    int64_t idle_since; /* monotonic */
} fpd_pm_slot;

/* Which idle worker to retire: dynamic the one that started first (php-fpm's rule), ondemand the
 * one idle for longest, if that is idle_timeout or more. -1: none. */
int fpd_pm_choose_retired(const fpd_pm_state *pm, const fpd_pm_slot *slots, int count, int64_t now);

#endif
