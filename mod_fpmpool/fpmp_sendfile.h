/* fpmp_sendfile.h - a file or a path that a script names for httpd to send in place of its body
 * (FpmPoolSendfile; specification: apache.md 1.4). What the script names is not trusted.
 */
#ifndef FPMP_SENDFILE_H
#define FPMP_SENDFILE_H

#include "fpmp_conf.h"

#include <apr_file_io.h>

/* Opens a file if all symbolic links resolved it lies below a directory of FpmPoolSendfile. Returns
 * OK, 404 or 403 (logged). The file is closed with r->pool. */
int fpmp_sendfile_open(request_rec *r, const fpmp_dir_conf *conf, const fpmp_pool *pool,
                       const char *path, apr_file_t **file, apr_finfo_t *info);

/* May httpd serve this path of its own instead? Returns OK or 502 (logged). */
int fpmp_sendfile_check_uri(request_rec *r, const fpmp_pool *pool, const char *uri);

#endif
