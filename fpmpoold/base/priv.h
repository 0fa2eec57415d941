/* priv.h - who a process is: users, groups, limits.
 *
 * prepare runs in the parent or before the drop, use in the process that changes. Every failure is
 * returned with the name of the step so that the log can say what to fix.
 */
#ifndef FPD_PRIV_H
#define FPD_PRIV_H

#include <sys/types.h>

#include "apr_pools.h"
#include "base/title.h"

typedef struct fpd_priv_failure {
    const char *step; /* "setgid", "initgroups", "setuid", ... */
    int error;        /* errno */
} fpd_priv_failure;

/* Drops from root to uid/gid with the groups of user_name (NULL: only gid). No-op when uid is -1.
 * Keeps no capability. Checks that there is no way back. */
apr_status_t fpd_priv_drop(uid_t uid, gid_t gid, const char *user_name, fpd_priv_failure *failure);

/* 0: leave. core -1: unlimited. Sets soft = hard. */
apr_status_t fpd_priv_limit_files(int files);
apr_status_t fpd_priv_limit_core(int core);
/* Raises the soft limit of descriptors to the hard one; returns the old soft limit, 0 on error. */
int fpd_priv_raise_files(void);

#endif
