/* master.h - the running daemon: start, signals, reload, end (spec/php-fpm.md 2.3, 2.4). */
#ifndef FPD_MASTER_H
#define FPD_MASTER_H

#include "apr_pools.h"
#include "conf/conf.h"
#include "master/argv.h"

enum fpd_exit_code {
    FPD_EXIT_OK = 0,
    FPD_EXIT_FAILED = 1,     /* --ctl: refused, or it did not come about */
    FPD_EXIT_USAGE = 64,     /* EX_USAGE */
    FPD_EXIT_NO_DAEMON = 69, /* EX_UNAVAILABLE; --ctl */
    FPD_EXIT_SOFTWARE = 70,  /* EX_SOFTWARE */
    FPD_EXIT_CONFIG = 78     /* EX_CONFIG */
};

/* Runs the daemon with a loaded configuration until a signal ends it; returns the exit code.
 * messages: what loading it had to say; goes into error_log too. conf and messages are in
 * conf_pool, which the master destroys when a reload replaced it. */
int fpd_master_run(const fpd_argv *arguments, fpd_conf *conf, const apr_array_header_t *messages,
                   apr_pool_t *conf_pool, apr_pool_t *pool);

/* After a reload has executed this program (FPD_REEXEC_RESUME): goes on as the daemon that it was,
 * until a signal ends it; 1 and *exit_code. 0: its state cannot be read, which should never be;
 * every descriptor and signal is free again, and all that is left is to start. */
int fpd_master_resume(const fpd_argv *arguments, int *exit_code, apr_pool_t *pool);

#endif
