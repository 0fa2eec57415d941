/* fpmp_root.h - document roots with their symbolic links resolved, remembered for each httpd child.
 *
 * A deploy moves a link to another release. PHP keeps what it knows of a path for minutes, so it
 * must be given the path of the release. All functions may be called by any thread of the child.
 */
#ifndef FPMP_ROOT_H
#define FPMP_ROOT_H

#include <apr_pools.h>

typedef struct fpmp_roots fpmp_roots;

/* A table for this process, valid until it ends. */
apr_status_t fpmp_root_create(fpmp_roots **roots, int is_threaded);

/* The directory's path without symbolic links, in memory of `pool`; NULL: it has none, or there is
 * no such directory. Costs one stat() unless the directory is another one than last time. */
const char *fpmp_root_resolve(fpmp_roots *roots, const char *path, apr_pool_t *pool);

#endif
