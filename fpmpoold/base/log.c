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

#define PATIENCE 200 /* milliseconds that a reader may be late before lines are lost */

typedef enum sink_kind { SINK_DESCRIPTOR, SINK_DATAGRAMS, SINK_SYSLOG } sink_kind;

static struct {
    sink_kind kind;
    int fd;
    int also_fd;
    fpd_log_level level;
    unsigned dropped; /* datagrams that found no room since the last one that did */
    int is_impatient; /* lines are rather lost than waited for */
    fpd_log_file file;
    fpd_log_file also_file;
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

void fpd_log_to_syslog(const char *ident, int facility)
{
    sink.kind = SINK_SYSLOG;
    sink.also_fd = -1;
    openlog(ident, LOG_PID | LOG_CONS, facility);
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

/* Copies text without control characters (a tenant's message must not forge a second line). Returns
 * the bytes written; cuts at size. */
static size_t escape(char *to, size_t size, const char *text, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;

    for (size_t i = 0; i < length && used + 4 < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            to[used++] = '\\';
            to[used++] = 'x';
            to[used++] = digits[c >> 4];
            to[used++] = digits[c & 15];
        } else {
            to[used++] = (char)c;
        }
    }
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
        error = fpd_log_file_write(file, fd, line, length);
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

static void write_line(fpd_log_level level, const char *text, size_t length)
{
    char line[FPD_LOG_MAX * 2];
    size_t used = stamp(line, 128, level);

    used += escape(line + used, sizeof(line) - used - 1, text, length);
    line[used++] = '\n';
    write_to(&sink.file, sink.fd, line, used);
    if (sink.also_fd >= 0 && level >= FPD_LOG_NOTICE) {
        write_to(&sink.also_file, sink.also_fd, line, used);
    }
}

static void send_datagram(fpd_log_level level, const char *text, size_t length)
{
    char level_byte = (char)level;
    struct iovec parts[2] = {{&level_byte, 1}, {(void *)text, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    if (sendmsg(sink.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        sink.dropped++;
        return;
    }
    if (sink.dropped > 0) {
        char note[96];
        int n = snprintf(note, sizeof(note), "%c%u log messages were dropped: the log is too slow",
                         (char)FPD_LOG_WARNING, sink.dropped);
        if (send(sink.fd, note, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
            sink.dropped = 0;
        }
    }
}

static void write_syslog(fpd_log_level level, const char *text, size_t length)
{
    static const int priorities[] = {LOG_DEBUG,   LOG_DEBUG, LOG_NOTICE,
                                     LOG_WARNING, LOG_ERR,   LOG_ALERT};
    char line[FPD_LOG_MAX * 2];
    size_t used = escape(line, sizeof(line) - 1, text, length);

    syslog(priorities[level], "[%s] %.*s", fpd_log_level_name(level), (int)used, line);
}

static void emit(fpd_log_level level, const char *text, size_t length)
{
    switch (sink.kind) {
    case SINK_DESCRIPTOR:
        write_line(level, text, length);
        break;
    case SINK_DATAGRAMS:
        send_datagram(level, text, length);
        break;
    case SINK_SYSLOG:
        write_syslog(level, text, length);
        break;
    }
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
    emit(level, text, settle(text, sizeof(text), vsnprintf(text, sizeof(text), format, arguments)));
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

void fpd_log_raw(const char *text, size_t length)
{
    char line[FPD_LOG_MAX * 2];
    size_t used;
    int saved = errno;

    if (sink.kind != SINK_DESCRIPTOR) {
        emit(FPD_LOG_WARNING, text, length);
        errno = saved;
        return;
    }
    used = escape(line, sizeof(line) - 1, text, length);
    line[used++] = '\n';
    write_to(&sink.file, sink.fd, line, used);
    errno = saved;
}
