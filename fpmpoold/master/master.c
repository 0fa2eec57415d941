/* master.c - the daemon's states: starting, normal, reloading, finishing, terminating.
 *
 * The master process. It links no libphp and never reads a byte that a client sent. Signals come as
 * calls from the loop, so nothing here runs in a signal handler.
 */
#include "master/master.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/shortage.h"
#include "base/title.h"
#include "master/daemon.h"
#include "master/hosts.h"
#include "master/logs.h"
#include "master/plan.h"
#include "master/pools.h"
#include "master/reload.h"

typedef enum master_state { STARTING, NORMAL, FINISHING, TERMINATING } master_state;

typedef struct master {
    apr_pool_t *pool;
    apr_pool_t *conf_pool; /* of conf; replaced by a reload */
    const fpd_argv *arguments;
    fpd_conf *conf;
    fpd_loop *loop;
    fpd_pools *pools;
    fpd_logs logs;
    fpd_reload reload;
    int replace_all;  /* the reload in progress is for every pool */
    int reload_again; /* another signal came meanwhile */
    master_state state;
    int verdict_fd;
    int exit_code;
    int has_begun; /* every pool was started once */
    int has_pid_file;
    int64_t orphans_until; /* FINISHING: workers whose pool process was killed may end until then */
    fpd_loop_timer *orphan_timer;
} master;

static const char *state_name(master_state state)
{
    static const char *const names[] = {"starting", "normal", "finishing", "terminating"};

    return names[state];
}

/* ---- reload ------------------------------------------------------------------------------- */

static void begin_reload(master *self)
{
    apr_status_t status;

    if (self->reload.pid != 0) {
        self->reload_again = 1;
        return;
    }
    fpd_log(FPD_LOG_NOTICE, "Reloading in progress ...");
    status = fpd_reload_begin(&self->reload, &self->arguments->options);
    if (status != APR_SUCCESS) {
        char reason[FPD_SHORTAGE_MAX];
        fpd_log(FPD_LOG_ERROR, "reload: cannot test the configuration, the old one serves on: %s",
                fpd_shortage_describe(reason, status));
    }
}

static void apply_action(master *self, const fpd_plan_action *action)
{
    switch (action->kind) {
    case FPD_PLAN_STOP:
        fpd_log(FPD_LOG_NOTICE, "reload: pool '%s' is gone from the configuration", action->name);
        fpd_pools_stop(self->pools, action->name);
        break;
    case FPD_PLAN_START:
        fpd_log(FPD_LOG_NOTICE, "reload: pool '%s' is new", action->name);
        (void)fpd_pools_start(self->pools, action->plan);
        break;
    case FPD_PLAN_REPLACE:
        fpd_pools_replace(self->pools, action->plan, action->has_new_listener);
        break;
    case FPD_PLAN_KEEP:
        fpd_pools_keep(self->pools, action->plan);
        break;
    }
}

/* Addresses may change hands: all that are given up are free before the first is taken. */
static void release_listeners(master *self, const apr_array_header_t *actions)
{
    for (int i = 0; i < actions->nelts; i++) {
        const fpd_plan_action *action = &APR_ARRAY_IDX(actions, i, fpd_plan_action);
        if (action->kind == FPD_PLAN_REPLACE && action->has_new_listener) {
            fpd_pools_release(self->pools, action->name);
        }
    }
}

static void set_master_pid(const fpd_conf *conf)
{
    for (int i = 0; i < conf->pools->nelts; i++) {
        APR_ARRAY_IDX(conf->pools, i, fpd_plan_pool *)->master_pid = (int32_t)getpid();
    }
}

/* error_log, pid and daemonize of a running daemon stay as they are until a restart. */
static void apply_conf(master *self, fpd_conf *conf, apr_pool_t *conf_pool)
{
    apr_pool_t *scratch;
    apr_array_header_t *actions;

    if (apr_pool_create(&scratch, self->pool) != APR_SUCCESS) {
        return;
    }
    conf->file = self->conf->file;
    set_master_pid(conf);
    fpd_log_set_level((fpd_log_level)fpd_conf_log_level(&conf->global));
    actions = fpd_plan_compare(fpd_pools_list(self->pools, scratch), conf->pools, self->replace_all,
                               scratch);
    release_listeners(self, actions);
    for (int i = 0; i < actions->nelts; i++) {
        apply_action(self, &APR_ARRAY_IDX(actions, i, fpd_plan_action));
    }
    fpd_pools_close_spares(self->pools);
    apr_pool_destroy(scratch);
    conf->global.pid =
        self->conf->global.pid != NULL ? apr_pstrdup(conf_pool, self->conf->global.pid) : NULL;
    apr_pool_destroy(self->conf_pool);
    self->conf_pool = conf_pool;
    self->conf = conf;
}

