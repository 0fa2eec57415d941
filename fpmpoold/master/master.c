/* master.c - the daemon's states: starting, normal, reloading, finishing, terminating.
 *
 * The master process. It links no libphp and never reads a byte that a client sent. Signals come as
 * calls from the loop, so nothing here runs in a signal handler.
 */
#include "master/master_private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/title.h"
#include "master/daemon.h"
#include "master/hosts.h"

#define START_PATIENCE 15000000 /* microseconds until systemd is told READY in any case */

static const char *state_name(fpd_master_state state)
{
    static const char *const names[] = {"starting", "normal", "finishing", "terminating"};

    return names[state];
}

/* ---- signals ------------------------------------------------------------------------------ */

/* Stops the loop when nobody is left who is waited for. */
static void check_end(void *context)
{
    fpd_master *self = context;

    if (self->state < FPD_MASTER_FINISHING || fpd_pools_count(self->pools).children > 0) {
        return;
    }
    if (self->state == FPD_MASTER_FINISHING && fpd_monotonic_now() < self->orphans_until &&
        fpd_pools_may_have_orphans(self->pools) && fpd_daemon_has_children()) {
        fpd_loop_timer_set(self->orphan_timer, self->orphans_until);
        return;
    }
    fpd_loop_stop(self->loop);
}

static void tell_changes(fpd_master *self)
{
    fpd_commands_check(&self->commands);
    fpd_control_check(self->control);
    if (self->reload.pid == 0 && !self->is_applying && fpd_pools_changing(self->pools) == 0) {
        fpd_systemd_end_reload(&self->systemd);
    }
}

static void end_daemon(fpd_master *self, fpd_master_state state)
{
    if (self->state >= state) {
        fpd_log(FPD_LOG_DEBUG, "not switching to '%s' state, because already in '%s' state",
                state_name(state), state_name(self->state));
        return;
    }
    self->state = state;
    self->commands.is_ending = 1;
    fpd_systemd_stop(&self->systemd);
    tell_changes(self);
    fpd_log(FPD_LOG_NOTICE, state == FPD_MASTER_TERMINATING ? "Terminating ..." : "Finishing ...");
    self->orphans_until =
        fpd_monotonic_now() + (int64_t)self->conf->global.process_control_timeout * 1000000;
    fpd_pools_finish(self->pools, state == FPD_MASTER_FINISHING,
                     self->conf->global.process_control_timeout);
    check_end(self);
}

static void reopen_logs(fpd_master *self)
{
    int has_failed;

    if (fpd_logs_reopen(&self->logs) == APR_SUCCESS) {
        fpd_log(FPD_LOG_NOTICE, "error log file re-opened");
    }
    if (fpd_pools_reopen_logs(self->pools, &has_failed) && !has_failed) {
        fpd_log(FPD_LOG_NOTICE, "access log file re-opened");
    }
}

void fpd_master_reap(fpd_master *self)
{
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (pid == self->reload.pid) {
            fpd_master_end_reload(self, wait_status);
        } else if (!fpd_pools_reap(self->pools, pid, wait_status)) {
            fpd_log(FPD_LOG_DEBUG, "orphan %d of an earlier pool process ended", (int)pid);
            fpd_pools_count_orphans(self->pools,
                                    fpd_daemon_count_children() - (self->reload.pid != 0));
        }
    }
    check_end(self);
}

static void take_signal(void *context, int number)
{
    fpd_master *self = context;

    fpd_log(FPD_LOG_DEBUG, "received SIG%s", sigabbrev_np(number));
    switch (number) {
    case SIGCHLD:
        fpd_master_reap(self);
        break;
    case SIGTERM:
    case SIGINT:
        end_daemon(self, FPD_MASTER_TERMINATING);
        break;
    case SIGQUIT:
        end_daemon(self, FPD_MASTER_FINISHING);
        break;
    case SIGUSR1:
        reopen_logs(self);
        break;
    default: /* SIGHUP, SIGUSR2 */
        if (self->state <= FPD_MASTER_NORMAL) {
            self->wants_reload = 1;
            fpd_master_begin_reload(self);
        }
    }
}

void fpd_master_watched_signals(sigset_t *set)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP};

    sigemptyset(set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaddset(set, numbers[i]);
    }
}

