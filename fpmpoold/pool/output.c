/* output.c - reads the pipes of workers and logs each line.
 *
 * Runs in the pool process. A worker can write what it likes here: lines are bounded, and control
 * characters are escaped unless the configuration wants lines as they are. A log that takes nothing
 * stops the reading for a moment, then costs lines: a script must not stand still for it.
 */
#include "pool/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define LINE_LEAST    512
#define ROOM_LEAST    64 /* of a line's text, however long the pool's name is */
#define READS_AT_ONCE 16
#define READS_AT_END  256 /* more than a pipe holds; a program in the background may write on */
#define MILLISECOND   INT64_C(1000)
#define RETRY_TIME    (5 * MILLISECOND)
#define PATIENCE      (200 * MILLISECOND) /* with a log that takes nothing */
#define PARTIAL_TIME  (200 * MILLISECOND) /* looks so often whether the request has ended */

/* ---- pipes -------------------------------------------------------------------------------- */

apr_status_t fpd_output_make_pipes(fpd_output_pipes *pipes, const fpd_plan_pool *plan)
{
    *pipes = (fpd_output_pipes){{-1, -1}, {-1, -1}};
    if (!plan->catch_workers_output) {
        return APR_SUCCESS;
    }
    if (pipe2(pipes->out, O_CLOEXEC) != 0 || pipe2(pipes->err, O_CLOEXEC) != 0) {
        apr_status_t status = errno;
        fpd_output_close_side(pipes, 0);
        fpd_output_close_side(pipes, 1);
        return status;
    }
    return APR_SUCCESS;
}

static void close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void fpd_output_close_side(fpd_output_pipes *pipes, int side)
{
    close_one(&pipes->out[side]);
    close_one(&pipes->err[side]);
}

/* ---- lines -------------------------------------------------------------------------------- */

/* What stands around the text of a decorated line, but for time, level and pool. */
static int decorate(const fpd_output *output, char *to, size_t size, const char *text,
                    size_t length)
{
    return snprintf(to, size, "child %d said into %s: \"%.*s\"", (int)output->pid, output->stream,
                    (int)length, text);
}

/* Of a line of the log, its end included. */
static size_t line_limit(const fpd_plan_pool *plan)
{
    size_t limit = plan->log_limit > LINE_LEAST ? (size_t)plan->log_limit : LINE_LEAST;

    return limit < FPD_LOG_LINE_MAX ? limit : FPD_LOG_LINE_MAX;
}

/* php-fpm's rule: log_limit is for the line as it is written, time, level and end included. */
static size_t find_room(const fpd_output *output)
{
    const fpd_plan_pool *plan = output->plan;
    size_t limit = line_limit(plan);
    size_t around;

    if (!plan->decorate_workers_output) {
        return limit - 1;
    }
    around = fpd_log_stamp_size(FPD_LOG_WARNING, plan->master_pid) + sizeof("[pool ] ") +
             strlen(plan->name) + (size_t)decorate(output, NULL, 0, "", 0);
    return around + ROOM_LEAST < limit ? limit - around : ROOM_LEAST;
}

/* `length` without a character of UTF-8 that is not whole at its end. */
static size_t whole_characters(const char *text, size_t length)
{
    for (size_t back = 1; back <= 3 && back < length; back++) {
        unsigned char byte = (unsigned char)text[length - back];
        size_t needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        if ((byte & 0xc0) != 0x80) {
            return needed > back ? length - back : length;
        }
    }
    return length;
}

/* How much of a line goes into one line of the log: all of it if it is whole, or what has room. */
static size_t piece_of(const fpd_output *output, const char *text, size_t length, int is_whole)
{
    char escaped[FPD_LOG_LINE_MAX];
    size_t taken = length < output->room ? length : output->room;

    if (output->plan->decorate_workers_output) {
        (void)fpd_log_escape(escaped, output->room, text, length, &taken);
    }
    return taken < length || !is_whole ? whole_characters(text, taken) : length;
}

static int log_piece(const fpd_output *output, const char *text, size_t length)
{
    char escaped[FPD_LOG_LINE_MAX];
    char line[FPD_LOG_LINE_MAX];
    size_t used;
    size_t taken;

    if (!output->plan->decorate_workers_output) {
        return fpd_log_raw(text, length);
    }
    used = fpd_log_escape(escaped, output->room, text, length, &taken);
    return fpd_log_line(FPD_LOG_WARNING, "", line,
                        (size_t)decorate(output, line, sizeof(line), escaped, used));
}

/* 1: the line is logged or given up. 0: it stays, and reading stops for a moment. */
static int put_piece(fpd_output *output, const char *text, size_t length)
{
    int64_t now;

    if (log_piece(output, text, length)) {
        output->waiting_since = 0;
        output->is_impatient = 0;
        return 1;
    }
    now = fpd_monotonic_now();
    if (output->waiting_since == 0) {
        output->waiting_since = now;
    }
    if (output->is_impatient || now - output->waiting_since >= PATIENCE) {
        output->is_impatient = 1;
        fpd_log_drop();
        return 1;
    }
    return 0;
}

/* Logs what is whole, and what is not if it ends here; keeps the rest. 0: the log takes nothing. */
static int put_lines(fpd_output *output, int is_end)
{
    size_t from = 0;
    int is_taken = 1;

    while (is_taken && from < output->length) {
        const char *text = output->line + from;
        const char *end = memchr(text, '\n', output->length - from);
        size_t length = end != NULL ? (size_t)(end - text) : output->length - from;
        size_t piece;
        if (end == NULL && !is_end && length < output->room) {
            break;
        }
        piece = length > 0 ? piece_of(output, text, length, end != NULL || is_end) : 0;
        is_taken = piece == 0 || put_piece(output, text, piece); /* empty lines are dropped */
        if (is_taken) {
            from += piece + (end != NULL && piece == length);
        }
    }
    output->length -= from;
    memmove(output->line, output->line + from, output->length);
    return is_taken;
}

