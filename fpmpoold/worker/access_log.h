/* access_log.h - one line per request, in php-fpm's access.format (spec/php-fpm.md 3.10).
 *
 * The format is compiled once; a line is made in memory without I/O. Writing is the caller's.
 */
#ifndef FPD_ACCESS_LOG_H
#define FPD_ACCESS_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "apr_pools.h"
#include "base/plan_format.h"
#include "php/params.h"

#define FPD_ACCESS_LOG_LINE 8192

typedef struct fpd_access_log fpd_access_log;

/* What is known of a request at its true end. Strings may be NULL where "-" is written. */
typedef struct fpd_access_entry {
    const fpd_params *params;
    const char *headers; /* the response's header block, lines with CRLF */
    size_t headers_length;
    const char *method;
    const char *uri;
    const char *query;
    const char *script;
    const char *user;
    const char *remote; /* peer's address; NULL: unix socket */
    int64_t content_length;
    int status;
    int64_t started_wall; /* microseconds since 1970 */
    int64_t ended_wall;
    int64_t duration;   /* microseconds */
    int64_t cpu_user;   /* microseconds */
    int64_t cpu_system; /* microseconds */
    uint64_t memory;    /* peak, bytes */
    int32_t pid;
} fpd_access_entry;

/* NULL format: php-fpm's default. Unknown tokens, which the configuration check refuses, are copied
 * as they stand. Owned by pool. */
fpd_access_log *fpd_access_log_create(const fpd_plan_pool *plan, apr_pool_t *pool);

/* What the format needs that costs something to learn. */
int fpd_access_log_wants_headers(const fpd_access_log *log);
int fpd_access_log_wants_cpu(const fpd_access_log *log);
int fpd_access_log_wants_remote(const fpd_access_log *log);

/* Is this line dropped (access.suppress_path)? */
int fpd_access_log_is_suppressed(const fpd_access_log *log, const fpd_access_entry *entry);

/* Writes the line with its line end; control characters of values as \xNN. Returns its length, at
 * most size; *is_cut when it did not fit. */
size_t fpd_access_log_format(const fpd_access_log *log, const fpd_access_entry *entry, char *to,
                             size_t size, int *is_cut);

#endif
