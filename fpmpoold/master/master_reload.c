/* master_reload.c - a reload: tested by a child, then applied by this program executed anew.
 *
 * Runs in the master. Whatever is wrong with the new configuration or the new program, this process
 * serves on: with the new configuration if it is good, else with the old one.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/shortage.h"
#include "master/daemon.h"
#include "master/master_private.h"
#include "master/plan.h"

/* ---- apply -------------------------------------------------------------------------------- */

static void apply_action(fpd_master *self, const fpd_plan_action *action)
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
static void release_listeners(fpd_master *self, const apr_array_header_t *actions)
{
    for (int i = 0; i < actions->nelts; i++) {
        const fpd_plan_action *action = &APR_ARRAY_IDX(actions, i, fpd_plan_action);
        if (action->kind == FPD_PLAN_REPLACE) {
            fpd_pools_release(self->pools, action->plan);
        }
    }
}

/* Each pool has an OPcache of its own, so those whose workers crash begin anew, and only those. */
static void replace_crashed(fpd_master *self, apr_array_header_t *actions)
{
    for (int i = 0; i < actions->nelts; i++) {
        fpd_plan_action *action = &APR_ARRAY_IDX(actions, i, fpd_plan_action);
        if (action->kind == FPD_PLAN_KEEP && fpd_pools_has_crashed(self->pools, action->name)) {
            action->kind = FPD_PLAN_REPLACE;
        }
    }
}

void fpd_master_apply_global(fpd_master *self, const fpd_conf *conf)
{
    fpd_emergency_set(self->emergency, conf->global.emergency_restart_threshold,
                      conf->global.emergency_restart_interval);
    fpd_log_set_level((fpd_log_level)fpd_conf_log_level(&conf->global));
    fpd_logs_change(&self->logs, &conf->global, self->pool);
    (void)fpd_daemon_apply_limits(&conf->global, self->arguments->options.is_root); /* logs */
    (void)fpd_master_change_pid_file(self, conf->global.pid);                       /* logs */
}

void fpd_master_apply_pools(fpd_master *self, fpd_conf *conf, apr_pool_t *conf_pool)
{
    apr_pool_t *scratch;
    apr_array_header_t *actions;

    if (apr_pool_create(&scratch, self->pool) != APR_SUCCESS) {
        return;
    }
    fpd_master_set_pid(conf);
    actions = fpd_plan_compare(fpd_pools_list(self->pools, scratch), conf->pools, self->replace_all,
                               scratch);
    if (self->is_emergency) {
        replace_crashed(self, actions);
        self->is_emergency = 0;
    }
    release_listeners(self, actions);
    for (int i = 0; i < actions->nelts; i++) {
        apply_action(self, &APR_ARRAY_IDX(actions, i, fpd_plan_action));
    }
    fpd_pools_close_spares(self->pools);
    fpd_pools_set_process_max(self->pools, conf->global.process_max);
    apr_pool_destroy(scratch);
    apr_pool_destroy(self->conf_pool);
    self->conf_pool = conf_pool;
    self->conf = conf;
    self->replace_all = 0;
}

/* ---- test --------------------------------------------------------------------------------- */

/* Everything that the program must know to be this daemon; nothing in it is a copy. */
static fpd_state *save_state(fpd_master *self, apr_pool_t *scratch)
{
    fpd_state *state = fpd_state_create(scratch);

    state->version = FPD_VERSION;
    state->pid = (int32_t)getpid();
    state->program = self->self.program;
    state->file = self->conf->file;
    state->global = self->conf->global;
    state->is_background = self->is_background;
    state->replace_all = self->replace_all;
    state->reload_again = self->reload_again;
    state->is_emergency = self->is_emergency;
    state->no_emergency_before = fpd_emergency_pause(self->emergency);
    state->pid_file = self->pid_file;
    state->error_log = self->logs.error_log;
    state->error_fd = self->logs.error_fd;
    state->losses = fpd_log_get_losses();
    state->verdict_fd = self->reload.verdict_fd;
    fpd_pools_save(self->pools, self->conf->pools, state, scratch);
    return state;
}

