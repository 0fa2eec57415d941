/* master_reload.c - a reload: tested by a child, then applied by this program executed anew.
 *
 * Runs in the master. Whatever is wrong with the new configuration or the new program, this process
 * serves on: with the new configuration if it is good, else with the old one.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"
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
    fpd_master_change_control(self, conf->global.control_socket);                   /* logs */
}

static void apply_actions(fpd_master *self, const apr_array_header_t *actions)
{
    self->is_applying = 1;
    release_listeners(self, actions);
    for (int i = 0; i < actions->nelts; i++) {
        apply_action(self, &APR_ARRAY_IDX(actions, i, fpd_plan_action));
    }
    fpd_pools_close_spares(self->pools);
    self->is_applying = 0;
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
    if (!self->replace_all) {
        replace_crashed(self, actions);
    }
    apply_actions(self, actions);
    fpd_pools_set_process_max(self->pools, conf->global.process_max);
    apr_pool_destroy(scratch);
    apr_pool_destroy(self->conf_pool);
    self->conf_pool = conf_pool;
    self->conf = conf;
    self->commands.config_file = conf->file;
    self->commands.patience = conf->global.process_control_timeout;
    fpd_commands_end_test(&self->commands, NULL);
}

/* The new plan of one pool alone, by this process; what changed beside it is said, and left. */
static void apply_to_one(fpd_master *self, const fpd_conf *conf, apr_pool_t *scratch)
{
    const char *name = self->commands.test_pool;
    apr_array_header_t *chosen = apr_array_make(scratch, 1, sizeof(fpd_plan_action));
    apr_array_header_t *actions =
        fpd_plan_compare(fpd_pools_list(self->pools, scratch), conf->pools, 0, scratch);

    fpd_master_set_pid(conf);
    for (int i = 0; i < actions->nelts; i++) {
        fpd_plan_action *action = &APR_ARRAY_IDX(actions, i, fpd_plan_action);
        if (strcmp(action->name, name) != 0) {
            if (action->kind != FPD_PLAN_KEEP) {
                fpd_commands_note(&self->commands,
                                  "pool '%s' changed in the files too, and was left as it is",
                                  action->name);
            }
            continue;
        }
        if (action->kind == FPD_PLAN_KEEP) {
            action->kind = FPD_PLAN_REPLACE;
        }
        APR_ARRAY_PUSH(chosen, fpd_plan_action) = *action;
    }
    apply_actions(self, chosen);
    fpd_commands_end_test(&self->commands,
                          chosen->nelts > 0
                              ? NULL
                              : apr_psprintf(scratch,
                                             "no pool '%s', neither running nor in the "
                                             "configuration",
                                             name));
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
    state->reload_again = self->wants_reload;
    state->wants_emergency = self->wants_emergency;
    state->no_emergency_before = fpd_emergency_pause(self->emergency);
    state->pid_file = self->pid_file;
    state->error_log = self->logs.error_log;
    state->error_fd = self->logs.error_fd;
    state->losses = fpd_log_get_losses();
    state->verdict_fd = self->reload.verdict_fd;
    state->control_fd = fpd_control_descriptor(self->control);
    state->control_path = fpd_control_path(self->control);
    fpd_commands_save(&self->commands, state);
    fpd_systemd_save(&self->systemd, state);
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

/* Whom the next test is for. 0: for nobody. */
static int choose_reload(fpd_master *self)
{
    self->replace_all = 1;
    if (!fpd_commands_begin_test(&self->commands, self->wants_reload)) {
        self->replace_all = 0;
        if (!self->wants_emergency || !fpd_commands_begin_test(&self->commands, 1)) {
            return 0;
        }
    }
    if (self->commands.test_pool[0] == '\0') { /* all pools, so also those that crash */
        self->wants_reload = 0;
        self->wants_emergency = 0;
    }
    return 1;
}

void fpd_master_begin_reload(void *context)
{
    fpd_master *self = context;
    const char *pool = self->commands.test_pool;
    apr_status_t status;

    if (self->reload.pid != 0 || self->state > FPD_MASTER_NORMAL || !choose_reload(self)) {
        return;
    }
    if (pool[0] != '\0') {
        fpd_log(FPD_LOG_NOTICE, "[pool %s] Reloading in progress ...", pool);
    } else {
        fpd_log(FPD_LOG_NOTICE, "Reloading in progress ...");
    }
    fpd_systemd_begin_reload(&self->systemd);
    status = start_test(self);
    if (status != APR_SUCCESS) {
        char reason[FPD_SHORTAGE_MAX];
        fpd_log(FPD_LOG_ERROR, "reload: cannot test the configuration, the old one serves on: %s",
                fpd_shortage_describe(reason, status));
        fpd_commands_end_test(&self->commands, reason);
        fpd_master_take_change(self);
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
    self->wants_emergency = 1;
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
        fpd_control_leave(self->control);
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

/* The first mistake, for who asked; all of them are in the log. */
static const char *first_mistake(const fpd_verdict *verdict)
{
    for (int i = 0; i < verdict->messages->nelts; i++) {
        const fpd_conf_message *message = &APR_ARRAY_IDX(verdict->messages, i, fpd_conf_message);
        if (message->severity >= FPD_CONF_ERROR) {
            return message->text;
        }
    }
    return "the test of it broke off, the log says why";
}

/* Takes conf_pool over. May not return. */
static void use_verdict(fpd_master *self, const fpd_verdict *verdict, apr_pool_t *conf_pool)
{
    if (verdict->conf == NULL) {
        fpd_commands_end_test(&self->commands,
                              apr_pstrcat(conf_pool,
                                          "the configuration has errors, the old one serves on: ",
                                          first_mistake(verdict), NULL));
    } else if (self->commands.test_pool[0] != '\0') {
        apply_to_one(self, verdict->conf, conf_pool);
    } else if (has_new_program(self)) {
        fpd_log(FPD_LOG_NOTICE, "reload: %s was replaced meanwhile, it is asked again",
                self->self.program);
        fpd_jobs_test_again(&self->commands.jobs);
        self->wants_reload = self->replace_all;
        self->wants_emergency = 1; /* in case it was for those that crash alone */
    } else {
        execute(self, verdict);
        fpd_master_apply_global(self, verdict->conf);
        fpd_master_apply_pools(self, verdict->conf, conf_pool);
        return;
    }
    apr_pool_destroy(conf_pool);
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
    if (self->state > FPD_MASTER_NORMAL) {
        apr_pool_destroy(conf_pool);
    } else {
        use_verdict(self, &verdict, conf_pool);
    }
    fpd_reload_close(&self->reload);
    fpd_master_begin_reload(self);
    fpd_master_take_change(self);
}
