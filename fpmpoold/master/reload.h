/* reload.h - tests a new configuration in a child and brings its result back (lifecycle.md 4.1). */
#ifndef FPD_RELOAD_H
#define FPD_RELOAD_H

#include <sys/types.h>

#include "apr_pools.h"
#include "conf/conf.h"

/* A test in progress: the child writes its result into the memfd, its exit says that it is whole.
 */
typedef struct fpd_reload {
    pid_t pid; /* 0: none in progress */
    int fd;
} fpd_reload;

/* Forks the tester. */
apr_status_t fpd_reload_begin(fpd_reload *reload, const fpd_conf_options *options);

/* After waitpid of reload->pid: reads the result. APR_SUCCESS and *conf (its pools and global
 * section, from pool), or an error. *messages is set in both cases (it may be empty). */
apr_status_t fpd_reload_end(fpd_reload *reload, fpd_conf **conf, apr_array_header_t **messages,
                            apr_pool_t *pool);

#endif
