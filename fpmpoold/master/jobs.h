/* jobs.h - what operators asked for, how far it is, how it went. Plain data, pure.
 *
 * A job outlives the connection that asked for it, and the program (state.h), so that a client
 * which lost its connection can ask for the outcome. Numbers of states and verbs keep their
 * meaning.
 */
#ifndef FPD_JOBS_H
#define FPD_JOBS_H

#include <stdint.h>

#include "master/control_line.h"

#define FPD_JOBS_KEPT 32

typedef enum fpd_job_state {
    FPD_JOB_FREE = 0,
    FPD_JOB_QUEUED,  /* RELOAD: waits until a test of the configuration can begin */
    FPD_JOB_TESTING, /* RELOAD: the test is under way */
    FPD_JOB_RUNNING, /* the pools change */
    FPD_JOB_DONE,
    FPD_JOB_FAILED
} fpd_job_state;

typedef struct fpd_job {
    uint64_t number;
    fpd_job_state state;
    fpd_control_verb verb;
    char pool[FPD_CONTROL_POOL_MAX]; /* "": all */
    int64_t give_up_at;              /* fpd_monotonic_now */
    char note[1024];                 /* lines for people, with LF; "": none */
    char outcome[512];               /* DONE, FAILED: one line, without LF */
} fpd_job;

typedef struct fpd_jobs {
    uint64_t last_number;
    fpd_job jobs[FPD_JOBS_KEPT];
} fpd_jobs;

/* first_number: one that no daemon before this one has used, so that a client which asks a new
 * daemon for an old job is told that there is none (fpd_monotonic_now). */
void fpd_jobs_init(fpd_jobs *jobs, uint64_t first_number);

/* A job that is QUEUED (RELOAD) or RUNNING. It takes the place of the oldest that has ended; NULL
 * when none has. */
fpd_job *fpd_jobs_add(fpd_jobs *jobs, fpd_control_verb verb, const char *pool, int64_t give_up_at);

/* NULL: not known, or forgotten. */
fpd_job *fpd_jobs_find(fpd_jobs *jobs, uint64_t number);

int fpd_job_has_ended(const fpd_job *job);

/* Adds a line to the note; what does not fit is left out. */
void fpd_job_note(fpd_job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

void fpd_job_end(fpd_job *job, int is_good, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The reloads that the next test of the configuration is for become TESTING: all that are queued,
 * if one of them or the caller (is_whole) wants all pools; else the oldest, and others for the same
 * pool. *pool is its name, "" for all. Returns 0 when there is nothing to do. */
int fpd_jobs_begin_test(fpd_jobs *jobs, int is_whole, const char **pool);

/* Those whose test is under way wait for another one. */
void fpd_jobs_test_again(fpd_jobs *jobs);

/* Is a reload QUEUED, TESTING or RUNNING? */
int fpd_jobs_has_reload(const fpd_jobs *jobs);

#endif