static apr_status_t start_test(fpd_master *self)
{
    apr_pool_t *scratch;
    int state_fd;
    apr_status_t status = apr_pool_create(&scratch, self->pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    status = fpd_state_write(save_state(self, scratch), &state_fd, scratch);
    if (status == APR_SUCCESS) {
        status = fpd_reload_begin(&self->reload, &self->self, state_fd);
        close(state_fd);
    }
    apr_pool_destroy(scratch);
    return status;
}

void fpd_master_begin_reload(fpd_master *self)
{
    apr_status_t status;

    if (self->reload.pid != 0) {
        self->reload_again = 1;
        return;
    }
    fpd_log(FPD_LOG_NOTICE, "Reloading in progress ...");
    status = start_test(self);
    if (status != APR_SUCCESS) {
        char reason[FPD_SHORTAGE_MAX];
        fpd_log(FPD_LOG_ERROR, "reload: cannot test the configuration, the old one serves on: %s",
                fpd_shortage_describe(reason, status));
        return;
    }
    fpd_loop_timer_set(self->reload_timer,
                       fpd_monotonic_now() + (int64_t)FPD_RELOAD_PATIENCE * 1000000);
}

void fpd_master_take_crash(void *context)
{
    fpd_master *self = context;
    const fpd_conf_global *global = &self->conf->global;

    if (self->state != FPD_MASTER_NORMAL ||
        !fpd_emergency_note(self->emergency, fpd_monotonic_now())) {
        return;
    }
    fpd_log(FPD_LOG_WARNING,
            "failed processes threshold (%d in %d sec) is reached, initiating reload",
            global->emergency_restart_threshold, global->emergency_restart_interval);
    self->is_emergency = 1;
    fpd_master_begin_reload(self);
}

void fpd_master_give_up_reload(void *context)
{
    fpd_master *self = context;

    fpd_reload_give_up(&self->reload);
}

/* ---- execute ------------------------------------------------------------------------------ */

/* Returns when this process has to apply the configuration itself. */
static void execute(fpd_master *self, const fpd_verdict *verdict)
{
    apr_pool_t *scratch;
    fpd_state *state;
    int state_fd;
    apr_status_t status;

    if (verdict->refusal != NULL) {
        fpd_log(FPD_LOG_WARNING,
                "reload: %s (version %s) cannot take over the running pools: %s; this process goes "
                "on and applies the new configuration itself (restart fpmpoold to change the "
                "version)",
                self->self.program, verdict->version != NULL ? verdict->version : "unknown",
                verdict->refusal);
        return;
    }
    if (apr_pool_create(&scratch, self->pool) != APR_SUCCESS) {
        return;
    }
    state = save_state(self, scratch);
    status = fpd_state_write(state, &state_fd, scratch);
    if (status == APR_SUCCESS) {
        (void)fpd_reexec_resume(&self->self, state_fd, fpd_state_descriptors(state, scratch));
        close(state_fd);
    } else {
        char reason[FPD_SHORTAGE_MAX];
        fpd_log(FPD_LOG_ERROR,
                "reload: cannot keep the state for the new program: %s; this process goes on and "
                "applies the new configuration itself",
                fpd_shortage_describe(reason, status));
    }
    apr_pool_destroy(scratch);
}

/* 1: there is another program than the one that was asked. */
static int has_new_program(const fpd_master *self)
{
    fpd_reexec_stamp now;

    return fpd_reexec_look(&self->self, &now) && !fpd_reexec_is_same(&now, &self->reload.stamp);
}

void fpd_master_end_reload(fpd_master *self, int wait_status)
{
    fpd_verdict verdict;
    apr_pool_t *conf_pool;

    fpd_loop_timer_cancel(self->reload_timer);
    if (apr_pool_create(&conf_pool, self->pool) != APR_SUCCESS) {
        return;
    }
    fpd_reload_end(&self->reload, &self->self, wait_status, &verdict, conf_pool);
    if (self->state > FPD_MASTER_NORMAL || verdict.conf == NULL) {
        apr_pool_destroy(conf_pool);
    } else if (has_new_program(self)) {
        fpd_log(FPD_LOG_NOTICE, "reload: %s was replaced meanwhile, it is asked again",
                self->self.program);
        apr_pool_destroy(conf_pool);
        self->reload_again = 1;
    } else {
        execute(self, &verdict);
        fpd_master_apply_global(self, verdict.conf);
        fpd_master_apply_pools(self, verdict.conf, conf_pool);
    }
    fpd_reload_close(&self->reload);
    if (self->reload_again && self->state <= FPD_MASTER_NORMAL) {
        self->reload_again = 0;
        self->replace_all = 1;
        fpd_master_begin_reload(self);
    }
}
