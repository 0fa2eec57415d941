/* start.h - starting libphp in the pool process (spec/libphp.md A, lifecycle.md 1).
 *
 * The only door between the pool process and PHP. Runs as the pool's user, before any worker is
 * forked. SAPI name fpm-fcgi, fpm's php.ini and conf.d, pcntl hidden, pool php_(admin_)values set
 * before module start so that start-up settings really take effect, admin values locked.
 */
#ifndef FPD_START_H
#define FPD_START_H

#include "apr_pools.h"
#include "base/plan_format.h"

/* Before the drop of privileges: decides which php.ini and scan directory apply (-c, -n, PHPRC,
 * PHP_INI_SCAN_DIR, /etc/php/<v>/fpm, else embed's) and checks that the pool user (uid, gid) will
 * be able to read them; if not, keeps copies. Returns a reason in *reason (from pool) on failure.
 */
apr_status_t fpd_start_prepare(const fpd_plan_pool *plan, apr_pool_t *pool, const char **reason);

/* As the pool's user: module start-up, ini, preload. On failure *reason says what. May exit(254)
 * inside OPcache (the master reports the process's stderr). Once per process. */
apr_status_t fpd_start_php(const fpd_plan_pool *plan, apr_pool_t *pool, const char **reason);

/* The descriptors that libphp opened at its start and that workers must keep (OPcache's lock file).
 * The array is the module's own. */
const int *fpd_start_descriptors(int *count);

/* Module shutdown, for the pool process's clean exit. */
void fpd_start_stop(void);

/* For --constants: starts PHP and writes what known.h says to descriptor fd. Returns the exit code.
 */
int fpd_start_tell(int fd, const fpd_plan_pool *plan, apr_pool_t *pool);

/* The answers of -v, -m, -i on stdout (ini from -c -n -d in plan). Returns the exit code. */
int fpd_start_print(char what, const fpd_plan_pool *plan, apr_pool_t *pool);

/* "8.2": version of the libphp this host was built for. */
const char *fpd_start_version(void);

#endif
