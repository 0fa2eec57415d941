/* log_syslog.h - lines to the system's log daemon, which may be slow, stopped or not there.
 *
 * libc's syslog() waits for a daemon that does not read; this does not. The form is libc's: a
 * datagram "<priority>time ident[pid]: text" to /dev/log.
 */
#ifndef FPD_LOG_SYSLOG_H
#define FPD_LOG_SYSLOG_H

#include <stddef.h>

typedef struct fpd_log_syslog {
    int fd; /* -1: not connected */
    const char *ident;
    int facility;  /* LOG_DAEMON and the like */
    unsigned lost; /* lines since the last one that was taken */
    int error;     /* errno of the first of them */
} fpd_log_syslog;

/* Connects. ident must stay valid. Returns 0 or errno; sending tries again. */
int fpd_log_syslog_open(fpd_log_syslog *log, const char *ident, int facility);

/* Sends one line (LOG_WARNING and the like; no line end), after a note about those that were lost
 * before it. A daemon that does not read is waited for `patience` milliseconds, once; then its
 * lines are counted as lost until it takes one. */
void fpd_log_syslog_send(fpd_log_syslog *log, int priority, const char *text, size_t length,
                         int patience);

#endif