static void end_reload(master *self, int wait_status)
{
    apr_array_header_t *messages;
    fpd_conf *conf = NULL;
    apr_pool_t *conf_pool;
    apr_status_t status;

    if (apr_pool_create(&conf_pool, self->pool) != APR_SUCCESS) {
        return;
    }
    status = fpd_reload_end(&self->reload, &conf, &messages, conf_pool);
    fpd_logs_say(messages);
    if (self->state > NORMAL) {
        apr_pool_destroy(conf_pool);
        return;
    }
    if (status != APR_SUCCESS || !WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0) {
        fpd_log(FPD_LOG_ERROR,
                "reload: the new configuration has errors, the old one serves on (test it with "
                "fpmpoold -t)");
        apr_pool_destroy(conf_pool);
    } else {
        apply_conf(self, conf, conf_pool);
    }
    if (self->reload_again) {
        self->reload_again = 0;
        begin_reload(self);
    }
}

/* ---- signals ------------------------------------------------------------------------------ */

/* Stops the loop when nobody is left who is waited for. */
static void check_end(void *context)
{
    master *self = context;

    if (self->state < FINISHING || fpd_pools_count(self->pools).children > 0) {
        return;
    }
    if (self->state == FINISHING && fpd_monotonic_now() < self->orphans_until &&
        fpd_daemon_has_children()) {
        fpd_loop_timer_set(self->orphan_timer, self->orphans_until);
        return;
    }
    fpd_loop_stop(self->loop);
}

static void end_daemon(master *self, master_state state)
{
    if (self->state >= state) {
        fpd_log(FPD_LOG_DEBUG, "not switching to '%s' state, because already in '%s' state",
                state_name(state), state_name(self->state));
        return;
    }
    self->state = state;
    fpd_log(FPD_LOG_NOTICE, state == TERMINATING ? "Terminating ..." : "Finishing ...");
    self->orphans_until =
        fpd_monotonic_now() + (int64_t)self->conf->global.process_control_timeout * 1000000;
    fpd_pools_finish(self->pools, state == FINISHING, self->conf->global.process_control_timeout);
    check_end(self);
}

static void reopen_logs(master *self)
{
    int has_failed;

    if (fpd_logs_reopen(&self->logs) == APR_SUCCESS) {
        fpd_log(FPD_LOG_NOTICE, "error log file re-opened");
    }
    if (fpd_pools_reopen_logs(self->pools, &has_failed) && !has_failed) {
        fpd_log(FPD_LOG_NOTICE, "access log file re-opened");
    }
}

static void reap(master *self)
{
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (pid == self->reload.pid) {
            end_reload(self, wait_status);
        } else if (!fpd_pools_reap(self->pools, pid, wait_status)) {
            fpd_log(FPD_LOG_DEBUG, "orphan %d of an earlier pool process ended", (int)pid);
        }
    }
    check_end(self);
}

static void take_signal(void *context, int number)
{
    master *self = context;

    fpd_log(FPD_LOG_DEBUG, "received SIG%s", sigabbrev_np(number));
    switch (number) {
    case SIGCHLD:
        reap(self);
        break;
    case SIGTERM:
    case SIGINT:
        end_daemon(self, TERMINATING);
        break;
    case SIGQUIT:
        end_daemon(self, FINISHING);
        break;
    case SIGUSR1:
        reopen_logs(self);
        break;
    default: /* SIGHUP, SIGUSR2 */
        if (self->state <= NORMAL) {
            self->replace_all = 1;
            begin_reload(self);
        }
    }
}

static apr_status_t watch_signals(master *self)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaddset(&set, numbers[i]);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return fpd_loop_watch_signals(self->loop, &set, take_signal, self);
}

/* ---- start -------------------------------------------------------------------------------- */

