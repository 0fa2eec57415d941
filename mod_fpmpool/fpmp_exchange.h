/* fpmp_exchange.h - a request's way through pools, servers and connections until one has answered
 * (specification: apache.md 2.1; architecture.md 5).
 *
 * What was certainly not taken goes on to another server, whatever its method, with its whole body;
 * what may have been executed only if it is idempotent and FpmPoolRetry says so; what has begun to
 * answer, or ran into a time limit, never.
 */
#ifndef FPMP_EXCHANGE_H
#define FPMP_EXCHANGE_H

#include "fpmp_admit.h"
#include "fpmp_body.h"
#include "fpmp_conn.h"
#include "fpmp_relay.h"
#include "fpmp_select.h"

#define FPMP_EXCHANGE_GONE (-100) /* in place of a status: the client went away */

/* One request on its way; lives on the handler's stack, which fills the first group. */
typedef struct fpmp_task {
    request_rec *r;
    const fpmp_dir_conf *conf;
    const fpmp_global *global;
    fpmp_course course;
    fpmp_body body;

    /* where it is: of the attempt that runs or was the last */
    const fpmp_pool *pool;
    const fpmp_server *server; /* counted as under way there; NULL: nowhere */
    fpmp_timeouts timeouts;
    fpmp_conn *connection; /* NULL: none at the moment */
    fpmp_relay relay;

    /* how it ended, or why nobody took it */
    int status;
    const char *state; /* note fpmpool-state */
    int is_refused;    /* by FpmPoolLimit: admission.limit */

    /* private */
    const fpmp_pool *pools[FPMP_POOLS_MAX];
    int pool_count;
    int pool_at;
    fpmp_admission admission;
    fpmp_retry retry;
    fpmp_wish wish;
    uint64_t tried;    /* servers of the pool that had it */
    int servers_asked; /* that got it over a connection */
    int has_failed;    /* at least one attempt did */
    int asks_down;     /* all were down: those that are get it too, where the pool allows it */
    int was_overload;  /* the last one, because its server was busy */
    int was_lost;      /* the last one, without an answer */
    int came_back;     /* to a server that had lost it */
    apr_time_t first_try;
    apr_time_t began; /* this attempt */
    int keeps;        /* shall its connection be kept afterwards? */
    int awaits_ack;   /* the server was asked to say when it starts */
    struct iovec head;
    int encoding;                /* of head: what it was made for; 0: nothing yet */
    apr_table_t *variables;      /* subprocess_env before that; NULL: there is one server only */
    apr_table_t *headers;        /* err_headers_out before a cookie was added; NULL: none was */
    const fpmp_server *in_count; /* whose figures get its end; NULL: they have it */
    struct fpmp_pool_record *in_pool; /* counted as under way there; NULL: nowhere */
} fpmp_task;

/* Finds the pools. OK, or a status (logged): 403 for `none`, 500, 503 with task->state. */
int fpmp_exchange_open(fpmp_task *task);

/* Before the body is read: waits for the request's turn; and would it find a server, if its client
 * waits for "100 Continue"? Nobody shall upload to a pool that refuses, or is not there. OK, a
 * status or FPMP_EXCHANGE_GONE. */
int fpmp_exchange_probe(fpmp_task *task);

/* Reads the body, as far as it is read before it is sent. OK or a status. */
int fpmp_exchange_read_body(fpmp_task *task);

/* Sends it, until it is answered or nobody is left. OK: *result, of the last attempt, and its
 * connection is open; else a status, with task->state, or FPMP_EXCHANGE_GONE. */
int fpmp_exchange_run(fpmp_task *task, fpmp_relay_result *result);

/* The request is over: counts it where its last attempt was. */
void fpmp_exchange_close(fpmp_task *task);

/* The attempt is over for its server: the connection goes back or is closed, the request is no
 * longer under way there, nor in its pool. */
void fpmp_exchange_give_back(fpmp_task *task, int is_clean);

#endif
