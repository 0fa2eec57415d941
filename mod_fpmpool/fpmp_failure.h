/* fpmp_failure.h - what a failed request means: status, state note, log line (apache.md 1.5). */
#ifndef FPMP_FAILURE_H
#define FPMP_FAILURE_H

#include "fpmp_limit.h"
#include "fpmp_relay.h"
#include "fpmp_share.h"

typedef struct fpmp_failure {
    fpmp_relay_result result;
    int status;
    int level;
    const char *state; /* note fpmpool-state */
    const char *id;    /* "FPMPnnnn: " */
    const char *text;  /* what happened, and the next step */
} fpmp_failure;

/* Never NULL; results of success have none. */
const fpmp_failure *fpmp_failure_find(fpmp_relay_result result);

/* is_worth: log at the failure's level, otherwise for debugging only. suppressed: how many such
 * lines were left out before. */
void fpmp_failure_log(const fpmp_relay *relay, const fpmp_server *server,
                      const fpmp_failure *failure, int was_passed, int is_worth,
                      unsigned suppressed);

void fpmp_failure_log_connect(request_rec *r, const fpmp_pool *pool, const fpmp_server *server,
                              apr_status_t error, int is_worth, unsigned suppressed);

/* All servers of the pool have their max= of requests. */
void fpmp_failure_log_limit(request_rec *r, const fpmp_pool *pool, fpmp_complaint *about);

/* FpmPoolLimit has refused it. */
void fpmp_failure_log_refusal(request_rec *r, const fpmp_pool *pool, const fpmp_limit *limit,
                              fpmp_limit_answer answer, fpmp_complaint *about);
/* A check says neither that the server is well nor that it is not (for debugging). */
void fpmp_failure_log_busy(const server_rec *where, const fpmp_pool *pool,
                           const fpmp_server *server, const char *reason);

/* A server changes its state: one line for each change. */
void fpmp_failure_log_down(const server_rec *where, const fpmp_pool *pool,
                           const fpmp_server *server, const char *reason);
void fpmp_failure_log_up(const server_rec *where, const fpmp_pool *pool, const fpmp_server *server,
                         unsigned rise);

#endif
