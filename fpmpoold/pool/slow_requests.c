/* slow_requests.c - who runs for longer than request_slowlog_timeout, and what is said of it.
 *
 * Runs in the pool process on a timer. The trace itself is written by a thread of the worker, which
 * gets the file with the question: always the newest one, also when the worker has been busy since
 * before SIGUSR1. Must not wait for a worker, and believes nothing that one answers: an answer is
 * taken once for each question, and its texts are cut and made printable.
 */
#include "pool/slow_requests.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_file.h"

#define STEP_LEAST INT64_C(130000) /* php-fpm's floor */

typedef struct fpd_slow_requests {
    fpd_loop_timer *timer;
    unsigned lost;        /* entries since the last one that was written */
    int has_told_refusal; /* that frames cannot be read */
} fpd_slow_requests;

static int64_t timeout_of(const fpd_pool *pool)
{
    return pool->plan->request_slowlog_timeout * INT64_C(1000000);
}

/* ---- what is said ------------------------------------------------------------------------- */

static void say_slow(fpd_child *child, fpd_slot_view *view)
{
    fpd_board_make_printable(view);
    atomic_fetch_add(&child->pool->board->slow_requests, 1);
    fpd_log(FPD_LOG_WARNING,
            "child %d, script '%s' (request: \"%s %s%s%s\") executing too slow (%ld.%06d sec), "
            "logging",
            (int)child->pid, view->script, view->method, view->uri,
            view->query[0] != '\0' ? "?" : "", view->query, (long)(child->slow_elapsed / 1000000),
            (int)(child->slow_elapsed % 1000000));
}

static void say_written(fpd_pool *pool, int error)
{
    fpd_slow_requests *slow = pool->slow_requests;
    const char *advice = error == EMFILE || error == ENFILE
                             ? "its worker has no free descriptor, see what the script keeps open "
                               "or raise rlimit_files"
                             : fpd_log_file_advice(error);

    if (error == 0 && slow->lost > 0) {
        fpd_log(FPD_LOG_NOTICE, "slowlog '%s' is written again, entries lost: %u",
                pool->plan->slowlog, slow->lost);
        slow->lost = 0;
    } else if (error != 0 && slow->lost++ == 0) {
        fpd_log_errno(FPD_LOG_WARNING, error,
                      "slowlog '%s' cannot be written and loses entries; %s", pool->plan->slowlog,
                      advice);
    }
}

/* A frame that changed under the reader's eyes says so in the entry alone. */
static void say_read(fpd_pool *pool, int error)
{
    if ((error == EPERM || error == ENOSYS || error == EACCES) &&
        !pool->slow_requests->has_told_refusal) {
        pool->slow_requests->has_told_refusal = 1;
        fpd_log_errno(FPD_LOG_WARNING, error,
                      "slowlog '%s' gets no traces: the system call process_vm_readv is refused; "
                      "allow it in the container's seccomp profile or in the unit's "
                      "SystemCallFilter, or set request_slowlog_timeout = 0",
                      pool->plan->slowlog);
    }
}

/* ---- the answer --------------------------------------------------------------------------- */

static void say_without_trace(fpd_child *child)
{
    fpd_slot_view view;

    child->is_trace_awaited = 0;
    fpd_board_read_slot(child->pool->board, child->slot, &view);
    say_slow(child, &view);
}

static void leave_channel(fpd_child *child)
{
    fpd_loop_remove(child->pool->loop, child->tracer_watch);
    close(child->tracer);
    child->tracer = -1;
}

static int take_answer(fpd_child *child, const fpd_message *message)
{
    fpd_message_traced traced;

    for (int i = 0; i < message->fd_count; i++) {
        close(message->fds[i]);
    }
    if (message->type != FPD_MESSAGE_TRACED || message->length != sizeof(traced) ||
        !child->is_trace_awaited) {
        return 0;
    }
    memcpy(&traced, message->body, sizeof(traced));
    child->is_trace_awaited = 0;
    if (traced.outcome == FPD_TRACE_WRITTEN) {
        say_slow(child, &traced.view);
        say_read(child->pool, traced.read_error);
        say_written(child->pool, traced.write_error);
    }
    return 1;
}

static void read_answer(fpd_child *child)
{
    fpd_message message;
    apr_status_t status =
        fpd_channel_receive(child->tracer, &message, child->pool->buffer, MSG_DONTWAIT);

    if (APR_STATUS_IS_EAGAIN(status) || (status == APR_SUCCESS && take_answer(child, &message))) {
        return;
    }
    if (status != APR_EOF) {
        fpd_log(FPD_LOG_WARNING,
                "the tracer of child %d sent a malformed message, it is not asked "
                "again",
                (int)child->pid);
    }
    leave_channel(child);
    if (child->is_trace_awaited) {
        say_without_trace(child);
    }
}

