/* hosts.h - where the interpreter hosts (fpmpool-php<version>) are. */
#ifndef FPD_HOSTS_H
#define FPD_HOSTS_H

#include <stddef.h>

#include "apr_pools.h"
#include "apr_tables.h"
#include "conf/conf.h"

/* The directories to search, NULL-ended: beside this program's own file first (a build tree runs in
 * place), then libexecdir. From pool. */
const char *const *fpd_hosts_directories(apr_pool_t *pool);

/* Path of the host for a PHP version ("8.2", NULL: the default) in path[size]; 0 when there is
 * none. */
int fpd_hosts_find(char *path, size_t size, const char *const *directories, const char *version);

/* Appends -c, -n and -d as they were given, for a host that answers questions. */
void fpd_hosts_add_ini_options(apr_array_header_t *argv, const fpd_conf_options *options,
                               apr_pool_t *pool);

/* In a forked child that becomes a host: takes what a service manager left for the master alone out
 * of the environment. */
void fpd_hosts_clean_environment(void);

/* The version that NULL stands for. */
const char *fpd_hosts_default_version(void);

#endif
