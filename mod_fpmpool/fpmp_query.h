/* fpmp_query.h - what a page of figures is asked for: its query string. Needs APR only.
 *
 * A name that nobody knows is an error, not a page: a program that asks for ?jsn shall notice.
 */
#ifndef FPMP_QUERY_H
#define FPMP_QUERY_H

#include <apr_pools.h>

typedef enum fpmp_format {
    FPMP_FORMAT_HTML,
    FPMP_FORMAT_JSON,
    FPMP_FORMAT_AUTO,
    FPMP_FORMAT_METRICS
} fpmp_format;

typedef enum fpmp_sort {
    FPMP_SORT_STATE, /* what is not well first, then by name */
    FPMP_SORT_NAME,
    FPMP_SORT_FLIGHT,   /* what has most of it first, as all that follow */
    FPMP_SORT_REQUESTS, /* of the last hour */
    FPMP_SORT_ERRORS,   /* likewise */
    FPMP_SORT_TIME      /* 99th percentile of late */
} fpmp_sort;

#define FPMP_REFRESH_MOST 3600
#define FPMP_PAGE_MOST    10000

typedef struct fpmp_query {
    fpmp_format format;
    fpmp_sort sort;
    const char *pool;   /* pool=: that one; NULL: any */
    const char *name;   /* name=: those that have it in their names; "": any */
    int wants_trouble;  /* state=problems */
    int leaves_unasked; /* not those that nobody has asked; from no query string */
    unsigned refresh;   /* seconds; 0: the page stays */
    unsigned page;      /* 1.. */
} fpmp_query;

/* arguments: the raw query string or NULL. Returns NULL, or what is wrong with it: a sentence for
 * who asked, which has no byte of the query in it. */
const char *fpmp_query_parse(fpmp_query *query, const char *arguments, apr_pool_t *memory);

/* "state", "name", ... NULL behind the last. */
const char *fpmp_query_sort_name(int sort);

#endif
