/* output.c - reads the pipes of workers and logs each line.
 *
 * Runs in the pool process. A worker can write what it likes here: lines are bounded, and control
 * characters are escaped by the log.
 */
#include "pool/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define LINE_LEAST    512
#define READS_AT_ONCE 16

static size_t line_limit(const fpd_output *output)
{
    size_t limit =
        output->plan->log_limit > LINE_LEAST ? (size_t)output->plan->log_limit : LINE_LEAST;

    return limit < FPD_LOG_MAX ? limit - 1 : FPD_LOG_MAX - 1;
}

static void log_line(fpd_output *output, const char *text, size_t length, int is_last)
{
    char line[FPD_LOG_MAX];
    size_t room = line_limit(output);

    if (!output->plan->decorate_workers_output) {
        fpd_log_raw(text, length);
        return;
    }
    /* a line longer than the limit becomes several whole ones */
    do {
        size_t part = length < room - 96 ? length : room - 96;
        memcpy(line, text, part);
        line[part] = '\0';
        for (size_t i = 0; i < part; i++) {
            line[i] = line[i] == '\0' ? ' ' : line[i];
        }
        text += part;
        length -= part;
        fpd_log(FPD_LOG_WARNING, "child %d said into stderr: \"%s\"%s", (int)output->pid, line,
                is_last && length == 0 ? ", pipe is closed" : "");
    } while (length > 0);
}

/* Logs whole lines, keeps the rest. */
static void split(fpd_output *output)
{
    size_t from = 0;

    for (size_t i = 0; i < output->length; i++) {
        if (output->line[i] == '\n') {
            if (i > from) {
                log_line(output, output->line + from, i - from, 0);
            }
            from = i + 1;
        }
    }
    output->length -= from;
    memmove(output->line, output->line + from, output->length);
    if (output->length == line_limit(output)) {
        log_line(output, output->line, output->length, 0);
        output->length = 0;
    }
}

static void read_some(void *context, uint32_t events)
{
    fpd_output *output = context;

    (void)events;
    for (int i = 0; i < READS_AT_ONCE; i++) {
        ssize_t got =
            read(output->fd, output->line + output->length, line_limit(output) - output->length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return;
        }
        if (got == 0) {
            fpd_loop_remove(output->loop, output->watch);
            output->watch = 0;
            return;
        }
        output->length += (size_t)got;
        split(output);
    }
}

void fpd_output_start(fpd_output *output, int fd, pid_t pid, const fpd_plan_pool *plan,
                      fpd_loop *loop, apr_pool_t *memory)
{
    int flags;

    output->loop = loop;
    output->plan = plan;
    output->pid = pid;
    output->fd = fd;
    output->watch = 0;
    output->length = 0;
    if (fd < 0) {
        return;
    }
    if (output->line == NULL) {
        output->line = apr_palloc(memory, line_limit(output));
    }
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fpd_loop_add(loop, fd, EPOLLIN, read_some, output, &output->watch) != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, errno, "cannot read the output of child %d", (int)pid);
        close(fd);
        output->fd = -1;
    }
}

void fpd_output_stop(fpd_output *output)
{
    if (output->fd < 0) {
        return;
    }
    if (output->watch != 0) {
        read_some(output, 0);
        fpd_loop_remove(output->loop, output->watch);
        output->watch = 0;
    }
    if (output->length > 0) {
        log_line(output, output->line, output->length, 1);
        output->length = 0;
    }
    close(output->fd);
    output->fd = -1;
}
