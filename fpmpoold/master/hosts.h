/* hosts.h - where the interpreter hosts (fpmpool-php<version>) are. */
#ifndef FPD_HOSTS_H
#define FPD_HOSTS_H

#include <stddef.h>

#include "apr_pools.h"

/* The directories to search, NULL-ended: beside this program's own file first (a build tree runs in
 * place), then libexecdir. From pool. */
const char *const *fpd_hosts_directories(apr_pool_t *pool);

/* Path of the host for a PHP version ("8.2", NULL: the default) in path[size]; 0 when there is
 * none. */
int fpd_hosts_find(char *path, size_t size, const char *const *directories, const char *version);

/* The version that NULL stands for. */
const char *fpd_hosts_default_version(void);

#endif
