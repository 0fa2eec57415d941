/* fpmp_exchange.h - a request's attempts at servers, until one has answered (specification:
 * apache.md 2.1; architecture.md 5).
 *
 * What was certainly not taken goes on to another server, whatever its method, with its whole body;
 * what may have been executed only if it is idempotent and FpmPoolRetry says so; what has begun to
 * answer, or ran into a time limit, never.
 */
#ifndef FPMP_EXCHANGE_H
#define FPMP_EXCHANGE_H

#include "fpmp_task.h"

/* Before the body is read: waits for the request's turn; and would it find a server, if its client
 * waits for "100 Continue"? Nobody shall upload to a pool that refuses, or is not there. OK, a
 * status or FPMP_TASK_GONE. */
int fpmp_exchange_probe(fpmp_task *task);

/* Reads the body, as far as it is read before it is sent. OK or a status. */
int fpmp_exchange_read_body(fpmp_task *task);

/* Sends it, until it is answered or nobody is left. OK: *result, of the last attempt, and its
 * connection is open; else a status, with task->state, or FPMP_TASK_GONE. */
int fpmp_exchange_run(fpmp_task *task, fpmp_relay_result *result);

/* The attempt is over for its server: the connection goes back or is closed, the request is no
 * longer under way there, nor in its pool. */
void fpmp_exchange_give_back(fpmp_task *task, int is_clean);

#endif
