/* log_file.h - log files whose disk may be full and whose reader may be asleep.
 *
 * A line is written whole or not at all, and nobody waits for it: a request must not stand still
 * because a log does. What is lost is counted, so that the log can say so when it takes lines
 * again.
 */
#ifndef FPD_LOG_FILE_H
#define FPD_LOG_FILE_H

#include <stddef.h>

/* What happened to the lines of one descriptor; starts as zeros. */
typedef struct fpd_log_file {
    unsigned lost; /* lines since the last one that was written */
    int error;     /* errno of the first of them */
    int is_cut;    /* what was written last ended inside a line */
} fpd_log_file;

/* Opens `path` for appending (made 0600 if it is not there), without waiting: a fifo that has no
 * reader yet keeps what its buffer holds. flags: more for open(2), O_NOFOLLOW. The caller owns the
 * descriptor, which is CLOEXEC and O_NONBLOCK. -1: errno says why. */
int fpd_log_file_open(const char *path, int flags);

/* A descriptor of its own for a pipe that others write to too, so that O_NONBLOCK is not theirs.
 * Returns the new one (CLOEXEC), or -1 where that is impossible or fd is no pipe. */
int fpd_log_file_open_again(int fd);

/* Writes one line, its line end included, and counts it if that fails. A pipe that takes a part of
 * a long line is waited for, `patience` milliseconds for each further part (0: not at all, -1: as
 * long as it takes), so that a line that is longer than the pipe arrives whole. Returns 0 or errno.
 */
int fpd_log_file_write(fpd_log_file *file, int fd, const char *line, size_t length, int patience);

/* What the administrator can do about the errno of a log, as a part of a sentence. */
const char *fpd_log_file_advice(int error);

#endif