static apr_status_t watch_signals(fpd_master *self)
{
    sigset_t set;

    fpd_master_watched_signals(&set);
    (void)signal(SIGPIPE, SIG_IGN);
    return fpd_loop_watch_signals(self->loop, &set, take_signal, self);
}

/* ---- start -------------------------------------------------------------------------------- */

static void check_start(fpd_master *self)
{
    if (!self->has_begun || self->state != FPD_MASTER_STARTING ||
        fpd_pools_count(self->pools).starting > 0) {
        return;
    }
    if (fpd_pools_count(self->pools).serving == 0) {
        if (self->is_resumed) { /* they are tried again, or wait for the next reload */
            return;
        }
        fpd_log(FPD_LOG_ALERT, "no pool can serve: see the errors above");
        self->exit_code = FPD_EXIT_CONFIG;
        self->state = FPD_MASTER_TERMINATING;
        self->commands.is_ending = 1;
        fpd_daemon_report(&self->verdict_fd, 0);
        fpd_pools_finish(self->pools, 0, 0);
        check_end(self);
        return;
    }
    self->state = FPD_MASTER_NORMAL;
    fpd_log(FPD_LOG_NOTICE, "ready to handle connections");
    fpd_systemd_start(&self->systemd, self->loop, self->pools);
}

/* One pool that takes long must not make systemd give up all of them. */
static void stop_waiting(void *context)
{
    fpd_master *self = context;

    if (self->state == FPD_MASTER_STARTING) {
        fpd_systemd_start(&self->systemd, self->loop, self->pools);
    }
}

void fpd_master_take_change(void *context)
{
    fpd_master *self = context;

    check_start(self);
    tell_changes(self);
}

static apr_status_t start_pools(fpd_master *self)
{
    const apr_array_header_t *plans = self->conf->pools;
    int bound = 0;

    fpd_master_set_pid(self->conf);
    for (int i = 0; i < plans->nelts; i++) {
        bound += fpd_pools_start(self->pools, APR_ARRAY_IDX(plans, i, fpd_plan_pool *));
    }
    return bound > 0 ? APR_SUCCESS : APR_EGENERAL;
}

void fpd_master_set_pid(const fpd_conf *conf)
{
    for (int i = 0; i < conf->pools->nelts; i++) {
        APR_ARRAY_IDX(conf->pools, i, fpd_plan_pool *)->master_pid = (int32_t)getpid();
    }
}

apr_status_t fpd_master_change_pid_file(fpd_master *self, const char *path)
{
    apr_status_t status;

    if (path != NULL && self->pid_file != NULL && strcmp(path, self->pid_file) == 0) {
        return APR_SUCCESS;
    }
    status = fpd_daemon_write_pid(path);
    if (status == APR_SUCCESS) {
        fpd_daemon_remove_pid(self->pid_file);
        free(self->pid_file);
        self->pid_file = path != NULL ? strdup(path) : NULL;
    }
    return status;
}

void fpd_master_change_control(fpd_master *self, const char *path)
{
    if (path != NULL && fpd_control_is_at(self->control, path)) {
        return;
    }
    fpd_control_close(self->control);
    self->control =
        path != NULL ? fpd_control_open(path, &self->commands, self->loop, self->pool) : NULL;
}

fpd_master *fpd_master_create(const fpd_argv *arguments, apr_pool_t *pool)
{
    fpd_master *self = apr_pcalloc(pool, sizeof(*self));

    self->pool = pool;
    self->arguments = arguments;
    self->self = arguments->self;
    self->verdict_fd = -1;
    self->reload.verdict_fd = -1;
    apr_pool_create(&self->conf_pool, pool);
    return self;
}

