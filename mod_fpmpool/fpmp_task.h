/* fpmp_task.h - one request on its way through the module. */
#ifndef FPMP_TASK_H
#define FPMP_TASK_H

#include "fpmp_admit.h"
#include "fpmp_body.h"
#include "fpmp_conn.h"
#include "fpmp_relay.h"
#include "fpmp_select.h"

#define FPMP_TASK_GONE (-100) /* in place of a status: the client went away */

/* Lives on the handler's stack, which fills the first group. */
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

    /* of fpmp_route and fpmp_exchange */
    const fpmp_pool *pools[FPMP_POOLS_MAX];
    int pool_count;
    int pool_at;
    fpmp_admission admission;
    fpmp_retry retry;
    fpmp_wish wish;
    uint64_t tried;    /* servers of the pool that had it */
    int servers_asked; /* that got it over a connection */
    int has_failed;    /* at least one attempt did */
    int is_looking;    /* for a place only */
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

#endif
