/* status_format.h - the status page: a board and a plan in, a page out (spec/php-fpm.md 3.8).
 *
 * Pure: no I/O, no allocation. Called by workers and, when every worker is busy, by the pool
 * process.
 */
#ifndef FPD_STATUS_FORMAT_H
#define FPD_STATUS_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/board.h"
#include "base/plan_format.h"

/* Enough for every page without `full`; with `full` add FPD_STATUS_SLOT_SIZE for each slot. */
#define FPD_STATUS_PAGE_SIZE 8192
#define FPD_STATUS_SLOT_SIZE 20480

/* What the page is measured against; the tests give fixed times. */
typedef struct fpd_status_times {
    int64_t wall;      /* microseconds since 1970 */
    int64_t monotonic; /* fpd_monotonic_now() */
} fpd_status_times;

/* Writes the body for `query` (a query string or NULL: parameters html, xml, json, openmetrics,
 * full) to `to`; at most `size` bytes, never a NUL. A page that does not fit ends after the last
 * whole process of it. Returns the length; *content_type gets a static text, the value of the
 * response's content type header. */
size_t fpd_status_format_write(char *to, size_t size, const fpd_board *board,
                               const fpd_plan_pool *plan, const char *query,
                               const char **content_type);

/* The same with given times. */
size_t fpd_status_format_write_at(char *to, size_t size, const fpd_board *board,
                                  const fpd_plan_pool *plan, const char *query,
                                  const fpd_status_times *times, const char **content_type);

/* The name of the content type header as php-fpm spells it for this format ("Content-type" or
 * "Content-Type"). */
const char *fpd_status_format_header_name(const char *content_type);

/* Bytes to offer for this query. */
size_t fpd_status_format_size(const fpd_board *board, const char *query);

/* "static", "dynamic" or "ondemand". */
const char *fpd_status_format_manager(const fpd_plan_pool *plan);

#endif
