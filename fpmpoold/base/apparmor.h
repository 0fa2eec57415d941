/* apparmor.h - apparmor_hat: a worker goes into a profile below that of the daemon
 * (spec/php-fpm.md 1.6).
 *
 * By the kernel's attribute files and not by libapparmor: two files and one line of text are all
 * that is needed of it, and a fake folder can stand in for a kernel without AppArmor in tests.
 */
#ifndef FPD_APPARMOR_H
#define FPD_APPARMOR_H

#include "apr_pools.h"

/* Of the thread that asks; in a chroot /proc must be there. */
#define FPD_APPARMOR_FOLDER "/proc/thread-self/attr"

/* The profile that this process is in, without its mode; from pool. An errno, and *failure with
 * php-fpm's words (from pool), where the kernel has no AppArmor. */
apr_status_t fpd_apparmor_profile(const char **profile, const char **failure, const char *folder,
                                  apr_pool_t *pool);

/* Changes to {profile}//{hat}, for good. An errno, and *failure as above. */
apr_status_t fpd_apparmor_enter(const char *hat, const char **failure, const char *folder,
                                apr_pool_t *pool);

#endif
