/* children.c - forks and execs interpreter hosts, reads their channels, logs and output.
 *
 * Runs in the master. The forked child only arranges descriptors and execs: it touches no APR pool
 * and leaves by _exit.
 */
#include "master/children.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "master/hosts.h"

#define STOP_PATIENCE    5000000 /* microseconds between STOP and KILL */
#define EXEC_FD_BASE     64      /* above every descriptor of enum fpd_host_fd */
#define MESSAGES_AT_ONCE 64      /* of one process: whoever talks without end waits for its turn */

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

/* Both sides of every connection with the new process, before fork. -1: not open. */
typedef struct bundle {
    int channel[2]; /* [0] master's, [1] host's; likewise below */
    int log[2];
    int output[2];
    int plan;
    int board;
    int board_view; /* the master's, read-only */
    int null;
} bundle;

static void close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* The host's ends; in the parent after fork, or everything after a failure. */
static void close_host_ends(bundle *made)
{
    close_one(&made->channel[1]);
    close_one(&made->log[1]);
    close_one(&made->output[1]);
    close_one(&made->plan);
    close_one(&made->board);
    close_one(&made->null);
}

static void discard(bundle *made)
{
    close_host_ends(made);
    close_one(&made->channel[0]);
    close_one(&made->log[0]);
    close_one(&made->output[0]);
    close_one(&made->board_view);
}

static int reopen_for_reading(int fd)
{
    char path[32];

    apr_snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static apr_status_t prepare(bundle *made, const fpd_plan_pool *plan, const char **step,
                            apr_pool_t *scratch)
{
    apr_status_t status;

    *made = (bundle){{-1, -1}, {-1, -1}, {-1, -1}, -1, -1, -1, -1};
    *step = "open /dev/null";
    made->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (made->null < 0) {
        return errno;
    }
    *step = "make the channel";
    status = fpd_channel_pair(made->channel);
    if (status != APR_SUCCESS) {
        return status;
    }
    *step = "make the log socket";
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, made->log) != 0) {
        return errno;
    }
    *step = "make the output pipe";
    if (pipe2(made->output, O_CLOEXEC) != 0 || fcntl(made->output[0], F_SETFL, O_NONBLOCK) != 0) {
        return errno;
    }
    *step = "make the board";
    status = fpd_board_create(&made->board, plan->name, (uint32_t)plan->max_children);
    if (status != APR_SUCCESS) {
        return status;
    }
    *step = "open the board for reading";
    made->board_view = reopen_for_reading(made->board);
    if (made->board_view < 0) {
        return errno;
    }
    *step = "hand over the plan";
    return fpd_plan_pool_write(plan, &made->plan, scratch);
}

/* ---- in the forked child ------------------------------------------------------------------ */

/* Sources may be any number, also one of the targets: first out of the way, then into place. */
static int place_descriptors(const bundle *made, fpd_child_sockets sockets)
{
    const int status_listener = sockets.status_listener >= 0 ? sockets.status_listener : made->null;
    const int sources[] = {made->null,       made->output[1],  made->output[1],
                           made->channel[1], made->plan,       made->board,
                           made->log[1],     sockets.listener, status_listener};
    int moved[FPD_FD_FIRST_FREE];

    for (int i = 0; i < FPD_FD_FIRST_FREE; i++) {
        moved[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, EXEC_FD_BASE);
        if (moved[i] < 0) {
            return 0;
        }
    }
    for (int i = 0; i < FPD_FD_FIRST_FREE; i++) {
        if (dup2(moved[i], i) < 0) {
            return 0;
        }
    }
    return close_range(FPD_FD_FIRST_FREE, ~0u, 0) == 0;
}

static void become_host(const bundle *made, fpd_child_sockets sockets, const char *program,
                        char *const *argv)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        (void)sigaction(number, &standard, NULL);
    }
    sigemptyset(&none);
    (void)setsid(); /* Ctrl-C reaches the master only */
    fpd_hosts_clean_environment();
    if (place_descriptors(made, sockets) && sigprocmask(SIG_SETMASK, &none, NULL) == 0) {
        execv(program, argv);
        fpd_log_to_datagrams(FPD_FD_LOG);
        fpd_log_errno(FPD_LOG_ERROR, errno, "cannot run the interpreter host '%s'", program);
    }
    _exit(127);
}

/* ---- in the master ------------------------------------------------------------------------ */