/* ---- reading ------------------------------------------------------------------------------ */

static void read_some(void *context, uint32_t events);

/* Another request, or none: what is left of a line was the last one's. */
static int has_request_ended(const fpd_output *output)
{
    fpd_slot_state state = FPD_SLOT_STATE(atomic_load(&output->slot->word));

    return atomic_load(&output->slot->requests) != output->request || state == FPD_SLOT_IDLE ||
           state == FPD_SLOT_IDLE_NO_LANE;
}

static void pause_reading(fpd_output *output)
{
    fpd_loop_remove(output->loop, output->watch);
    output->watch = 0;
    fpd_loop_timer_set(output->timer, fpd_monotonic_now() + RETRY_TIME);
}

static void resume_reading(fpd_output *output)
{
    if (output->watch == 0 && fpd_loop_add(output->loop, output->fd, EPOLLIN, read_some, output,
                                           &output->watch) != APR_SUCCESS) {
        output->watch = 0;
        fpd_loop_timer_set(output->timer, fpd_monotonic_now() + PARTIAL_TIME);
    }
}

/* One read. 0: there is nothing (more) to do now. */
static int read_once(fpd_output *output)
{
    size_t free_room;
    ssize_t got;

    /* what is still in the pipe may be the rest of the old line, unless there was nothing */
    if (output->length > 0 && output->is_drained &&
        atomic_load(&output->slot->requests) != output->request && !put_lines(output, 1)) {
        pause_reading(output);
        return 0;
    }
    free_room = output->room - output->length;
    got = read(output->fd, output->line + output->length, free_room);
    if (got < 0) {
        output->is_drained |= errno == EAGAIN;
        return errno == EINTR;
    }
    output->is_drained = (size_t)got < free_room;
    if (got == 0) { /* every writer has closed it */
        fpd_loop_remove(output->loop, output->watch);
        output->watch = 0;
        return 0;
    }
    if (output->length == 0) {
        output->request = atomic_load(&output->slot->requests);
    }
    output->length += (size_t)got;
    if (!put_lines(output, 0)) {
        pause_reading(output);
        return 0;
    }
    return 1;
}

static void read_some(void *context, uint32_t events)
{
    fpd_output *output = context;

    (void)events;
    for (int i = 0; i < READS_AT_ONCE && read_once(output); i++) {
    }
    if (output->length > 0 && !fpd_loop_timer_is_set(output->timer)) {
        fpd_loop_timer_set(output->timer, fpd_monotonic_now() + PARTIAL_TIME);
    }
}

static void look_again(void *context)
{
    fpd_output *output = context;
    int has_ended;

    if (output->fd < 0) {
        return;
    }
    has_ended = has_request_ended(output); /* before the pipe is emptied: nothing comes after it */
    if (!put_lines(output, 0)) {
        pause_reading(output);
        return;
    }
    resume_reading(output);
    read_some(output, 0);
    if (has_ended && output->is_drained && output->watch != 0 && !put_lines(output, 1)) {
        pause_reading(output);
    }
}

/* ---- start and stop ----------------------------------------------------------------------- */

static void start(fpd_output *output, int fd, apr_pool_t *memory)
{
    int flags;

    output->fd = fd;
    output->watch = 0;
    output->length = 0;
    output->is_drained = 0;
    output->waiting_since = 0;
    if (fd < 0) {
        return;
    }
    if (output->line == NULL) {
        output->line = apr_palloc(memory, line_limit(output->plan));
        output->timer = fpd_loop_timer_create(output->loop, look_again, output);
    }
    output->room = find_room(output);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fpd_loop_add(output->loop, fd, EPOLLIN, read_some, output, &output->watch) != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, errno, "cannot read the output of child %d", (int)output->pid);
        close(fd);
        output->fd = -1;
    }
}

void fpd_output_start(fpd_outputs *outputs, const fpd_output_pipes *pipes, pid_t pid,
                      const fpd_slot *slot, const fpd_plan_pool *plan, fpd_loop *loop,
                      apr_pool_t *memory)
{
    fpd_output *both[] = {&outputs->out, &outputs->err};

    for (int i = 0; i < 2; i++) {
        both[i]->loop = loop;
        both[i]->plan = plan;
        both[i]->slot = slot;
        both[i]->pid = pid;
    }
    outputs->out.stream = "stdout";
    outputs->err.stream = "stderr";
    start(&outputs->out, pipes->out[0], memory);
    start(&outputs->err, pipes->err[0], memory);
}

/* The worker is gone: what the log does not take now is dropped. */
static void stop(fpd_output *output)
{
    if (output->fd < 0) {
        return;
    }
    fpd_loop_timer_cancel(output->timer);
    output->waiting_since = 1;
    (void)put_lines(output, 0);
    for (int i = 0; i < READS_AT_END && read_once(output); i++) {
    }
    (void)put_lines(output, 1);
    fpd_loop_timer_cancel(output->timer);
    fpd_loop_remove(output->loop, output->watch);
    output->watch = 0;
    close(output->fd);
    output->fd = -1;
}

void fpd_output_stop(fpd_outputs *outputs)
{
    stop(&outputs->out);
    stop(&outputs->err);
}
