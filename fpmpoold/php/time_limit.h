/* time_limit.h - max_execution_time without system calls per request (spec/libphp.md D).
 *
 * One timer on the process's CPU clock per worker takes the place of three setitimer calls per
 * request. As soon as a script or a request's ini names a limit of its own, PHP's own timer does
 * it. Only for php/.
 */
#ifndef FPD_TIME_LIMIT_H
#define FPD_TIME_LIMIT_H

#include <stdint.h>

/* In a new worker. Returns an errno. */
int fpd_time_limit_start(void);

/* Before php_request_startup, after the request's ini. */
void fpd_time_limit_begin(void);

/* Before the script: input is read, the limit of execution starts. had_body: reading it may have
 * used time that does not count. */
void fpd_time_limit_execute(int had_body);

/* At the end of the response: CPU microseconds since the end of the request before. What the rest
 * of the request uses counts for the next one. */
int64_t fpd_time_limit_measure(void);

/* After php_request_shutdown. goes_on: the script has run on after its response was measured. */
void fpd_time_limit_end(int goes_on);

/* CPU time of the process in microseconds at the last end. */
int64_t fpd_time_limit_cpu(void);

#endif