static void read_channel(void *context, uint32_t events)
{
    fpd_child *child = context;
    fpd_message_buffer space;
    fpd_message_buffer *buffer = &space;
    fpd_message message;
    apr_status_t status = APR_SUCCESS;

    (void)events;
    for (int i = 0; i < MESSAGES_AT_ONCE; i++) {
        status = fpd_channel_receive(child->channel, &message, buffer, MSG_DONTWAIT);
        if (status != APR_SUCCESS) {
            break;
        }
        while (message.fd_count > 0) { /* no message to the master carries any */
            close(message.fds[--message.fd_count]);
        }
        child->on_message(child, &message);
    }
    if (status == APR_EOF) {
        fpd_loop_remove(child->loop, child->channel_id); /* SIGCHLD tells the rest */
    }
}

void fpd_children_take_messages(fpd_child *child)
{
    read_channel(child, 0);
}

static void read_log(void *context, uint32_t events)
{
    fpd_child *child = context;

    (void)events;
    if (!fpd_logs_take_datagrams(&child->source, child->log_fd)) {
        fpd_loop_remove(child->loop, child->log_id);
    }
}

static void read_output(void *context, uint32_t events)
{
    fpd_child *child = context;

    (void)events;
    if (!fpd_logs_take_output(&child->source, child->output_fd)) {
        fpd_loop_remove(child->loop, child->output_id);
    }
}

/* Nobody has any to give us, and the last close of what a tenant made can take as long as the
 * tenant likes (SO_LINGER), whether we receive it or the kernel throws it away for us. */
static void refuse_descriptors(int fd)
{
    int allowed = 0;

    (void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &allowed, sizeof(allowed));
}

static apr_status_t watch(fpd_child *child)
{
    apr_status_t status;

    refuse_descriptors(child->channel);
    refuse_descriptors(child->log_fd);
    status =
        fpd_loop_add(child->loop, child->channel, EPOLLIN, read_channel, child, &child->channel_id);
    if (status == APR_SUCCESS) {
        status = fpd_loop_add(child->loop, child->log_fd, EPOLLIN, read_log, child, &child->log_id);
    }
    if (status == APR_SUCCESS) {
        status = fpd_loop_add(child->loop, child->output_fd, EPOLLIN, read_output, child,
                              &child->output_id);
    }
    return status;
}

/* What one that is new and one of the master before have in common; it owns the pool. */
static fpd_child *create(const char *name, fpd_loop *loop, fpd_child_message_fn *on_message,
                         void *owner, apr_pool_t *pool)
{
    fpd_child *child = apr_pcalloc(pool, sizeof(*child));

    child->pool = pool;
    child->loop = loop;
    child->owner = owner;
    child->on_message = on_message;
    child->source.name = apr_pstrdup(pool, name);
    return child;
}

apr_status_t fpd_children_start(fpd_child **started, const char *program, const fpd_plan_pool *plan,
                                const char *reason, fpd_child_sockets sockets, fpd_loop *loop,
                                fpd_child_message_fn *on_message, void *owner, const char **step,
                                apr_pool_t *parent)
{
    char *argv[] = {(char *)program, reason != NULL ? "--answer" : "--pool", (char *)reason, NULL};
    bundle made;
    fpd_child *child;
    apr_pool_t *pool;
    apr_status_t status = apr_pool_create(&pool, parent);

    *step = "allocate";
    if (status != APR_SUCCESS) {
        return status;
    }
    child = create(plan->name, loop, on_message, owner, pool);
    child->is_answering = reason != NULL;
    child->started_at = fpd_monotonic_now();
    child->source.is_raw_allowed = plan->catch_workers_output && !plan->decorate_workers_output;
    child->slot_count = (uint32_t)plan->max_children;
    status = prepare(&made, plan, step, pool);
    if (status == APR_SUCCESS) {
        *step = "fork";
        child->pid = fork();
        status = child->pid < 0 ? errno : APR_SUCCESS;
    }
    if (status != APR_SUCCESS) {
        discard(&made);
        apr_pool_destroy(pool);
        return status;
    }
    if (child->pid == 0) {
        become_host(&made, sockets, program, argv);
    }
    close_host_ends(&made);
    child->channel = made.channel[0];
    child->log_fd = made.log[0];
    child->output_fd = made.output[0];
    child->board_fd = made.board_view;
    *step = "watch the process";
    status = watch(child);
    if (status == APR_SUCCESS) {
        status = fpd_board_map_known(&child->board, child->board_fd, child->slot_count, pool);
    }
    if (status != APR_SUCCESS) { /* reaped later as an unknown child */
        (void)kill(child->pid, SIGKILL);
        fpd_children_destroy(child);
        return status;
    }
    *started = child;
    return APR_SUCCESS;
}

