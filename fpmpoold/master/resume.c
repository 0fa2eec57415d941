/* resume.c - the first moments of a master that a reload has executed (lifecycle.md 4.2).
 *
 * Every signal is blocked until everything stands. Pools are served by their own processes all the
 * while. It must not exit: what it cannot have it does without, or tries again.
 */
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "master/master_private.h"

#define PAUSE 1000 /* milliseconds until what failed is tried again */

/* The configuration that the pools follow until a new one is applied. */
static void take_old_conf(fpd_master *self, const fpd_state *state)
{
    fpd_conf *conf = apr_pcalloc(self->conf_pool, sizeof(*conf));

    conf->file = apr_pstrdup(self->conf_pool, state->file);
    conf->global = state->global;
    conf->global.pid = apr_pstrdup(self->conf_pool, state->global.pid);
    conf->global.error_log = apr_pstrdup(self->conf_pool, state->global.error_log);
    conf->global.syslog_ident = apr_pstrdup(self->conf_pool, state->global.syslog_ident);
    conf->global.control_socket = apr_pstrdup(self->conf_pool, state->global.control_socket);
    conf->global.events_mechanism = apr_pstrdup(self->conf_pool, state->global.events_mechanism);
    conf->pools = apr_array_make(self->conf_pool, state->pools->nelts, sizeof(fpd_plan_pool *));
    for (int i = 0; i < state->pools->nelts; i++) {
        const fpd_state_pool *saved = APR_ARRAY_IDX(state->pools, i, fpd_state_pool *);
        if (!saved->is_removed) {
            APR_ARRAY_PUSH(conf->pools, fpd_plan_pool *) =
                fpd_plan_pool_copy(saved->plan, self->conf_pool);
        }
    }
    self->conf = conf;
}

/* What was tested. NULL: it cannot be read, which is logged. */
static fpd_conf *read_new_conf(fpd_master *self, const fpd_state *state, apr_pool_t *conf_pool,
                               apr_pool_t *scratch)
{
    fpd_verdict verdict;
    apr_status_t status = fpd_verdict_read(&verdict, state->verdict_fd, conf_pool, scratch);

    if (status != APR_SUCCESS || verdict.conf == NULL) {
        fpd_log_errno(FPD_LOG_ERROR, status,
                      "reload: the new configuration got lost on the way, the old one serves on "
                      "(reload again)");
        return NULL;
    }
    if (state->version == NULL || strcmp(state->version, FPD_VERSION) != 0) {
        fpd_log(FPD_LOG_NOTICE, "reload: fpmpoold %s goes on for fpmpoold %s", FPD_VERSION,
                state->version != NULL ? state->version : "of an unknown version");
    }
    self->conf->file = apr_pstrdup(self->conf_pool, verdict.conf->file); /* of the title */
    return verdict.conf;
}

static void take_state(fpd_master *self, fpd_state *state, apr_pool_t *scratch)
{
    self->is_resumed = 1;
    self->is_background = state->is_background;
    self->replace_all = state->replace_all;
    self->wants_reload = state->reload_again;
    self->wants_emergency = state->wants_emergency;
    self->self.program = apr_pstrdup(self->pool, state->program);
    self->pid_file = state->pid_file != NULL ? strdup(state->pid_file) : NULL;
    fpd_state_claim(state, scratch);
    fpd_logs_inherit(&self->logs, state->error_log, state->error_fd, &state->global, self->pool);
    fpd_log_set_losses(state->losses);
    fpd_log_set_level((fpd_log_level)fpd_conf_log_level(&state->global));
    take_old_conf(self, state);
}

/* Signals that nobody watches have waited since before the exec. */
static void unblock_others(void)
{
    sigset_t watched;

    fpd_master_watched_signals(&watched);
    (void)sigprocmask(SIG_SETMASK, &watched, NULL);
}

/* What the daemon is for others than its pools: for operators and for systemd. */
static void resume_services(fpd_master *self, const fpd_state *state, const fpd_conf_global *global)
{
    self->is_applying = 1; /* the reload that executed us */
    fpd_commands_resume(&self->commands, state);
    if (state->control_fd >= 0 && state->control_path != NULL) {
        self->control = fpd_control_adopt(state->control_fd, state->control_path, &self->commands,
                                          self->loop, self->pool);
    }
    fpd_systemd_init(&self->systemd, global);
    fpd_systemd_resume(&self->systemd, state, self->loop, self->pools);
}

static void go_on(fpd_master *self, fpd_state *state, apr_pool_t *scratch)
{
    apr_pool_t *conf_pool;
    fpd_conf *conf;
    apr_status_t status;

    take_state(self, state, scratch);
    apr_pool_create(&conf_pool, self->pool);
    conf = read_new_conf(self, state, conf_pool, scratch);
    if (state->verdict_fd >= 0) {
        close(state->verdict_fd);
    }
    while ((status = fpd_master_set_up(self)) != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "reload: cannot make the event loop, trying again");
        (void)poll(NULL, 0, PAUSE);
    }
    fpd_emergency_resume(self->emergency, state->no_emergency_before);
    fpd_pools_resume(self->pools, state);
    resume_services(self, state, conf != NULL ? &conf->global : &self->conf->global);
    if (conf != NULL) {
        fpd_master_apply_global(self, conf);
    }
    fpd_pools_say_inherited(state, scratch);
    fpd_log(FPD_LOG_NOTICE, "fpm is running, pid %ld", (long)getpid());
    unblock_others();
    fpd_master_reap(self); /* who ended meanwhile */
    if (conf != NULL) {
        fpd_master_apply_pools(self, conf, conf_pool);
    } else {
        fpd_commands_end_test(&self->commands, "the new configuration got lost on the way, the old "
                                               "one serves on: reload again");
        apr_pool_destroy(conf_pool);
    }
    self->is_applying = 0;
}

int fpd_master_resume(const fpd_argv *arguments, int *exit_code, apr_pool_t *pool)
{
    fpd_master *self = fpd_master_create(arguments, pool);
    fpd_state *state;
    apr_pool_t *scratch;
    sigset_t none;
    apr_status_t status = apr_pool_create(&scratch, pool);

    if (status == APR_SUCCESS) {
        status = fpd_state_read(&state, arguments->self.state_fd, scratch);
    }
    if (status != APR_SUCCESS || state->pid != (int32_t)getpid()) {
        fpd_log_errno(FPD_LOG_ALERT, status,
                      "reload: the state of the daemon cannot be read: it starts anew, and the old "
                      "pool processes end when their requests have");
        /* they take the end of their channel for the end of the master */
        (void)close_range(STDERR_FILENO + 1, ~0u, 0);
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        return 0;
    }
    close(arguments->self.state_fd);
    go_on(self, state, scratch);
    apr_pool_destroy(scratch);
    self->has_begun = 1;
    fpd_master_take_change(self);
    fpd_master_begin_reload(self);
    *exit_code = fpd_master_serve(self);
    return 1;
}
