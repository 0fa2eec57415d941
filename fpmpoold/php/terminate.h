/* terminate.h - request_terminate_timeout inside a worker: a request is told to end, and ends as
 * after exit(), with its shutdown functions and destructors (spec/php-fpm.md 3.5, 7.7).
 *
 * The pool process sends FPD_CHANNEL_END_SIGNAL with the start time of the request that is meant;
 * the virtual machine is interrupted, or what the request waits for. Only for php/; workers use
 * sapi.h.
 */
#ifndef FPD_TERMINATE_H
#define FPD_TERMINATE_H

#include <signal.h>
#include <stdint.h>

/* While PHP starts, before OPcache's JIT compiles its stubs: puts itself in the way of interrupts.
 */
void fpd_terminate_install(void);

/* In a new worker: takes the signal from now on. Returns an errno. */
int fpd_terminate_start(void);

/* The request that began at `started` (monotonic microseconds; 0: none) may be told to end.
 * connection: its descriptor, which is left alone; -1: it has none any more. */
void fpd_terminate_watch(int64_t started, int connection);

/* The request was told to end and has not begun to do so; stays set until the next
 * fpd_terminate_watch. What waits may look at it after EINTR. */
const volatile sig_atomic_t *fpd_terminate_flag(void);

#endif
