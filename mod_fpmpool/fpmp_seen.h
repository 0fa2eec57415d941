/* fpmp_seen.h - all figures of pools and servers at one moment, as plain data: what is taken
 * from shared memory once, and shown in several ways (specification: apache.md 1.8).
 *
 * The figures of one server are read one after the other while requests go on: sums may be apart by
 * the requests of that moment. Pure functions; needs APR only.
 */
#ifndef FPMP_SEEN_H
#define FPMP_SEEN_H

#include "fpmp_admin.h"
#include "fpmp_counters.h"
#include "fpmp_health.h"
#include "fpmp_latency.h"
#include "fpmp_query.h"

#define FPMP_NEVER UINT64_MAX

typedef struct fpmp_seen_server {
    const char *name;
    const char *address;
    const char *type;
    int weight; /* in force */
    int weight_configured;
    unsigned max; /* 0: no limit */
    int group;
    int is_backup;
    fpmp_health_state health;
    fpmp_admin_mode mode;
    uint64_t changed;   /* seconds since it went down or came back; FPMP_NEVER */
    const char *reason; /* of the last failure; NULL: none */
    uint64_t failed;    /* seconds since then */
    unsigned in_flight;
    fpmp_count count;
    fpmp_latency_ever ever;
    fpmp_latency_counts recent;
} fpmp_seen_server;

/* From bad to good, as FPMP_SORT_STATE has them. */
typedef enum fpmp_seen_state {
    FPMP_SEEN_DOWN,    /* no server can be used */
    FPMP_SEEN_PARTLY,  /* some cannot */
    FPMP_SEEN_TRYING,  /* some are being tried */
    FPMP_SEEN_DRAINED, /* all that are well are usable, others were taken out by an operator */
    FPMP_SEEN_UP,
    FPMP_SEEN_UNASKED /* nothing was ever sent there */
} fpmp_seen_state;

typedef struct fpmp_seen_pool {
    const char *name;
    const char *balance;
    const char *file; /* where it was defined, or first named */
    int line;
    int is_implied;
    int is_found; /* an expression named it */
    fpmp_seen_server *servers;
    int server_count;
    fpmp_seen_state state;
    int usable; /* servers that get requests */
    uint64_t in_flight;
    unsigned limit_requests; /* FpmPoolLimit of its definition; 0: none */
    unsigned limit_queue;
    unsigned waiting;  /* for a place of the limit */
    uint64_t requests; /* ever */
    uint64_t bytes;
    uint64_t hour_requests;
    uint64_t hour_errors;
    fpmp_latency_counts recent;
    fpmp_minute_counts minutes[FPMP_HISTORY_MINUTES];
} fpmp_seen_pool;

typedef struct fpmp_snapshot {
    fpmp_seen_pool *pools;
    int pool_count;
    int of_all;       /* pools that the configuration has */
    apr_time_t wall;  /* the time of day */
    uint64_t up_for;  /* seconds since httpd was started */
    const char *host; /* of this httpd */
} fpmp_snapshot;

/* state and sums of a pool, from its servers and minutes. */
void fpmp_seen_sum(fpmp_seen_pool *pool);

/* drops the pools that the query does not want and sorts the rest. */
void fpmp_seen_arrange(fpmp_snapshot *snapshot, const fpmp_query *query);

/* "down", "partly down", "trying", "drained", "up", "not asked yet" */
const char *fpmp_seen_state_name(fpmp_seen_state state);

/* A server as it counts for its pool; never FPMP_SEEN_PARTLY. */
fpmp_seen_state fpmp_seen_server_state(const fpmp_seen_server *server);

#endif
