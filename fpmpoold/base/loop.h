/* loop.h - an event loop over epoll: descriptors, timers, signals.
 *
 * Single-threaded. Event data is index + generation, never a pointer (dispatch.md 2): an event that
 * was fetched before its registration was removed is dropped. Callbacks may add and remove
 * anything, themselves included. All times are microseconds of CLOCK_MONOTONIC (fpd_loop_now).
 */
#ifndef FPD_LOOP_H
#define FPD_LOOP_H

#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "apr_pools.h"

typedef struct fpd_loop fpd_loop;

/* A registration; 0 is never valid. */
typedef uint64_t fpd_loop_id;

typedef void fpd_loop_event_fn(void *context, uint32_t events);
typedef void fpd_loop_timer_fn(void *context);
typedef void fpd_loop_signal_fn(void *context, int signal_number);

/* Owned by pool; a cleanup closes epoll and signalfd (a forked child must not run it: it leaves by
 * _exit or closes the descriptors itself). */
apr_status_t fpd_loop_create(fpd_loop **loop, apr_pool_t *pool);

/* Registers fd for `events` (EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLET). The fd stays the caller's; it
 * must be removed before it is passed or closed. */
apr_status_t fpd_loop_add(fpd_loop *loop, int fd, uint32_t events, fpd_loop_event_fn *callback,
                          void *context, fpd_loop_id *id);
apr_status_t fpd_loop_modify(fpd_loop *loop, fpd_loop_id id, uint32_t events);
/* Ends a registration; an id that has ended or is 0 is ignored. */
void fpd_loop_remove(fpd_loop *loop, fpd_loop_id id);

typedef struct fpd_loop_timer fpd_loop_timer;

/* A timer lives as long as the loop's pool; it is off until set. One shot. */
fpd_loop_timer *fpd_loop_timer_create(fpd_loop *loop, fpd_loop_timer_fn *callback, void *context);
/* Fires at `when` (fpd_loop_now() units); replaces an earlier time. */
void fpd_loop_timer_set(fpd_loop_timer *timer, int64_t when);
void fpd_loop_timer_cancel(fpd_loop_timer *timer);
int fpd_loop_timer_is_set(const fpd_loop_timer *timer);
/* The time that it is set to; 0: it is off. */
int64_t fpd_loop_timer_when(const fpd_loop_timer *timer);

/* Blocks the signals of `set` in this process and calls back for each that arrives. Once per loop.
 */
apr_status_t fpd_loop_watch_signals(fpd_loop *loop, const sigset_t *set,
                                    fpd_loop_signal_fn *callback, void *context);

/* Time at the last wake-up, and the exact time now (microseconds, CLOCK_MONOTONIC). */
int64_t fpd_loop_now(const fpd_loop *loop);
int64_t fpd_monotonic_now(void);

/* Runs until fpd_loop_stop. */
apr_status_t fpd_loop_run(fpd_loop *loop);
void fpd_loop_stop(fpd_loop *loop);

#endif