void fpd_children_save(const fpd_child *child, fpd_state_child *saved)
{
    saved->pid = (int32_t)child->pid;
    saved->state = (int32_t)child->state;
    saved->is_answering = child->is_answering;
    saved->started_at = child->started_at;
    saved->stop_by = child->stop_by;
    saved->channel = child->channel;
    saved->log_fd = child->log_fd;
    saved->output_fd = child->output_fd;
    saved->board_fd = child->board_fd;
    saved->slot_count = (int32_t)child->slot_count;
    saved->has_successor = child->has_successor;
    saved->window_start = child->source.window_start;
    saved->window_lines = (int32_t)child->source.window_lines;
    saved->suppressed = (int32_t)child->source.suppressed;
    saved->is_raw_allowed = child->source.is_raw_allowed;
    saved->partial.data = child->source.partial;
    saved->partial.length = child->source.partial_length;
}

static void resume_source(fpd_logs_source *source, const fpd_state_child *saved)
{
    source->window_start = saved->window_start;
    source->window_lines = (unsigned)saved->window_lines;
    source->suppressed = (unsigned)saved->suppressed;
    source->is_raw_allowed = saved->is_raw_allowed;
    if (saved->partial.length <= sizeof(source->partial)) {
        memcpy(source->partial, saved->partial.data, saved->partial.length);
        source->partial_length = saved->partial.length;
    }
}

apr_status_t fpd_children_resume(fpd_child **resumed, const fpd_state_child *saved,
                                 const char *name, fpd_loop *loop, fpd_child_message_fn *on_message,
                                 void *owner, apr_pool_t *parent)
{
    fpd_child *child;
    apr_pool_t *pool;
    apr_status_t status;

    apr_pool_create(&pool, parent);
    child = create(name, loop, on_message, owner, pool);
    child->pid = (pid_t)saved->pid;
    child->state = (fpd_child_state)saved->state;
    child->is_answering = saved->is_answering;
    child->started_at = saved->started_at;
    child->stop_by = saved->stop_by;
    child->channel = saved->channel;
    child->log_fd = saved->log_fd;
    child->output_fd = saved->output_fd;
    child->board_fd = saved->board_fd;
    child->slot_count = (uint32_t)saved->slot_count;
    child->has_successor = saved->has_successor;
    if (child->board_fd >= 0 && fpd_board_map_known(&child->board, child->board_fd,
                                                    child->slot_count, pool) != APR_SUCCESS) {
        child->board = NULL;
    }
    resume_source(&child->source, saved);
    status = watch(child);
    if (status != APR_SUCCESS) {
        (void)kill(child->pid, SIGKILL);
    }
    *resumed = child;
    return status;
}

void fpd_children_tell(fpd_child *child, fpd_message_type message)
{
    apr_status_t status =
        fpd_channel_send(child->channel, message, NULL, 0, NULL, 0, NULL, 0, MSG_DONTWAIT);

    if (status != APR_SUCCESS && message == FPD_MESSAGE_STOP) {
        (void)kill(child->pid, SIGTERM);
    }
}

int fpd_children_tell_count(fpd_child *child, fpd_message_type message, uint32_t count)
{
    fpd_message_count body = {count};

    return fpd_channel_send(child->channel, message, &body, sizeof(body), NULL, 0, NULL, 0,
                            MSG_DONTWAIT) == APR_SUCCESS;
}

void fpd_children_leave(fpd_child *child)
{
    child->state = FPD_CHILD_LEAVING;
    child->stop_by = fpd_monotonic_now() + STOP_PATIENCE;
    fpd_children_tell(child, FPD_MESSAGE_LEAVE);
}

void fpd_children_stop(fpd_child *child)
{
    child->state = FPD_CHILD_STOPPING;
    child->stop_by = fpd_monotonic_now() + STOP_PATIENCE;
    fpd_children_tell(child, FPD_MESSAGE_STOP);
}

