/* fpmp_limit.h - how many requests of a pool are let in: the rules of FpmPoolLimit, without side
 * effects (specification: apache.md 2.2 and 2.3).
 *
 * At most `requests` are under way at the pool's servers, at most `queue` more wait in httpd, the
 * rest are refused at once. Who comes while somebody waits stands behind him. Counts are those of
 * all children; fpmp_queue.h gives them. Needs APR only.
 */
#ifndef FPMP_LIMIT_H
#define FPMP_LIMIT_H

#include "fpmp_pool.h"

/* What becomes of a request that asks to be let in. */
typedef enum fpmp_limit_answer {
    FPMP_LIMIT_ENTER,         /* it may try: a place is counted first, then looked at again */
    FPMP_LIMIT_WAIT,          /* it waits, or waits on */
    FPMP_LIMIT_FULL,          /* all servers have their max=, and there is no queue */
    FPMP_LIMIT_REQUESTS,      /* requests= are under way, and there is no queue */
    FPMP_LIMIT_QUEUE_FULL,    /* the queue is full */
    FPMP_LIMIT_QUEUE_TIMEOUT, /* it has waited for wait= */
    FPMP_LIMIT_PER_ADDRESS    /* its client has perip= already */
} fpmp_limit_answer;

#define FPMP_LIMIT_REASONS (FPMP_LIMIT_PER_ADDRESS + 1)

/* What a request sees. */
typedef struct fpmp_limit_view {
    unsigned in_flight;         /* of others, under way */
    unsigned waiting;           /* of others, in the queue */
    unsigned elders;            /* of those, who came before it */
    unsigned of_address;        /* of others, both, from its client's address */
    int has_server;             /* is one below its max=, as far as is known? */
    int is_in_queue;            /* does it wait already? */
    int is_stalled;             /* a place has been free for a while, and no elder took it */
    apr_interval_time_t waited; /* in queues, up to now */
} fpmp_limit_view;

fpmp_limit_answer fpmp_limit_decide(const fpmp_limit *limit, const fpmp_limit_view *view);

/* Is there anything to be counted at all? */
int fpmp_limit_is_set(const fpmp_limit *limit);

/* Value of the note fpmpool-state for an answer that refuses; NULL for the others. */
const char *fpmp_limit_state(fpmp_limit_answer answer);

/* Puts the values that `inner` sets over those of `limit`. */
void fpmp_limit_overlay(fpmp_limit *limit, const fpmp_limit *inner);

/* The limits of a request, word by word the most specific setting: directory section, the pool's
 * definition, server or vhost, <FpmPoolDefine "*"> (NULL: none), built-in default. retry_after: of
 * FpmPoolRetryAfter. Every value of the result is set. */
fpmp_limit fpmp_limit_resolve(const fpmp_limit *section, const fpmp_pool *pool,
                              const fpmp_limit *server, const fpmp_limit *any, int retry_after);

#endif
