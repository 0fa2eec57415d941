/* fpmp_names.h - pools whose names are found at run time (specification: apache.md 2.3): those of
 * this child, and which place each has in the tables.
 *
 * A name stands for the socket FpmPoolSocketDir/NAME.sock. A child remembers the names that it was
 * asked for last; how many depends on how many are in use at once, not on how many there are. Any
 * thread may call these functions.
 */
#ifndef FPMP_NAMES_H
#define FPMP_NAMES_H

#include "fpmp_conn.h"
#include "fpmp_pool.h"
#include "fpmp_share.h"

#define FPMP_NAMES_KEPT     256  /* remembered by a child, in use or not */
#define FPMP_NAMES_USED_MAX 4096 /* in use by a child at a time */

typedef struct fpmp_names fpmp_names;

/* What the names of a child belong to; all of it outlives them. */
typedef struct fpmp_names_base {
    const char *directory;     /* of the sockets */
    const fpmp_pool *defaults; /* what a pool has */
    int most;                  /* names in use at a time */
    int pool_count;            /* places begin behind these in *records, and in connections */
    int server_count;
    fpmp_share *share;
    fpmp_records *records;
    int row;                       /* of this child */
    fpmp_connections *connections; /* of a name are closed when it is forgotten */
} fpmp_names_base;

typedef enum fpmp_names_result {
    FPMP_NAMES_OK,
    FPMP_NAMES_INVALID, /* it cannot be a pool's name, or its path would be too long */
    FPMP_NAMES_ABSENT,  /* there is no such socket */
    FPMP_NAMES_FULL     /* all of FpmPoolMaxPools are in use */
} fpmp_names_result;

/* For one child. */
apr_status_t fpmp_names_create(fpmp_names **names, const fpmp_names_base *base, int is_threaded);

/* The pool of that name; it stays until fpmp_names_release. */
fpmp_names_result fpmp_names_take(fpmp_names *names, const char *name, const fpmp_pool **pool);
void fpmp_names_release(fpmp_names *names, const fpmp_pool *pool);

/* Fills in what a pool of this name is, with `label` as room for its address. Returns 0 if it
 * cannot be one. */
typedef char fpmp_names_label[FPMP_SOCKET_PATH_MAX + 8];
int fpmp_names_describe(const char *directory, const fpmp_pool *defaults, const char *name,
                        fpmp_names_label label, fpmp_pool *pool, fpmp_server *server);

#endif
