/* access_file.h - access.log as a file: lines that cannot be written are told of, not waited for.
 */
#ifndef FPD_ACCESS_FILE_H
#define FPD_ACCESS_FILE_H

#include <stddef.h>

#include "base/log_file.h"

/* Writes one line to fd. The first that fails and the first that goes well again are logged with
 * `path`; what is between them is counted in *file, which starts as zeros. */
void fpd_access_file_write(fpd_log_file *file, int fd, const char *path, const char *line,
                           size_t length);

#endif
