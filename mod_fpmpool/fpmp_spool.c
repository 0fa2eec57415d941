/* fpmp_spool.c - a temporary file for bytes that are too many for memory.
 *
 * Runs in an httpd child, for bodies of requests and of responses. The file has no name from its
 * first moment on that others could use; must not log: only the caller knows what is lost.
 */
#include "fpmp_spool.h"

#include <apr_strings.h>

apr_status_t fpmp_spool_open(apr_file_t **file, apr_pool_t *pool)
{
    const char *directory = NULL;
    apr_status_t status = apr_temp_dir_get(&directory, pool);
    if (status != APR_SUCCESS) {
        return status;
    }
    char *name = apr_pstrcat(pool, directory, "/fpmpool-body.XXXXXX", NULL);
    status = apr_file_mktemp(file, name,
                             APR_FOPEN_CREATE | APR_FOPEN_READ | APR_FOPEN_WRITE | APR_FOPEN_EXCL |
                                 APR_FOPEN_BINARY,
                             pool);
    return status == APR_SUCCESS ? apr_file_remove(name, pool) : status;
}
