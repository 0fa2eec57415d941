/* output.h - catch_workers_output: a worker's stdout and stderr, line by line into the log
 * (spec/php-fpm.md 3.7).
 */
#ifndef FPD_OUTPUT_H
#define FPD_OUTPUT_H

#include <stddef.h>
#include <sys/types.h>

#include "base/loop.h"
#include "base/plan_format.h"

typedef struct fpd_output {
    fpd_loop *loop;
    const fpd_plan_pool *plan;
    pid_t pid;
    int fd; /* read end, -1: none */
    fpd_loop_id watch;
    char *line; /* what has come of a line that is not ended; plan->log_limit bytes */
    size_t length;
} fpd_output;

/* Takes the read end of the pipe of process pid. output->line is kept from an earlier use, or made
 * from memory. Without a pipe (fd -1) nothing is caught. */
void fpd_output_start(fpd_output *output, int fd, pid_t pid, const fpd_plan_pool *plan,
                      fpd_loop *loop, apr_pool_t *memory);

/* Logs what is still there and closes the pipe. */
void fpd_output_stop(fpd_output *output);

#endif
