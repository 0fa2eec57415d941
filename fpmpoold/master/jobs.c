/* jobs.c - a small table of commands that take a while.
 *
 * Runs in the master. Knows neither pools nor sockets: it numbers, keeps and forgets.
 */
#include "master/jobs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fpd_jobs_init(fpd_jobs *jobs, uint64_t first_number)
{
    memset(jobs, 0, sizeof(*jobs));
    jobs->last_number = first_number;
}

int fpd_job_has_ended(const fpd_job *job)
{
    return job->state == FPD_JOB_DONE || job->state == FPD_JOB_FAILED;
}

static fpd_job *find_place(fpd_jobs *jobs)
{
    fpd_job *oldest = NULL;

    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        fpd_job *job = &jobs->jobs[i];
        if (job->state == FPD_JOB_FREE) {
            return job;
        }
        if (fpd_job_has_ended(job) && (oldest == NULL || job->number < oldest->number)) {
            oldest = job;
        }
    }
    return oldest;
}

fpd_job *fpd_jobs_add(fpd_jobs *jobs, fpd_control_verb verb, const char *pool, int64_t give_up_at)
{
    fpd_job *job = find_place(jobs);

    if (job == NULL) {
        return NULL;
    }
    memset(job, 0, sizeof(*job));
    job->number = ++jobs->last_number;
    job->verb = verb;
    job->state = verb == FPD_CONTROL_RELOAD ? FPD_JOB_QUEUED : FPD_JOB_RUNNING;
    job->give_up_at = give_up_at;
    snprintf(job->pool, sizeof(job->pool), "%s", pool);
    return job;
}

fpd_job *fpd_jobs_find(fpd_jobs *jobs, uint64_t number)
{
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        if (jobs->jobs[i].state != FPD_JOB_FREE && jobs->jobs[i].number == number) {
            return &jobs->jobs[i];
        }
    }
    return NULL;
}

/* What comes from outside, as the name of a pool or a path, brings no line of its own. */
static void make_one_line(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

void fpd_job_note(fpd_job *job, const char *format, ...)
{
    char line[512];
    size_t used = strlen(job->note);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    make_one_line(line);
    if (used + strlen(line) + 2 <= sizeof(job->note)) {
        snprintf(job->note + used, sizeof(job->note) - used, "%s\n", line);
    }
}

void fpd_job_end(fpd_job *job, int is_good, const char *format, ...)
{
    va_list arguments;

    job->state = is_good ? FPD_JOB_DONE : FPD_JOB_FAILED;
    va_start(arguments, format);
    vsnprintf(job->outcome, sizeof(job->outcome), format, arguments);
    va_end(arguments);
    make_one_line(job->outcome);
}

/* The oldest that is queued, or the oldest of these that is for all pools. */
static fpd_job *find_queued(fpd_jobs *jobs, int must_be_whole)
{
    fpd_job *oldest = NULL;

    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        fpd_job *job = &jobs->jobs[i];
        if (job->state == FPD_JOB_QUEUED && (!must_be_whole || job->pool[0] == '\0') &&
            (oldest == NULL || job->number < oldest->number)) {
            oldest = job;
        }
    }
    return oldest;
}

int fpd_jobs_begin_test(fpd_jobs *jobs, int is_whole, const char **pool)
{
    fpd_job *first = find_queued(jobs, 1);

    is_whole |= first != NULL;
    if (!is_whole) {
        first = find_queued(jobs, 0);
    }
    if (!is_whole && first == NULL) {
        return 0;
    }
    *pool = is_whole ? "" : first->pool;
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        fpd_job *job = &jobs->jobs[i];
        if (job->state == FPD_JOB_QUEUED && (is_whole || strcmp(job->pool, first->pool) == 0)) {
            job->state = FPD_JOB_TESTING;
        }
    }
    return 1;
}

void fpd_jobs_test_again(fpd_jobs *jobs)
{
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        if (jobs->jobs[i].state == FPD_JOB_TESTING) {
            jobs->jobs[i].state = FPD_JOB_QUEUED;
        }
    }
}

int fpd_jobs_has_reload(const fpd_jobs *jobs)
{
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        const fpd_job *job = &jobs->jobs[i];
        if (job->verb == FPD_CONTROL_RELOAD && job->state != FPD_JOB_FREE &&
            !fpd_job_has_ended(job)) {
            return 1;
        }
    }
    return 0;
}
