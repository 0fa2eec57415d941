/* fpmp_stderr.h - what a server writes to STDERR, as lines of httpd's error log (apache.md 1.5). */
#ifndef FPMP_STDERR_H
#define FPMP_STDERR_H

#include "fpmp_conf.h"

#include <httpd.h>

#define FPMP_STDERR_LINE                                                                           \
    7000 /* httpd cuts at 8192 with its prefix; longer lines are split here                        \
          */

typedef struct fpmp_stderr {
    request_rec *r;
    const fpmp_pool *pool;
    int forced;         /* FpmPoolStderr: enum fpmp_stderr_mode, or the level of all lines */
    apr_int64_t worker; /* its pid, if the server has told it; -1 */
    char *line;         /* NULL until something comes */
    apr_size_t used;
    int level;
} fpmp_stderr;

void fpmp_stderr_open(fpmp_stderr *log, request_rec *r, const fpmp_dir_conf *conf,
                      const fpmp_pool *pool);

/* Logs each whole line; the rest waits. */
void fpmp_stderr_feed(fpmp_stderr *log, const char *bytes, apr_size_t length);

/* Logs the rest as it is. */
void fpmp_stderr_flush(fpmp_stderr *log);

/* The httpd level of a line: PHP's own words decide; `before` for a line that has none (a stack
 * trace goes with its error). */
int fpmp_stderr_level(const char *line, int before);

#endif
