/* fpmp_spool.h - a temporary file for bytes that are too many for memory. */
#ifndef FPMP_SPOOL_H
#define FPMP_SPOOL_H

#include <apr_file_io.h>

/* A new empty file in the temporary directory (TMPDIR), which has no name any more; closed with
 * `pool`. Returns the error of the system. */
apr_status_t fpmp_spool_open(apr_file_t **file, apr_pool_t *pool);

#endif