/* A pool became ready or failed: is the start over? */
static void check_start(void *context)
{
    master *self = context;

    if (!self->has_begun || self->state != STARTING || fpd_pools_count(self->pools).starting > 0) {
        return;
    }
    if (fpd_pools_count(self->pools).serving == 0) {
        fpd_log(FPD_LOG_ALERT, "no pool can serve: see the errors above");
        self->exit_code = FPD_EXIT_CONFIG;
        self->state = TERMINATING;
        fpd_daemon_report(&self->verdict_fd, 0);
        fpd_pools_finish(self->pools, 0, 0);
        check_end(self);
        return;
    }
    self->state = NORMAL;
    fpd_log(FPD_LOG_NOTICE, "ready to handle connections");
}

static apr_status_t start_pools(master *self)
{
    const apr_array_header_t *plans = self->conf->pools;
    int bound = 0;

    set_master_pid(self->conf);
    for (int i = 0; i < plans->nelts; i++) {
        bound += fpd_pools_start(self->pools, APR_ARRAY_IDX(plans, i, fpd_plan_pool *));
    }
    return bound > 0 ? APR_SUCCESS : APR_EGENERAL;
}

static apr_status_t begin(master *self)
{
    const fpd_conf_global *global = &self->conf->global;
    int is_foreground = !global->daemonize;
    apr_status_t status =
        fpd_logs_open(&self->logs, global, is_foreground, self->arguments->force_stderr, 1);

    if (status != APR_SUCCESS || (status = fpd_daemon_apply_limits(
                                      global, self->arguments->options.is_root)) != APR_SUCCESS) {
        return status;
    }
    if (!is_foreground && (status = fpd_daemon_detach(&self->verdict_fd)) != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "cannot go into the background");
        return status;
    }
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* workers of a pool process that died come to us */
    fpd_title_set("php-fpm: master process (%s)", self->conf->file);
    if ((status = fpd_loop_create(&self->loop, self->pool)) != APR_SUCCESS ||
        (status = watch_signals(self)) != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "cannot make the event loop");
        return status;
    }
    self->orphan_timer = fpd_loop_timer_create(self->loop, check_end, self);
    self->pools = fpd_pools_create(self->loop, fpd_hosts_directories(self->pool), check_start, self,
                                   self->pool);
    status = start_pools(self);
    if (status == APR_SUCCESS) {
        status = fpd_daemon_write_pid(global->pid);
        self->has_pid_file = status == APR_SUCCESS;
    }
    return status;
}

/* Everything that was started ends, whatever state the start was in. */
static void end(master *self)
{
    fpd_pools_unlink_all(self->pools);
    while (fpd_daemon_kill_orphans() > 0) {
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
        }
    }
    if (self->has_pid_file) { /* else it may be another daemon's */
        fpd_daemon_remove_pid(self->conf->global.pid);
    }
}

int fpd_master_run(const fpd_argv *arguments, fpd_conf *conf, apr_pool_t *conf_pool,
                   apr_pool_t *pool)
{
    master *self = apr_pcalloc(pool, sizeof(*self));

    self->pool = pool;
    self->conf_pool = conf_pool;
    self->conf = conf;
    self->arguments = arguments;
    self->verdict_fd = -1;
    self->reload.fd = -1;
    if (begin(self) != APR_SUCCESS) {
        fpd_log(FPD_LOG_ERROR, "FPM initialization failed");
        if (self->pools != NULL) {
            fpd_pools_finish(self->pools, 0, 0);
            end(self);
        }
        fpd_daemon_report(&self->verdict_fd, 0);
        return conf->global.daemonize ? FPD_EXIT_SOFTWARE : FPD_EXIT_CONFIG;
    }
    fpd_log(FPD_LOG_NOTICE, "fpm is running, pid %ld", (long)getpid());
    fpd_logs_settle(&self->logs);
    if (fpd_daemon_close_standard(self->logs.error_log != NULL) != APR_SUCCESS) {
        fpd_log(FPD_LOG_WARNING, "cannot open /dev/null for the standard descriptors");
    }
    fpd_daemon_report(&self->verdict_fd, 1);
    self->has_begun = 1;
    check_start(self);
    if (fpd_loop_run(self->loop) != APR_SUCCESS) {
        fpd_log(FPD_LOG_ALERT, "the event loop broke");
        self->exit_code = FPD_EXIT_SOFTWARE;
    }
    end(self);
    fpd_log(FPD_LOG_NOTICE, "exiting, bye-bye!");
    return self->exit_code;
}
