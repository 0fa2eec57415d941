/* log_file.c - opens and writes log files without ever waiting for a disk or a reader.
 *
 * Runs in every process of the daemon. Must not log (the log is made of it) and must not allocate.
 */
#include "base/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int fpd_log_file_open(const char *path, int flags)
{
    const int always = O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags;
    struct stat about;

    /* Opened for reading too, a fifo needs no reader to be there, and one that ends and comes back
     * is no error. */
    if (lstat(path, &about) == 0 && S_ISFIFO(about.st_mode)) {
        int fd = open(path, O_RDWR | always);
        if (fd >= 0 || errno != EACCES) {
            return fd;
        }
    }
    return open(path, O_WRONLY | O_CREAT | always, 0600);
}

int fpd_log_file_open_again(int fd)
{
    char path[64];
    struct stat about;

    if (fstat(fd, &about) != 0 || !S_ISFIFO(about.st_mode)) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK);
}

/* Writes what is left of a line that was begun. Returns the bytes that went out. */
static size_t write_rest(int fd, const char *line, size_t length, int patience)
{
    struct pollfd waited = {.fd = fd, .events = POLLOUT};
    size_t done = 0;

    while (done < length) {
        ssize_t written;
        int ready = poll(&waited, 1, patience);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            break;
        }
        written = write(fd, line + done, length - done);
        if (written <= 0 && (written == 0 || (errno != EINTR && errno != EAGAIN))) {
            break;
        }
        done += written > 0 ? (size_t)written : 0;
    }
    return done;
}

int fpd_log_file_write(fpd_log_file *file, int fd, const char *line, size_t length, int patience)
{
    struct iovec parts[2] = {{.iov_base = "\n", .iov_len = file->is_cut ? 1 : 0},
                             {.iov_base = (char *)(size_t)line, .iov_len = length}};
    ssize_t written;
    int error;

    do {
        written = writev(fd, parts, 2);
    } while (written < 0 && errno == EINTR);
    error = written < 0 ? errno : ENOSPC; /* a part of it: the disk, or a pipe, has become full */
    if (written > (ssize_t)parts[0].iov_len && patience != 0) {
        size_t begun = (size_t)written - parts[0].iov_len;
        written += (ssize_t)write_rest(fd, line + begun, length - begun, patience);
    }
    if (written == (ssize_t)(parts[0].iov_len + length)) {
        file->is_cut = 0;
        return 0;
    }
    if (written > (ssize_t)parts[0].iov_len) {
        file->is_cut = 1;
    } else if (written > 0) {
        file->is_cut = 0;
    }
    if (file->lost++ == 0) {
        file->error = error;
    }
    return error;
}

const char *fpd_log_file_advice(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return "make room on its disk";
    case EAGAIN:
        return "its reader does not read, restart that";
    case EPIPE:
        return "its reader has gone, restart both";
    default:
        return "look at that file and its disk";
    }
}