apr_status_t fpd_master_set_up(fpd_master *self)
{
    apr_status_t status;

    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* workers of a pool process that died come to us */
    fpd_title_set("php-fpm: master process (%s)", self->conf->file);
    if ((status = fpd_loop_create(&self->loop, self->pool)) != APR_SUCCESS ||
        (status = watch_signals(self)) != APR_SUCCESS) {
        return status;
    }
    self->orphan_timer = fpd_loop_timer_create(self->loop, check_end, self);
    self->reload_timer = fpd_loop_timer_create(self->loop, fpd_master_give_up_reload, self);
    self->pools = fpd_pools_create(self->loop, fpd_hosts_directories(self->pool),
                                   fpd_master_take_change, fpd_master_take_crash, self, self->pool);
    fpd_pools_set_process_max(self->pools, self->conf->global.process_max);
    self->emergency = fpd_emergency_create(self->pool);
    fpd_emergency_set(self->emergency, self->conf->global.emergency_restart_threshold,
                      self->conf->global.emergency_restart_interval);
    self->start_timer = fpd_loop_timer_create(self->loop, stop_waiting, self);
    fpd_loop_timer_set(self->start_timer, fpd_monotonic_now() + START_PATIENCE);
    fpd_commands_init(&self->commands, self->pools, self->conf->file, fpd_master_begin_reload,
                      self);
    self->commands.patience = self->conf->global.process_control_timeout;
    return APR_SUCCESS;
}

static apr_status_t begin(fpd_master *self, const apr_array_header_t *messages)
{
    const fpd_conf_global *global = &self->conf->global;
    apr_status_t status;

    self->is_background = global->daemonize;
    fpd_activation_read(&self->activation); /* its LISTEN_PID is of the process before detaching */
    status = fpd_logs_open(&self->logs, global, !self->is_background, self->arguments->force_stderr,
                           self->pool);
    if (status != APR_SUCCESS) {
        fpd_log(FPD_LOG_ERROR, "failed to post process the configuration");
        return status;
    }
    fpd_systemd_init(&self->systemd, global);
    fpd_logs_say(messages);
    status = fpd_daemon_apply_limits(global, self->arguments->options.is_root);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (self->is_background && (status = fpd_daemon_detach(&self->verdict_fd)) != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "cannot go into the background");
        return status;
    }
    if ((status = fpd_master_set_up(self)) != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "cannot make the event loop");
        return status;
    }
    fpd_pools_take_inherited(self->pools, &self->activation);
    status = start_pools(self);
    fpd_pools_close_unclaimed(self->pools);
    if (status == APR_SUCCESS) {
        status = fpd_master_change_pid_file(self, global->pid);
    }
    if (status == APR_SUCCESS) {
        fpd_master_change_control(self, global->control_socket);
    }
    return status;
}

/* Everything that was started ends, whatever state the start was in. */
static void end(fpd_master *self)
{
    fpd_control_close(self->control);
    fpd_pools_unlink_all(self->pools);
    while (fpd_daemon_kill_orphans() > 0) {
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
        }
    }
    fpd_daemon_remove_pid(self->pid_file); /* another daemon's is not ours */
}

int fpd_master_serve(fpd_master *self)
{
    if (fpd_loop_run(self->loop) != APR_SUCCESS) {
        fpd_log(FPD_LOG_ALERT, "the event loop broke");
        self->exit_code = FPD_EXIT_SOFTWARE;
    }
    end(self);
    fpd_log(FPD_LOG_NOTICE, "exiting, bye-bye!");
    return self->exit_code;
}

int fpd_master_run(const fpd_argv *arguments, fpd_conf *conf, const apr_array_header_t *messages,
                   apr_pool_t *conf_pool, apr_pool_t *pool)
{
    fpd_master *self = fpd_master_create(arguments, pool);

    apr_pool_destroy(self->conf_pool);
    self->conf_pool = conf_pool;
    self->conf = conf;
    if (begin(self, messages) != APR_SUCCESS) {
        int is_detached = self->verdict_fd >= 0;
        fpd_log(FPD_LOG_ERROR, "FPM initialization failed");
        if (self->pools != NULL) {
            fpd_pools_finish(self->pools, 0, 0);
            end(self);
        }
        fpd_daemon_report(&self->verdict_fd, 0);
        return is_detached ? FPD_EXIT_SOFTWARE : FPD_EXIT_CONFIG;
    }
    fpd_logs_settle(&self->logs);
    fpd_log(FPD_LOG_NOTICE, "fpm is running, pid %ld", (long)getpid());
    if (fpd_daemon_close_standard(self->logs.error_log != NULL) != APR_SUCCESS) {
        fpd_log(FPD_LOG_WARNING, "cannot open /dev/null for the standard descriptors");
    }
    if (fpd_pools_count(self->pools).serving > 0) { /* else check_start() says that none can */
        fpd_daemon_report(&self->verdict_fd, 1);
    }
    self->has_begun = 1;
    fpd_master_take_change(self);
    return fpd_master_serve(self);
}
