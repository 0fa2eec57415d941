/* fpmp_pool.h - what a pool is for the module: plain data, written while the configuration is read
 * and constant afterwards. Needs APR only.
 */
#ifndef FPMP_POOL_H
#define FPMP_POOL_H

#include "fpmp_address.h"

#include <apr_time.h>

#define FPMP_REQUEST_ID 1 /* FastCGI: one request at a time on a connection */

/* Who answers there (specification: apache.md 1.2, dispatch.md 5). */
typedef enum fpmp_server_type {
    FPMP_TYPE_FPMPOOL, /* our daemon: plain SCRIPT_FILENAME, FPMPOOL_* parameters */
    FPMP_TYPE_FPM,     /* php-fpm: SCRIPT_FILENAME with the prefix that it strips */
    FPMP_TYPE_GENERIC  /* any other FastCGI responder: nothing but the standard */
} fpmp_server_type;

/* Time limits in microseconds; a value counts only if its *_set bit is 1. */
typedef struct fpmp_timeouts {
    apr_interval_time_t connect; /* until the server has accepted the connection */
    apr_interval_time_t first;   /* until the first byte of the answer */
    apr_interval_time_t idle;    /* between two reads of the answer */
    apr_interval_time_t total;   /* from the request's start to the answer's end; 0: none */
    apr_interval_time_t keep;    /* an idle kept connection is closed after it; 0: keep none */
    unsigned connect_set : 1;
    unsigned first_set : 1;
    unsigned idle_set : 1;
    unsigned total_set : 1;
    unsigned keep_set : 1;
} fpmp_timeouts;

#define FPMP_CONNECT_DEFAULT apr_time_from_sec(1)
#define FPMP_FIRST_DEFAULT   apr_time_from_sec(60)
#define FPMP_IDLE_DEFAULT    apr_time_from_sec(60)
#define FPMP_TOTAL_DEFAULT   0
#define FPMP_KEEP_DEFAULT    apr_time_from_sec(30)

/* One address that serves a pool. */
typedef struct fpmp_server {
    fpmp_address address;
    fpmp_server_type type;
    int reuses; /* may connections be kept? (default: only type=fpmpool) */
    int index;  /* 0..n-1 over all servers: place in the per-child tables */
} fpmp_server;

typedef struct fpmp_pool {
    const char *name;
    const char *file; /* where it was defined (or first named), for messages */
    int line;
    int is_implied; /* no <FpmPoolDefine>: the socket FpmPoolSocketDir/NAME.sock */
    fpmp_timeouts timeouts;
    fpmp_server server;
} fpmp_pool;

/* Puts the values that `inner` sets over those of `timeouts`. */
void fpmp_pool_overlay(fpmp_timeouts *timeouts, const fpmp_timeouts *inner);

#endif
