/* chroot.c - one capability, kept for one system call.
 *
 * Runs in the interpreter host before any worker is forked. It must not leave a capability behind.
 */
#include "pool/chroot.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static apr_status_t fail(fpd_priv_failure *failure, const char *step)
{
    failure->step = step;
    failure->error = errno;
    return errno;
}

/* glibc has no wrapper for capset. Masks of capabilities 0 to 31, CAP_SYS_CHROOT among them. */
static int set_capabilities(uint32_t effective, uint32_t permitted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = effective, .permitted = permitted}};

    return (int)syscall(SYS_capset, &header, data);
}

apr_status_t fpd_chroot_prepare(fpd_priv_failure *failure)
{
    return prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) == 0 ? APR_SUCCESS
                                                       : fail(failure, "prctl(PR_SET_KEEPCAPS)");
}

apr_status_t fpd_chroot_shrink(fpd_priv_failure *failure)
{
    if (set_capabilities(0, 1u << CAP_SYS_CHROOT) != 0) {
        return fail(failure, "capset (keeping CAP_SYS_CHROOT)");
    }
    return prctl(PR_SET_KEEPCAPS, 0L, 0L, 0L, 0L) == 0 ? APR_SUCCESS
                                                       : fail(failure, "prctl(PR_SET_KEEPCAPS)");
}

apr_status_t fpd_chroot_enter(const char *path, fpd_priv_failure *failure)
{
    const uint32_t needed = 1u << CAP_SYS_CHROOT;

    if (geteuid() != 0 && set_capabilities(needed, needed) != 0) {
        return fail(failure, "capset (raising CAP_SYS_CHROOT)");
    }
    if (chroot(path) != 0) {
        return fail(failure, "chroot");
    }
    if (chdir("/") != 0) {
        return fail(failure, "chdir(/)");
    }
    if (geteuid() != 0 && set_capabilities(0, 0) != 0) {
        return fail(failure, "capset (dropping CAP_SYS_CHROOT)");
    }
    return APR_SUCCESS;
}
