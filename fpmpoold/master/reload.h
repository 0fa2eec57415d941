/* reload.h - tests a new configuration in a child and brings its result back (lifecycle.md 4.1).
 *
 * The child is the program as it is on disk now. It reads the configuration as a start would, and
 * tries to read the state of the running master, so that neither a mistake in a file nor a program
 * that cannot take over costs more than a child.
 */
#ifndef FPD_RELOAD_H
#define FPD_RELOAD_H

#include <sys/types.h>

#include "apr_pools.h"
#include "master/argv.h"
#include "master/reexec.h"
#include "master/verdict.h"

/* A test in progress. */
typedef struct fpd_reload {
    pid_t pid;              /* 0: none in progress */
    int verdict_fd;         /* the child writes its verdict here; -1: none */
    int words_fd;           /* its stdout and stderr */
    int is_late;            /* it was killed */
    fpd_reexec_stamp stamp; /* of the program that tests */
} fpd_reload;

#ifndef FPD_RELOAD_PATIENCE
#define FPD_RELOAD_PATIENCE 60 /* seconds until a test is given up */
#endif

/* Forks the tester, who gets state_fd to read; it stays the caller's. */
apr_status_t fpd_reload_begin(fpd_reload *reload, const fpd_reexec *self, int state_fd);

/* Its time is over: kills it. fpd_reload_end says so. */
void fpd_reload_give_up(fpd_reload *reload);

/* After waitpid of reload->pid: reads the verdict, from pool, and logs what was found; why the old
 * configuration serves on, too, if verdict->conf is NULL. reload->verdict_fd stays open until
 * fpd_reload_close. */
void fpd_reload_end(fpd_reload *reload, const fpd_reexec *self, int wait_status,
                    fpd_verdict *verdict, apr_pool_t *pool);
void fpd_reload_close(fpd_reload *reload);

/* The tester's whole life, in the program that was executed: the exit code. arguments->options.file
 * is set. */
int fpd_reload_test(const fpd_argv *arguments, apr_pool_t *pool);

#endif
