/* slow_log.h - the tracer of a worker: a thread that writes where the script is (spec/php-fpm.md
 * 3.6).
 *
 * It sleeps in the kernel until the pool process asks (FPD_MESSAGE_TRACE, with the file), so that
 * it costs a request nothing, reads PHP's frames as php/frames.h says, writes one entry and
 * answers. The script is neither stopped nor interrupted: no signal is sent, no call of it returns
 * early.
 */
#ifndef FPD_SLOW_LOG_H
#define FPD_SLOW_LOG_H

#include "worker/worker.h"

/* Bytes of one entry; what is beyond is left out. */
#define FPD_SLOW_LOG_ENTRY ((size_t)256 * 1024)

/* In a new worker, when its user and signals are as they stay; the thread lives as long as the
 * process and has every signal blocked. setup->tracer becomes the thread's own. Returns 0 or an
 * errno; then the channel is still the caller's. */
int fpd_slow_log_start(const fpd_worker_setup *setup);

#endif