static void on_tracer(void *context, uint32_t events)
{
    (void)events;
    read_answer(context);
}

/* ---- the question ------------------------------------------------------------------------- */

static void ask(fpd_child *child, int64_t since, int64_t now)
{
    fpd_message_trace question = {.request = since};
    const int *file = &child->pool->setup.slow_log;
    time_t seconds = time(NULL);
    struct tm local;

    child->slow_request = since;
    child->slow_elapsed = now - since;
    if (localtime_r(&seconds, &local) == NULL ||
        strftime(question.time, sizeof(question.time), "%d-%b-%Y %H:%M:%S", &local) == 0) {
        question.time[0] = '\0';
    }
    child->is_trace_awaited =
        child->tracer >= 0 &&
        fpd_channel_send(child->tracer, FPD_MESSAGE_TRACE, &question, sizeof(question), NULL, 0,
                         file, 1, MSG_DONTWAIT) == APR_SUCCESS;
    if (!child->is_trace_awaited) {
        say_without_trace(child);
    }
}

/* When the request began that the worker is at, 0: none, or it has been found slow already. */
static int64_t pending_since(const fpd_child *child)
{
    const fpd_slot *slot = &child->pool->board->slots[child->slot];
    int64_t since = atomic_load(&slot->request_started);
    fpd_slot_state state = FPD_SLOT_STATE(atomic_load(&slot->word));

    if (state != FPD_SLOT_RUNNING && state != FPD_SLOT_SENDING) {
        return 0;
    }
    /* begun before the worker was last idle: it has not yet written when the new one began */
    return since > atomic_load(&slot->idle_since) && since != child->slow_request ? since : 0;
}

static int is_script_running(const fpd_child *child)
{
    return atomic_load(&child->pool->board->slots[child->slot].stage) == FPD_STAGE_RUNNING;
}

/* The next look is when the oldest request that runs now becomes slow: those that begin after this
 * look cannot be slow before the whole time has passed. */
static void check(void *context)
{
    fpd_pool *pool = context;
    int64_t now = fpd_monotonic_now();
    int64_t next = now + timeout_of(pool);
    int64_t step = timeout_of(pool) / 3;

    step = step < STEP_LEAST ? STEP_LEAST : step;
    for (uint32_t i = 0; i < pool->slot_count; i++) {
        fpd_child *child = fpd_spawn_child(pool, i);
        int64_t since = child->pid != 0 ? pending_since(child) : 0;
        int64_t due;
        if (since <= 0 || since > now || child->is_trace_awaited) {
            continue; /* a time to come: a tenant's own doing */
        }
        due = since + timeout_of(pool);
        if (due > now) {
            next = due < next ? due : next;
        } else if (is_script_running(child)) {
            ask(child, since, now);
        } else { /* reads a body, or works behind its response */
            next = now + step < next ? now + step : next;
        }
    }
    if (fpd_spawn_total(pool) > 0) {
        fpd_loop_timer_set(pool->slow_requests->timer, next);
    }
}

/* ---- workers ------------------------------------------------------------------------------ */

void fpd_slow_requests_adopt(fpd_child *child, int channel)
{
    fpd_pool *pool = child->pool;
    fpd_loop_timer *timer = pool->slow_requests != NULL ? pool->slow_requests->timer : NULL;
    apr_status_t status;

    child->tracer = channel;
    child->slow_request = 0;
    child->is_trace_awaited = 0;
    if (channel < 0) {
        return;
    }
    status = fpd_loop_add(pool->loop, channel, EPOLLIN, on_tracer, child, &child->tracer_watch);
    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "cannot watch the tracer of child %d",
                      (int)child->pid);
        close(channel);
        child->tracer = -1;
    }
    if (!fpd_loop_timer_is_set(timer)) {
        fpd_loop_timer_set(timer, fpd_monotonic_now() + timeout_of(pool));
    }
}

void fpd_slow_requests_leave(fpd_child *child)
{
    if (child->tracer >= 0) {
        read_answer(child);
    }
    if (child->tracer >= 0) {
        leave_channel(child);
    }
    if (child->is_trace_awaited) {
        say_without_trace(child);
    }
}

void fpd_slow_requests_create(fpd_pool *pool)
{
    if (pool->plan->request_slowlog_timeout <= 0 || pool->setup.slow_log < 0 ||
        pool->setup.refusal != NULL) {
        return;
    }
    pool->slow_requests = apr_pcalloc(pool->memory, sizeof(*pool->slow_requests));
    pool->slow_requests->timer = fpd_loop_timer_create(pool->loop, check, pool);
}
