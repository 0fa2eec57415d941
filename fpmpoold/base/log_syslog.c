/* log_syslog.c - one datagram for each line to /dev/log, without waiting.
 *
 * Runs in the master. Must not log (the log is made of it), allocate, or wait for the log daemon
 * for longer than it is told.
 */
#include "base/log_syslog.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "apr_errno.h"

static int connect_again(fpd_log_syslog *log)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};

    if (log->fd >= 0) {
        close(log->fd);
    }
    log->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (log->fd >= 0 && connect(log->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        close(log->fd);
        log->fd = -1;
        errno = error;
    }
    return log->fd >= 0 ? 0 : errno;
}

int fpd_log_syslog_open(fpd_log_syslog *log, const char *ident, int facility)
{
    *log = (fpd_log_syslog){.fd = -1, .ident = ident, .facility = facility};
    return connect_again(log);
}

static int send_once(fpd_log_syslog *log, struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};

    if (log->fd < 0) {
        return ENOTCONN;
    }
    return sendmsg(log->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ? 0 : errno;
}

static int send_line(fpd_log_syslog *log, int priority, const char *text, size_t length,
                     int patience)
{
    char head[256];
    char when[32];
    time_t now = time(NULL);
    struct tm local;
    struct pollfd waited;
    int error;

    localtime_r(&now, &local);
    strftime(when, sizeof(when), "%b %e %T", &local);
    (void)snprintf(head, sizeof(head), "<%d>%s %.100s[%ld]: ", log->facility | priority, when,
                   log->ident, (long)getpid());
    struct iovec parts[2] = {{head, strlen(head)}, {(char *)(size_t)text, length}};
    error = send_once(log, parts, 2);
    if (error == EAGAIN && patience > 0) {
        waited = (struct pollfd){.fd = log->fd, .events = POLLOUT};
        (void)poll(&waited, 1, patience);
        error = send_once(log, parts, 2);
    }
    if (error != 0 && error != EAGAIN && error != EMSGSIZE && connect_again(log) == 0) {
        error = send_once(log, parts, 2); /* the daemon was started anew */
    }
    return error;
}

/* Returns 1 when the daemon takes lines again and knows what it has missed. */
static int tell_lost(fpd_log_syslog *log)
{
    char note[256];
    char reason[128];

    apr_strerror(log->error, reason, sizeof(reason));
    (void)snprintf(note, sizeof(note),
                   "[WARNING] lines lost from this log: %u (%s); the log daemon did not take them",
                   log->lost, reason);
    return send_line(log, LOG_WARNING, note, strlen(note), 0) == 0;
}

void fpd_log_syslog_send(fpd_log_syslog *log, int priority, const char *text, size_t length,
                         int patience)
{
    int error = 0;

    if (log->lost > 0 && !tell_lost(log)) {
        log->lost++;
        return;
    }
    error = send_line(log, priority, text, length, log->lost == 0 ? patience : 0);
    if (error == 0) {
        log->lost = 0;
        return;
    }
    log->error = error;
    log->lost = 1;
}
