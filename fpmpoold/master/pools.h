/* pools.h - every pool's life in the master: listener, generations, back-off (lifecycle.md 3 to 5).
 *
 * A pool has at most one serving child and one that is to take over; older ones drain. Its listener
 * stays open in the master from first bind to removal.
 */
#ifndef FPD_POOLS_H
#define FPD_POOLS_H

#include "apr_hash.h"
#include "apr_pools.h"
#include "base/loop.h"
#include "master/activation.h"
#include "master/children.h"
#include "master/state.h"

typedef struct fpd_pools fpd_pools;

/* Called when something settled: a child became ready, failed or ended. */
typedef void fpd_pools_change_fn(void *context);

/* Called when a pool process says that a worker has crashed. */
typedef void fpd_pools_crash_fn(void *context);

/* host_directories: NULL-ended list searched for fpmpool-php<version>. All from pool. */
fpd_pools *fpd_pools_create(fpd_loop *loop, const char *const *host_directories,
                            fpd_pools_change_fn *on_change, fpd_pools_crash_fn *on_crash,
                            void *context, apr_pool_t *pool);

/* process.max from now on; 0: no limit. */
void fpd_pools_set_process_max(fpd_pools *pools, int process_max);

/* A process ended that fpd_pools_reap did not know: perhaps a worker whose pool process is gone.
 * alive: how many children the master has, without the one that tests a reload. */
void fpd_pools_count_orphans(fpd_pools *pools, unsigned alive);

/* May there be such workers? Without one, a child that is no host is a program that a script has
 * left behind, and nobody waits for that. */
int fpd_pools_may_have_orphans(const fpd_pools *pools);

/* Have workers of this pool crashed since its generation began? */
int fpd_pools_has_crashed(const fpd_pools *pools, const char *name);

/* Socket activation: before the first pool is started, and after the last. */
void fpd_pools_take_inherited(fpd_pools *pools, const fpd_activation *activation);
void fpd_pools_close_unclaimed(fpd_pools *pools);

/* Binds and starts a pool. A pool that cannot serve (plan->failure, no interpreter) answers 503. A
 * listener that cannot be bound is retried with back-off. Returns 1 when its address is bound. */
int fpd_pools_start(fpd_pools *pools, const fpd_plan_pool *plan);
/* A new generation beside the old one, which drains when the new one is ready. A plan that cannot
 * serve leaves a pool that does as it is. With a new listener: after fpd_pools_release. */
void fpd_pools_replace(fpd_pools *pools, const fpd_plan_pool *plan, int has_new_listener);
/* A reload that changed nothing but labels here. */
void fpd_pools_keep(fpd_pools *pools, const fpd_plan_pool *plan);
/* Drains it; its listener becomes a spare one. */
void fpd_pools_stop(fpd_pools *pools, const char *name);
/* The pool will get this plan: listeners whose addresses it does not have in the same place become
 * spare ones, for whoever gets them. */
void fpd_pools_release(fpd_pools *pools, const fpd_plan_pool *plan);
/* The reload is applied: closes the spare listeners, unlinks their sockets. */
void fpd_pools_close_spares(fpd_pools *pools);

/* For a pool that is there. restart: a new generation with the plan at hand, also of a drained
 * pool. drain: finishes what runs, and answers 503 until it is replaced. */
void fpd_pools_restart(fpd_pools *pools, const char *name);
void fpd_pools_drain(fpd_pools *pools, const char *name);

/* The plans of all pools that shall run, array of fpd_plan_pool *, from scratch. */
apr_array_header_t *fpd_pools_list(const fpd_pools *pools, apr_pool_t *scratch);

/* A process ended; 0: it is none of ours. */
int fpd_pools_reap(fpd_pools *pools, pid_t pid, int wait_status);

/* What an executed master needs to go on: every pool, in the order of `plans` (fpd_plan_pool *) as
 * far as it names them, and those that are gone but for processes that drain. Nothing is copied. */
void fpd_pools_save(const fpd_pools *pools, const apr_array_header_t *plans, fpd_state *state,
                    apr_pool_t *scratch);
/* In new pools, before the loop runs: the pools that were saved. What cannot be taken over is
 * logged and started again. */
void fpd_pools_resume(fpd_pools *pools, const fpd_state *state);
/* One line for each listener of `state`, in php-fpm's words. */
void fpd_pools_say_inherited(const fpd_state *state, apr_pool_t *scratch);

/* The daemon ends: no restarts any more, listeners close. is_graceful: DRAIN, STOP after `patience`
 * seconds (0: at once); else STOP now. Children that do not go are killed. */
void fpd_pools_finish(fpd_pools *pools, int is_graceful, int patience);

/* Unlinks all unix sockets. */
void fpd_pools_unlink_all(fpd_pools *pools);

/* SIGUSR1: new access and slow logs to every serving child. Returns 1 if any pool has an access
 * log; *has_failed is set when one could not be opened. */
int fpd_pools_reopen_logs(fpd_pools *pools, int *has_failed);

typedef struct fpd_pools_counts {
    unsigned children; /* interpreter hosts alive */
    unsigned starting; /* pools neither ready nor failed yet */
    unsigned serving;  /* pools that are, or may become, able */
} fpd_pools_counts;

fpd_pools_counts fpd_pools_count(const fpd_pools *pools);

/* ---- for people and for systemd (pools_report.c) ---- */

typedef struct fpd_pool_report {
    const char *name;    /* alive as long as the pool is */
    const char *address; /* the same */
    const char *state;   /* serving, starting, asleep, draining, drained or failed */
    const char *failure; /* why the last change did not come about; "": it did */
    const char *reason;  /* why it does not serve; "": it does */
    int is_changing;
    int is_serving;       /* or asleep */
    int is_drained;       /* or about to be: draining */
    pid_t pid;            /* of the process that serves, or else starts; 0: there is none */
    int64_t up;           /* its age, microseconds */
    unsigned generations; /* processes alive */
    unsigned draining;    /* of these, such as only finish */
    uint32_t max_children;
    int has_board;
    fpd_board_view board; /* counts are bounded by max_children; the rest is a tenant's word */
} fpd_pool_report;

/* How many were asked to start, to be replaced or drained, without an outcome so far. */
unsigned fpd_pools_changing(const fpd_pools *pools);

/* 0: there is no such pool. */
int fpd_pools_describe(const fpd_pools *pools, const char *name, fpd_pool_report *report);
/* The names of all pools (const char *), sorted; from scratch. */
apr_array_header_t *fpd_pools_names(const fpd_pools *pools, apr_pool_t *scratch);

/* Over all processes; requests since the start of the daemon. */
typedef struct fpd_pools_sums {
    uint64_t active, idle, requests, slow_requests;
} fpd_pools_sums;

fpd_pools_sums fpd_pools_sum(const fpd_pools *pools);

#endif
