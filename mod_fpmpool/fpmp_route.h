/* fpmp_route.h - a request's way from pool to pool and from server to server (specification:
 * apache.md 2.1, 2.2; architecture.md 5).
 */
#ifndef FPMP_ROUTE_H
#define FPMP_ROUTE_H

#include "fpmp_task.h"

/* Finds the pools and enters the first. OK, or a status (logged): 403 for `none`, 500, 503 with
 * task->state. Only after OK: fpmp_route_close. */
int fpmp_route_open(fpmp_task *task);

/* Chooses task->server for the next attempt, perhaps in the next pool, perhaps after a wait in the
 * queue of FpmPoolLimit. OK: counted as under way there; else the status for the client, or
 * FPMP_TASK_GONE. */
int fpmp_route_pick(fpmp_task *task);

/* As if it had been nowhere: its time begins anew, in the first pool. */
void fpmp_route_restart(fpmp_task *task);

/* Writes an attempt into the figures of the server that it was at; not twice. */
void fpmp_route_count(fpmp_task *task, uint64_t bytes, apr_time_t began, apr_time_t end);

/* The request is over: counts it where its last attempt was, and leaves its pools. */
void fpmp_route_close(fpmp_task *task);

#endif
