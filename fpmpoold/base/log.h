/* log.h - one log line at a time, in php-fpm's format (spec/php-fpm.md 3.7, 6).
 *
 * Three sinks: a descriptor (master: error_log or stderr, with time stamp and level), a datagram
 * socket (pool process and workers: the master frames, limits and writes, lifecycle.md 2), syslog.
 * A message is at most FPD_LOG_MAX bytes, a line that a worker printed FPD_LOG_LINE_MAX; control
 * characters are escaped as \xNN when written.
 */
#ifndef FPD_LOG_H
#define FPD_LOG_H

#include <stdarg.h>
#include <stddef.h>

#include "base/log_file.h"

#define FPD_LOG_MAX      4096         /* bytes of one message, longer ones are cut with "..." */
#define FPD_LOG_LINE_MAX (128 * 1024) /* bytes of one line of a worker's output */
#define FPD_LOG_RAW      0x40         /* in place of a level, in datagrams: fpd_log_raw */

typedef enum fpd_log_level {
    FPD_LOG_DEBUG = 1,
    FPD_LOG_NOTICE,
    FPD_LOG_WARNING,
    FPD_LOG_ERROR,
    FPD_LOG_ALERT
} fpd_log_level;

/* Messages below `level` are dropped. Default NOTICE. */
void fpd_log_set_level(fpd_log_level level);
fpd_log_level fpd_log_get_level(void);

/* Sink of this process: lines "[23-Nov-2026 03:02:51] NOTICE: text\n" with one write(2) each.
 * also_fd: a second descriptor that gets every line of NOTICE and above too (start-up: stderr), or
 * -1. The caller owns both descriptors. Default sink: descriptor 2. */
void fpd_log_to_descriptor(int fd, int also_fd);

/* From now on a descriptor sink that takes nothing (a full disk, a pipe that nobody reads) holds
 * this process up for a moment at most; lines are lost then, and the next that is written says how
 * many and why. Until then a line is waited for, as a command's output should be. */
void fpd_log_never_wait(void);

/* What the descriptor sink has lost and not yet said, for a process that executes itself, and back.
 */
fpd_log_file fpd_log_get_losses(void);
void fpd_log_set_losses(fpd_log_file losses);

/* Sink of pool processes and workers: each message one datagram {level byte, text}, sent without
 * blocking and dropped (counted) when the master does not read. fd is owned by the caller. */
void fpd_log_to_datagrams(int fd);

/* Sink syslog: ident and facility as in php-fpm.conf. ident must stay valid. A log daemon that does
 * not read loses lines, as a pipe does. Returns 0, or errno when there is no daemon now; it is
 * looked for again with each line. */
int fpd_log_to_syslog(const char *ident, int facility);

void fpd_log(fpd_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fpd_log_va(fpd_log_level level, const char *format, va_list arguments);
/* Appends php-fpm's errno suffix ": {strerror} ({errno})". error: an errno or apr_status_t. */
void fpd_log_errno(fpd_log_level level, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One line of up to FPD_LOG_LINE_MAX bytes of any kind, with `prefix` (or "") before it. Returns 0
 * when a datagram sink has no room now and nothing was done: ask again later, or fpd_log_drop(). */
int fpd_log_line(fpd_log_level level, const char *prefix, const char *text, size_t length);

/* The same without time, level, prefix, escapes, and whatever the level is
 * (decorate_workers_output = no). */
int fpd_log_raw(const char *text, size_t length);

/* Gives a line up that fpd_log_line or fpd_log_raw did not take; the log will say how many. */
void fpd_log_drop(void);

/* Bytes of time and level before a message of `level`, where process `pid` writes it. */
size_t fpd_log_stamp_size(fpd_log_level level, long pid);

/* Copies text without control characters, as it will be written. Stops before `size` is exceeded;
 * *taken gets the bytes of text that were copied. Returns the bytes written. */
size_t fpd_log_escape(char *to, size_t size, const char *text, size_t length, size_t *taken);

/* "NOTICE" and so on. */
const char *fpd_log_level_name(fpd_log_level level);

#endif
