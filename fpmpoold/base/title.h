/* title.h - the process title that ps shows. */
#ifndef FPD_TITLE_H
#define FPD_TITLE_H

#include "apr_pools.h"

/* Once, first thing in main, with its arguments: moves the environment away from the argument area,
 * so that the whole of it can hold a title (memory from pool, which must live for ever). */
void fpd_title_prepare(int argc, char **argv, apr_pool_t *pool);

/* Sets the title; cuts what does not fit. Without prepare it does nothing. Forked children inherit
 * the area. */
void fpd_title_set(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
