/* log.c - formats a message and hands it to this process's one sink.
 *
 * Runs in every process of the daemon. It must not allocate, change errno, or let a daemon's
 * process wait for a slow reader. The sink is file-scope state on purpose: one process, one log
 * (design section 7).
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "apr_errno.h"
#include "base/log_syslog.h"

#define PATIENCE 200 /* milliseconds that a reader may be late before lines are lost */

typedef enum sink_kind { SINK_DESCRIPTOR, SINK_DATAGRAMS, SINK_SYSLOG } sink_kind;

static struct {
    sink_kind kind;
    int fd;
    int also_fd;
    fpd_log_level level;
    unsigned dropped; /* datagrams that were given up since the last one that was taken */
    int is_impatient; /* lines are rather lost than waited for */
    fpd_log_file file;
    fpd_log_file also_file;
    fpd_log_syslog syslog;
} sink = {.kind = SINK_DESCRIPTOR, .fd = STDERR_FILENO, .also_fd = -1, .level = FPD_LOG_NOTICE};

void fpd_log_set_level(fpd_log_level level)
{
    sink.level = level;
}

fpd_log_level fpd_log_get_level(void)
{
    return sink.level;
}

void fpd_log_to_descriptor(int fd, int also_fd)
{
    sink.kind = SINK_DESCRIPTOR;
    sink.fd = fd;
    sink.also_fd = also_fd;
}

void fpd_log_never_wait(void)
{
    sink.is_impatient = 1;
}

fpd_log_file fpd_log_get_losses(void)
{
    return sink.file;
}

void fpd_log_set_losses(fpd_log_file losses)
{
    sink.file = losses;
}

void fpd_log_to_datagrams(int fd)
{
    sink.kind = SINK_DATAGRAMS;
    sink.fd = fd;
    sink.also_fd = -1;
}

int fpd_log_to_syslog(const char *ident, int facility)
{
    sink.kind = SINK_SYSLOG;
    sink.also_fd = -1;
    return fpd_log_syslog_open(&sink.syslog, ident, facility);
}

const char *fpd_log_level_name(fpd_log_level level)
{
    switch (level) {
    case FPD_LOG_DEBUG:
        return "DEBUG";
    case FPD_LOG_NOTICE:
        return "NOTICE";
    case FPD_LOG_WARNING:
        return "WARNING";
    case FPD_LOG_ERROR:
        return "ERROR";
    case FPD_LOG_ALERT:
        return "ALERT";
    }
    return "UNKNOWN";
}

/* A tenant's message must not forge a second line. */
size_t fpd_log_escape(char *to, size_t size, const char *text, size_t length, size_t *taken)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    size_t i;

    for (i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        int is_plain = (c >= 0x20 || c == '\t') && c != 0x7f;
        if (size - used < (is_plain ? 1 : 4)) {
            break;
        }
        if (is_plain) {
            to[used++] = (char)c;
        } else {
            to[used++] = '\\';
            to[used++] = 'x';
            to[used++] = digits[c >> 4];
            to[used++] = digits[c & 15];
        }
    }
    *taken = i;
    return used;
}

static size_t stamp(char *to, size_t size, fpd_log_level level)
{
    struct timespec now;
    struct tm local;
    size_t used;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    used = strftime(to, size, "[%d-%b-%Y %H:%M:%S", &local);
    if (sink.level == FPD_LOG_DEBUG) {
        used += (size_t)snprintf(to + used, size - used, ".%06ld] %s: pid %ld, ",
                                 now.tv_nsec / 1000, fpd_log_level_name(level), (long)getpid());
    } else {
        used += (size_t)snprintf(to + used, size - used, "] %s: ", fpd_log_level_name(level));
    }
    return used;
}

size_t fpd_log_stamp_size(fpd_log_level level, long pid)
{
    char pid_text[32];
    size_t size = sizeof("[24-Nov-2026 10:15:00] : ") - 1 + strlen(fpd_log_level_name(level));

    if (sink.level == FPD_LOG_DEBUG) {
        size +=
            sizeof(".000000") - 1 + (size_t)snprintf(pid_text, sizeof(pid_text), "pid %ld, ", pid);
    }
    return size;
}

