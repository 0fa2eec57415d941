/* master_private.h - what the parts of master.h share: the daemon itself.
 *
 * Private to master.c (start, signals, end), master_reload.c (reload) and resume.c (over an exec).
 */
#ifndef FPD_MASTER_PRIVATE_H
#define FPD_MASTER_PRIVATE_H

#include "base/loop.h"
#include "master/activation.h"
#include "master/commands.h"
#include "master/control.h"
#include "master/emergency.h"
#include "master/logs.h"
#include "master/master.h"
#include "master/pools.h"
#include "master/reload.h"
#include "master/systemd.h"

typedef enum fpd_master_state {
    FPD_MASTER_STARTING,
    FPD_MASTER_NORMAL,
    FPD_MASTER_FINISHING,
    FPD_MASTER_TERMINATING
} fpd_master_state;

typedef struct fpd_master {
    apr_pool_t *pool;
    apr_pool_t *conf_pool; /* of conf; replaced by a reload */
    const fpd_argv *arguments;
    fpd_reexec self;
    fpd_conf *conf;
    fpd_loop *loop;
    fpd_pools *pools;
    fpd_logs logs;
    fpd_reload reload;
    fpd_loop_timer *reload_timer; /* a test that takes too long */
    fpd_emergency *emergency;
    int wants_reload;    /* a signal asks for a reload of every pool */
    int wants_emergency; /* one is due for pools whose workers crash */
    int replace_all; /* the reload in progress is for every pool; else for changed and crashed */
    int is_applying; /* a new configuration, pool by pool */
    fpd_commands commands;
    fpd_control *control; /* NULL: there is no control socket */
    fpd_systemd systemd;
    fpd_activation activation;
    fpd_loop_timer *start_timer;
    fpd_master_state state;
    int is_background;
    int is_resumed; /* executed by a reload: it never exits for want of a pool */
    int verdict_fd; /* of fpd_daemon_detach */
    int exit_code;
    int has_begun;         /* every pool was started once */
    char *pid_file;        /* written by us; NULL: none. malloc */
    int64_t orphans_until; /* FINISHING: workers whose pool process was killed may end until then */
    fpd_loop_timer *orphan_timer;
} fpd_master;

/* An empty daemon, in pool. */
fpd_master *fpd_master_create(const fpd_argv *arguments, apr_pool_t *pool);
/* Title, loop, signals (blocked from now on, for the loop), timers, pools without a pool in them.
 */
apr_status_t fpd_master_set_up(fpd_master *self);
/* The signals that come through the loop. */
void fpd_master_watched_signals(sigset_t *set);
/* Takes the ends of all children that have ended. */
void fpd_master_reap(fpd_master *self);
/* Is the start, or the one after a reload, over? Clients and systemd hear what has come about.
 * fpd_pools_change_fn. */
void fpd_master_take_change(void *context);
/* The socket of a configuration; NULL: none. Nothing changes when it is there already. */
void fpd_master_change_control(fpd_master *self, const char *path);
/* The loop, and what comes after it; the exit code. */
int fpd_master_serve(fpd_master *self);

/* The daemon's process id in all plans. */
void fpd_master_set_pid(const fpd_conf *conf);
/* Writes the pid file of a configuration, and removes the one before it if that is another file. */
apr_status_t fpd_master_change_pid_file(fpd_master *self, const char *path);

/* Begins the next reload that a signal or a command wants, if none is in progress.
 * fpd_commands_reload_fn. */
void fpd_master_begin_reload(void *context);
/* fpd_pools_crash_fn: a worker of some pool has crashed. */
void fpd_master_take_crash(void *context);
/* The tester has ended. Does not return when the program was executed anew. */
void fpd_master_end_reload(fpd_master *self, int wait_status);
/* fpd_loop_timer_fn: the tester's time is over. */
void fpd_master_give_up_reload(void *context);
/* What the global section asks: log, level, limits, pid file. */
void fpd_master_apply_global(fpd_master *self, const fpd_conf *conf);
/* Pools that go, come, change; the commands that asked for it are told. Takes conf over. */
void fpd_master_apply_pools(fpd_master *self, fpd_conf *conf, apr_pool_t *conf_pool);

#endif
