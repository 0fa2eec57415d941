/* priv.c - dropping root for good, and limits of resources.
 *
 * Runs in interpreter hosts (drop) and wherever limits are set. It must leave no way back to root
 * and says which step failed.
 */
#include "base/priv.h"

#include <errno.h>
#include <grp.h>
#include <sys/resource.h>
#include <unistd.h>

static apr_status_t fail(fpd_priv_failure *failure, const char *step, int error)
{
    failure->step = step;
    failure->error = error;
    return error;
}

apr_status_t fpd_priv_drop(uid_t uid, gid_t gid, const char *user_name, fpd_priv_failure *failure)
{
    if (uid == (uid_t)-1) {
        return APR_SUCCESS;
    }
    if (setgid(gid) != 0) {
        return fail(failure, "setgid", errno);
    }
    if (user_name != NULL ? initgroups(user_name, gid) != 0 : setgroups(1, &gid) != 0) {
        return fail(failure, "initgroups", errno);
    }
    if (setuid(uid) != 0) {
        return fail(failure, "setuid", errno);
    }
    if (uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
        return fail(failure, "setuid (root could be regained)", EPERM);
    }
    return APR_SUCCESS;
}

static apr_status_t set_limit(int resource, rlim_t value)
{
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

    return setrlimit(resource, &limit) == 0 ? APR_SUCCESS : errno;
}

apr_status_t fpd_priv_limit_files(int files)
{
    return files > 0 ? set_limit(RLIMIT_NOFILE, (rlim_t)files) : APR_SUCCESS;
}

apr_status_t fpd_priv_limit_core(int core)
{
    if (core == 0) {
        return APR_SUCCESS;
    }
    return set_limit(RLIMIT_CORE, core < 0 ? RLIM_INFINITY : (rlim_t)core);
}

int fpd_priv_raise_files(void)
{
    struct rlimit limit;
    rlim_t soft;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    return soft > 0x7fffffff ? 0x7fffffff : (int)soft;
}