/* A command waits for whoever reads what it prints. The daemon does so for a moment, once. */
static int has_room(const fpd_log_file *file, int fd)
{
    struct pollfd waited = {.fd = fd, .events = POLLOUT};
    int ready;

    do {
        ready = poll(&waited, 1, !sink.is_impatient ? -1 : file->lost == 0 ? PATIENCE : 0);
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

static int put_line(fpd_log_file *file, int fd, const char *line, size_t length)
{
    int error = EAGAIN;

    do {
        if (!has_room(file, fd)) {
            file->error = file->lost++ == 0 ? EAGAIN : file->error;
            return EAGAIN;
        }
        error = fpd_log_file_write(file, fd, line, length, sink.is_impatient ? PATIENCE : -1);
    } while (error == EAGAIN && !sink.is_impatient);
    return error;
}

/* The first line after some that were lost says so. A log that takes none has nobody left to tell.
 */
static void write_to(fpd_log_file *file, int fd, const char *line, size_t length)
{
    char note[512];
    char reason[128];
    size_t used;

    if (file->lost > 0) {
        apr_strerror(file->error, reason, sizeof(reason));
        used = stamp(note, 128, FPD_LOG_WARNING);
        used += (size_t)snprintf(note + used, sizeof(note) - used,
                                 "lines lost from this log: %u (%s); %s\n", file->lost, reason,
                                 fpd_log_file_advice(file->error));
        if (put_line(file, fd, note, used) != 0) {
            return; /* which has counted our line */
        }
        file->lost = 0;
    }
    (void)put_line(file, fd, line, length);
}

/* Not inlined: its line is much larger than what other processes need. */
static void __attribute__((noinline))
write_line(fpd_log_level level, const char *prefix, const char *text, size_t length)
{
    char line[FPD_LOG_LINE_MAX + FPD_LOG_MAX];
    size_t used = stamp(line, 128, level);
    size_t taken;

    used += fpd_log_escape(line + used, FPD_LOG_MAX / 2, prefix, strlen(prefix), &taken);
    used += fpd_log_escape(line + used, sizeof(line) - used - 1, text, length, &taken);
    line[used++] = '\n';
    write_to(&sink.file, sink.fd, line, used);
    if (sink.also_fd >= 0 && level >= FPD_LOG_NOTICE) {
        write_to(&sink.also_file, sink.also_fd, line, used);
    }
}

/* Says what was dropped first: a line that goes through then is the first after those. */
static int send_datagram(char level, const char *prefix, const char *text, size_t length)
{
    struct iovec parts[3] = {
        {&level, 1}, {(void *)(size_t)prefix, strlen(prefix)}, {(void *)(size_t)text, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    char note[96];
    int n;

    if (sink.dropped > 0) {
        n = snprintf(note, sizeof(note), "%c%u log messages were dropped: the log is too slow",
                     (char)FPD_LOG_WARNING, sink.dropped);
        if (send(sink.fd, note, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            return 0;
        }
        sink.dropped = 0;
    }
    return sendmsg(sink.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void __attribute__((noinline))
write_syslog(fpd_log_level level, const char *prefix, const char *text, size_t length)
{
    static const int priorities[] = {LOG_DEBUG,   LOG_DEBUG, LOG_NOTICE,
                                     LOG_WARNING, LOG_ERR,   LOG_ALERT};
    char line[FPD_LOG_LINE_MAX + FPD_LOG_MAX];
    size_t used =
        (size_t)snprintf(line, 64, "[%s] ", fpd_log_level_name(level)); /* php-fpm's own */
    size_t taken;

    used += fpd_log_escape(line + used, FPD_LOG_MAX / 2, prefix, strlen(prefix), &taken);
    used += fpd_log_escape(line + used, sizeof(line) - used, text, length, &taken);
    fpd_log_syslog_send(&sink.syslog, priorities[level], line, used,
                        sink.is_impatient ? PATIENCE : -1);
}

static int emit(fpd_log_level level, const char *prefix, const char *text, size_t length)
{
    switch (sink.kind) {
    case SINK_DESCRIPTOR:
        write_line(level, prefix, text, length);
        break;
    case SINK_DATAGRAMS:
        return send_datagram((char)level, prefix, text, length);
    case SINK_SYSLOG:
        write_syslog(level, prefix, text, length);
        break;
    }
    return 1;
}

/* Length of what vsnprintf put into text[size]; marks a cut message with "...". */
static size_t settle(char *text, size_t size, int wanted)
{
    if (wanted < 0) {
        return 0;
    }
    if ((size_t)wanted < size) {
        return (size_t)wanted;
    }
    memcpy(text + size - 4, "...", 4);
    return size - 1;
}

void fpd_log_va(fpd_log_level level, const char *format, va_list arguments)
{
    char text[FPD_LOG_MAX];
    int saved = errno;

    if (level < sink.level || level < FPD_LOG_DEBUG || level > FPD_LOG_ALERT) {
        return;
    }
    if (!emit(level, "", text,
              settle(text, sizeof(text), vsnprintf(text, sizeof(text), format, arguments)))) {
        sink.dropped++;
    }
    errno = saved;
}

void fpd_log(fpd_log_level level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fpd_log_va(level, format, arguments);
    va_end(arguments);
}

void fpd_log_errno(fpd_log_level level, int error, const char *format, ...)
{
    char text[FPD_LOG_MAX];
    char reason[256];
    va_list arguments;
    int saved = errno;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    apr_strerror(error, reason, sizeof(reason));
    fpd_log(level, "%s: %s (%d)", text, reason, error);
    errno = saved;
}

int fpd_log_line(fpd_log_level level, const char *prefix, const char *text, size_t length)
{
    int saved = errno;
    int is_taken = level < sink.level || level < FPD_LOG_DEBUG || level > FPD_LOG_ALERT ||
                   emit(level, prefix, text, length);

    errno = saved;
    return is_taken;
}

static void __attribute__((noinline)) write_raw(const char *text, size_t length)
{
    char line[FPD_LOG_LINE_MAX + 1];

    if (length > FPD_LOG_LINE_MAX) {
        length = FPD_LOG_LINE_MAX;
    }
    memcpy(line, text, length);
    line[length] = '\n';
    write_to(&sink.file, sink.fd, line, length + 1);
}

int fpd_log_raw(const char *text, size_t length)
{
    int saved = errno;
    int is_taken = 1;

    switch (sink.kind) {
    case SINK_DESCRIPTOR:
        write_raw(text, length);
        break;
    case SINK_DATAGRAMS:
        is_taken = send_datagram(FPD_LOG_RAW, "", text, length);
        break;
    case SINK_SYSLOG: /* which has lines with a level only */
        write_syslog(FPD_LOG_WARNING, "", text, length);
        break;
    }
    errno = saved;
    return is_taken;
}

void fpd_log_drop(void)
{
    sink.dropped++;
}
