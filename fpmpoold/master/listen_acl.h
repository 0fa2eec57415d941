/* listen_acl.h - listen.acl_users and listen.acl_groups: who else may use a unix socket
 * (spec/php-fpm.md 1.6). */
#ifndef FPD_LISTEN_ACL_H
#define FPD_LISTEN_ACL_H

#include <sys/types.h>

#include "apr_errno.h"
#include "base/plan_format.h"

/* Does the plan name anybody? Then listen.owner and listen.group do not count. */
int fpd_listen_acl_is_wanted(const fpd_plan_pool *plan);

/* Gives the socket behind `path` the list of the plan: what `mode` allows, what the default list
 * of its folder gives to others, and reading and writing for each user and group named. A list of
 * an earlier configuration goes; when the plan names nobody that is all, and chmod is to follow.
 * `path` is what the kernel follows to the socket itself
 * (/proc/self/fd/N); messages name plan->listen. Logs what is wrong, in php-fpm's words. */
apr_status_t fpd_listen_acl_apply(const char *path, const fpd_plan_pool *plan, mode_t mode);

#endif
