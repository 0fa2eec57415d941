/* sources.h - which php.ini and which scan directory a pool's PHP reads (spec/php-fpm.md 5). Only
 * for php/.
 */
#ifndef FPD_SOURCES_H
#define FPD_SOURCES_H

#include "apr_pools.h"
#include "base/plan_format.h"

typedef struct fpd_sources {
    const char *ini;      /* php.ini's path or a directory to look in; NULL: PHP's own default */
    const char *scan_dir; /* PHP_INI_SCAN_DIR's value; NULL: PHP's own default, "": none */
    int copy; /* descriptor that ini names (a copy of what the user cannot read), or -1 */
} fpd_sources;

/* Decides, as whoever this process is now. A path below fpm's directory, if there is one; else
 * PHP's own. *reason says why it failed. */
apr_status_t fpd_sources_find(fpd_sources *sources, const fpd_plan_pool *plan, apr_pool_t *pool,
                              const char **reason);

/* Can the pool's user read all of it? If not: as root, for a pool whose user is another one, makes
 * one copy of everything and changes *sources to it; else *reason names the first file or directory
 * that cannot be read. PHP would start with its defaults and say nothing. */
apr_status_t fpd_sources_open(fpd_sources *sources, const fpd_plan_pool *plan, apr_pool_t *pool,
                              const char **reason);

#endif
