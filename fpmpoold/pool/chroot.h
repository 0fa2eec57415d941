/* chroot.h - entering the pool's chroot late: as the pool's user, after PHP has started
 * (lifecycle.md 1). Only for a process that was root; the one capability it needs survives the drop
 * of privileges in the permitted set, and is gone after fpd_chroot_enter.
 */
#ifndef FPD_CHROOT_H
#define FPD_CHROOT_H

#include "base/priv.h"

/* Before fpd_priv_drop: capabilities outlive setuid. */
apr_status_t fpd_chroot_prepare(fpd_priv_failure *failure);

/* Right after fpd_priv_drop: of all capabilities only CAP_SYS_CHROOT stays, permitted and not
 * effective. */
apr_status_t fpd_chroot_shrink(fpd_priv_failure *failure);

/* Enters path and its root directory, then gives the capability up. */
apr_status_t fpd_chroot_enter(const char *path, fpd_priv_failure *failure);

#endif
