/* fpmp_verdict.h - what an attempt says about its server (specification: apache.md 2.1, 2.2). */
#ifndef FPMP_VERDICT_H
#define FPMP_VERDICT_H

#include "fpmp_task.h"

/* Call while the request is still counted as under way at task->server. A change of the server's
 * state is logged. */
void fpmp_verdict_on_attempt(fpmp_task *task, fpmp_relay_result result);
void fpmp_verdict_no_connection(fpmp_task *task, apr_status_t error);

#endif
