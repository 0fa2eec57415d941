/* output.h - catch_workers_output: a worker's stdout and stderr, line by line into the log
 * (spec/php-fpm.md 3.7).
 */
#ifndef FPD_OUTPUT_H
#define FPD_OUTPUT_H

#include <stddef.h>
#include <sys/types.h>

#include "base/board.h"
#include "base/loop.h"
#include "base/plan_format.h"

/* The pipes of one worker: [0] ours, [1] the worker's; -1: none. */
typedef struct fpd_output_pipes {
    int out[2];
    int err[2];
} fpd_output_pipes;

/* Both pipes if the plan wants them, else none. */
apr_status_t fpd_output_make_pipes(fpd_output_pipes *pipes, const fpd_plan_pool *plan);
/* Closes one side (0 or 1) of both. */
void fpd_output_close_side(fpd_output_pipes *pipes, int side);

/* One pipe that is read. A line of a request ends with the request, as php-fpm has it. */
typedef struct fpd_output {
    fpd_loop *loop;
    const fpd_plan_pool *plan;
    const fpd_slot *slot; /* of the worker */
    const char *stream;   /* "stdout" or "stderr" */
    pid_t pid;
    int fd; /* read end, -1: none */
    fpd_loop_id watch;
    fpd_loop_timer *timer;
    char *line;            /* what has come and was not logged; fpd_output_room() bytes */
    size_t length;         /* of it */
    size_t room;           /* longest text of one line */
    uint64_t request;      /* slot->requests when the first byte of `line` came */
    int is_drained;        /* the pipe was empty after the last read */
    int64_t waiting_since; /* the log takes nothing since then; 0: it does */
    int is_impatient;      /* it took nothing for too long: lines are dropped until it does */
} fpd_output;

/* What is read of one worker. */
typedef struct fpd_outputs {
    fpd_output out;
    fpd_output err;
} fpd_outputs;

/* Takes our ends of the pipes of process pid, whose slot is given. Buffers and timers are kept from
 * an earlier use, or made from memory. Without pipes nothing is caught. */
void fpd_output_start(fpd_outputs *outputs, const fpd_output_pipes *pipes, pid_t pid,
                      const fpd_slot *slot, const fpd_plan_pool *plan, fpd_loop *loop,
                      apr_pool_t *memory);

/* Logs what is still there and closes the pipes. */
void fpd_output_stop(fpd_outputs *outputs);

#endif
