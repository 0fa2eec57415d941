/* ctl_print.h - what `fpmpoold --ctl status` prints: a table, or JSON. Pure.
 */
#ifndef FPD_CTL_PRINT_H
#define FPD_CTL_PRINT_H

#include "apr_pools.h"
#include "apr_tables.h"
#include "master/control_line.h"

/* One "daemon" or "pool" line, cut at its tabs; fields that are missing are "". */
typedef struct fpd_ctl_row {
    const char *fields[FPD_CONTROL_FIELDS_MAX];
} fpd_ctl_row;

void fpd_ctl_row_read(fpd_ctl_row *row, const char *line, apr_pool_t *pool);

/* pools: array of fpd_ctl_row. Text that ends with LF, from pool. What a terminal could take for
 * commands is '?'; JSON is valid whatever the fields hold. */
const char *fpd_ctl_print_table(const fpd_ctl_row *daemon, const apr_array_header_t *pools,
                                apr_pool_t *pool);
const char *fpd_ctl_print_json(const fpd_ctl_row *daemon, const apr_array_header_t *pools,
                               apr_pool_t *pool);

/* The same text without what a terminal could take for commands, from pool. */
const char *fpd_ctl_print_clean(const char *text, apr_pool_t *pool);

#endif
