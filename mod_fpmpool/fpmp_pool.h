/* fpmp_pool.h - what a pool is for the module: plain data, written while the configuration is read
 * and constant afterwards. Needs APR only.
 */
#ifndef FPMP_POOL_H
#define FPMP_POOL_H

#include "fpmp_address.h"

#include <apr_time.h>
#include <sys/types.h>

#define FPMP_REQUEST_ID 1 /* FastCGI: one request at a time on a connection */

/* php-fpm takes a plain SCRIPT_FILENAME together with REDIRECT_URL for an old mod_fastcgi request
 * and runs PATH_TRANSLATED instead; it strips this prefix and then takes the name as it is. */
#define FPMP_FPM_PREFIX "proxy:fcgi://fpmpool"

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

#define FPMP_SERVERS_MAX 64 /* of one pool */
#define FPMP_WEIGHT_MAX  100

/* One address that serves a pool. */
typedef struct fpmp_server {
    fpmp_address address;
    fpmp_server_type type;
    const char *name;  /* name=, or the address as text; unique in its pool */
    const char *owner; /* user=: who must own its unix socket, checked at each connect; NULL: any */
    uid_t owner_id;
    int reuses;    /* may connections be kept? (default: only type=fpmpool) */
    int weight;    /* 1..FPMP_WEIGHT_MAX */
    unsigned max;  /* most requests at a time, over all children; 0: no limit */
    int group;     /* the lowest group with a usable server gets the requests */
    int is_backup; /* behind all groups of the others */
    const char
        *local_root; /* of docroot=: paths below it are below remote_root there. Neither ends */
    const char *remote_root; /* with /; NULL: paths are the same there */
    unsigned slowstart;      /* ms in which its weight grows after it came up; 0: at once */
    int index;               /* 0..n-1 over all servers: place in the tables */
    int is_number;           /* its address was no name */
    unsigned resolve;        /* ms between two look-ups of its host name; 0: only at start */
    int name_place;          /* 1..n over all names that are looked up again; 0: it is none */
} fpmp_server;

/* How one of several servers is chosen (specification: apache.md 2.2). */
typedef enum fpmp_balance {
    FPMP_BALANCE_LEAST,      /* fewest requests for its weight */
    FPMP_BALANCE_ROUNDROBIN, /* in turn, by weight */
    FPMP_BALANCE_FIRST,      /* the first of the list that is usable */
    FPMP_BALANCE_HASH,       /* always the same for the same text */
    FPMP_BALANCE_STICKY      /* the one that the visitor's cookie names */
} fpmp_balance;

/* What may be sent again after a failure (specification: apache.md 2.1). */
typedef enum fpmp_retry_level {
    FPMP_RETRY_OFF,
    FPMP_RETRY_SAFE,      /* what was certainly not taken */
    FPMP_RETRY_IDEMPOTENT /* also idempotent requests that were lost without an answer */
} fpmp_retry_level;

typedef struct fpmp_retry {
    int is_set;
    fpmp_retry_level level;
    int attempts;               /* how many servers may get a request, at most */
    apr_interval_time_t within; /* from its start; later no other attempt begins */
    apr_size_t body;            /* bytes of a streamed body that are kept for another one */
} fpmp_retry;

#define FPMP_ATTEMPTS_DEFAULT   2
#define FPMP_ATTEMPTS_MAX       16
#define FPMP_WITHIN_DEFAULT     apr_time_from_sec(2)
#define FPMP_RETRY_BODY_DEFAULT (64 * 1024)

/* How many requests of a pool httpd lets in, over all children (specification: apache.md 2.3). A
 * value counts only if its *_set bit is 1. */
typedef struct fpmp_limit {
    unsigned requests;        /* under way at its servers; 0: no limit */
    unsigned queue;           /* that wait in httpd; 0: none */
    apr_interval_time_t wait; /* the longest that one waits */
    unsigned per_address;     /* under way and waiting, of one client address; 0: no limit */
    int status;               /* of those that are refused */
    int retry_after;          /* seconds; 0: no header */
    unsigned requests_set : 1;
    unsigned queue_set : 1;
    unsigned wait_set : 1;
    unsigned per_address_set : 1;
    unsigned status_set : 1;
    unsigned retry_after_set : 1;
} fpmp_limit;

#define FPMP_LIMIT_MAX          30000 /* of requests=, queue= and perip= */
#define FPMP_LIMIT_WAIT_DEFAULT apr_time_from_sec(5)

#define FPMP_CHECKS_MAX 2 /* of one pool: a cheap one and one that runs a script */

/* When a server counts as down, and as up again (specification: apache.md 2.2). Milliseconds. */
typedef struct fpmp_health_rules {
    unsigned fails; /* failures in a row of live requests */
    unsigned rate;  /* percent of them in `window` that are too many; 0: never */
    unsigned window;
    int check_count;                /* if any: checks bring it back, not trials */
    unsigned rise[FPMP_CHECKS_MAX]; /* good checks in a row */
    unsigned fall[FPMP_CHECKS_MAX]; /* failed ones */
    unsigned first;                 /* the first pause before a trial, and the longest */
    unsigned most;
} fpmp_health_rules;

typedef enum fpmp_check_kind {
    FPMP_CHECK_CONNECT, /* the connection is accepted */
    FPMP_CHECK_PING,    /* FCGI_GET_VALUES is answered */
    FPMP_CHECK_SCRIPT   /* a PHP script answers as expected */
} fpmp_check_kind;

typedef struct fpmp_check {
    fpmp_check_kind kind;
    apr_interval_time_t interval; /* while it is up */
    apr_interval_time_t fast;     /* while it changes */
    apr_interval_time_t down;     /* while it is down */
    apr_interval_time_t timeout;
    const char *script;                    /* of FPMP_CHECK_SCRIPT: its path on the server */
    const struct fpmp_expect *expectation; /* NULL: a status from 200 to 399 */
} fpmp_check;

typedef struct fpmp_pool {
    const char *name;
    const char *file; /* where it was defined (or first named), for messages */
    int line;
    int is_implied; /* no <FpmPoolDefine>: the socket FpmPoolSocketDir/NAME.sock */
    int is_found;   /* its name came at run time (fpmp_names.h) */
    int index;      /* 0..n-1 over all pools: place in the tables */
    fpmp_timeouts timeouts;
    fpmp_limit limit;
    fpmp_server *servers;
    int server_count; /* 1..FPMP_SERVERS_MAX */
    fpmp_balance balance;
    const void *expression; /* of FPMP_BALANCE_HASH: an ap_expr_info_t */
    const char *cookie;     /* of FPMP_BALANCE_STICKY */
    int is_strict;          /* likewise: no other server than the cookie's */
    fpmp_retry retry;
    fpmp_health_rules health;
    int refuses_down;    /* when all its servers are down none is asked (FpmPoolAllDown refuse) */
    int inherits_checks; /* they are those of all pools, until it has its own */
    fpmp_check checks[FPMP_CHECKS_MAX]; /* health.check_count of them */
    const int *bad_statuses;            /* of answers that count as failures; 0 ends them */
} fpmp_pool;

/* Does FpmPoolHealth name this status? */
int fpmp_pool_is_bad_status(const fpmp_pool *pool, int status);

/* Puts the values that `inner` sets over those of `timeouts`. */
void fpmp_pool_overlay(fpmp_timeouts *timeouts, const fpmp_timeouts *inner);

#endif