static int tell_with(fpd_child *child, fpd_message_type message, int fd)
{
    return fpd_channel_send(child->channel, message, NULL, 0, NULL, 0, &fd, 1, MSG_DONTWAIT) ==
           APR_SUCCESS;
}

/* A half of this that fails is a hand-over whose other side is gone: both go on without it. */
static int tell_to_hand_over(fpd_child *child, fpd_child *successor)
{
    int ends[2];
    int is_told;

    if (fpd_channel_pair(ends) != APR_SUCCESS) {
        return 0;
    }
    is_told = tell_with(successor, FPD_MESSAGE_RECEIVE, ends[0]) &&
              tell_with(child, FPD_MESSAGE_DRAIN, ends[1]);
    close(ends[0]);
    close(ends[1]);
    return is_told;
}

void fpd_children_drain(fpd_child *child, int patience, fpd_child *successor)
{
    if (child->state >= FPD_CHILD_DRAINING) {
        return;
    }
    child->state = FPD_CHILD_DRAINING;
    child->stop_by = fpd_monotonic_now() + (int64_t)patience * 1000000;
    child->has_successor = successor != NULL && tell_to_hand_over(child, successor);
    if (!child->has_successor) {
        fpd_children_tell(child, FPD_MESSAGE_DRAIN);
    }
    if (patience <= 0) {
        fpd_children_stop(child);
    }
}

void fpd_children_check(fpd_child *child, int64_t now)
{
    if (child->stop_by == 0 || now < child->stop_by) {
        return;
    }
    if (child->state == FPD_CHILD_LEAVING) {
        fpd_log(FPD_LOG_WARNING,
                "[pool %s] pool process %d, which was idle, did not end within %d seconds and is "
                "killed (an extension of PHP may hang in its shutdown)",
                child->source.name, (int)child->pid, STOP_PATIENCE / 1000000);
    }
    if (child->state == FPD_CHILD_LEAVING || child->state == FPD_CHILD_STOPPING) {
        (void)kill(child->pid, SIGKILL);
        child->stop_by = now + STOP_PATIENCE;
    } else {
        fpd_children_stop(child);
    }
}

void fpd_children_say_end(const fpd_child *child, int wait_status)
{
    double age = (double)(fpd_monotonic_now() - child->started_at) / 1e6;
    fpd_log_level level = child->state >= FPD_CHILD_LEAVING ? FPD_LOG_DEBUG : FPD_LOG_WARNING;

    if (WIFSIGNALED(wait_status)) {
        fpd_log(level,
                "[pool %s] pool process %d exited on signal %d (SIG%s) after %.6f seconds from "
                "start",
                child->source.name, (int)child->pid, WTERMSIG(wait_status),
                sigabbrev_np(WTERMSIG(wait_status)), age);
    } else {
        fpd_log(level,
                "[pool %s] pool process %d exited with code %d after %.6f seconds from start",
                child->source.name, (int)child->pid, WEXITSTATUS(wait_status), age);
    }
}

void fpd_children_tell_logs(fpd_child *child, int access_log, int slow_log)
{
    fpd_message_reopen body = {access_log >= 0, slow_log >= 0};
    int fds[2];
    int count = 0;

    if (access_log >= 0) {
        fds[count++] = access_log;
    }
    if (slow_log >= 0) {
        fds[count++] = slow_log;
    }
    (void)fpd_channel_send(child->channel, FPD_MESSAGE_REOPEN, &body, sizeof(body), NULL, 0, fds,
                           count, MSG_DONTWAIT);
}

void fpd_children_read_board(const fpd_child *child, fpd_board_view *view)
{
    if (child->board != NULL) {
        fpd_board_read_within(child->board, child->slot_count, view);
    } else {
        memset(view, 0, sizeof(*view));
    }
}

void fpd_children_destroy(fpd_child *child)
{
    if (child->log_fd >= 0) {
        (void)fpd_logs_take_datagrams(&child->source, child->log_fd);
    }
    if (child->output_fd >= 0) {
        (void)fpd_logs_take_output(&child->source, child->output_fd);
    }
    fpd_loop_remove(child->loop, child->channel_id);
    fpd_loop_remove(child->loop, child->log_id);
    fpd_loop_remove(child->loop, child->output_id);
    close_one(&child->channel);
    close_one(&child->log_fd);
    close_one(&child->output_fd);
    close_one(&child->board_fd);
    apr_pool_destroy(child->pool);
}
