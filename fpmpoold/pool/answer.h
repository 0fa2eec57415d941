/* answer.h - answers without a worker: 503, 502, 504, ping and status (design rule 4, dispatch.md
 * 4 and 5).
 *
 * Only for connections that no worker has, or whose worker has been reaped. A foreign client gets a
 * response with headers; our module (FPMPOOL_PEER=1) gets a bare END_REQUEST OVERLOADED where
 * nothing was begun.
 */
#ifndef FPD_ANSWER_H
#define FPD_ANSWER_H

#include <stdint.h>

#include "pool/connections.h"
#include "wire/wire.h"

/* Nothing was begun and nothing will be: reads the request's head within limits, then answers 503
 * with Retry-After and END_REQUEST OVERLOADED. reason is copied; it goes out on FCGI_STDERR. */
void fpd_answer_refuse(fpd_connection *connection, const char *reason);

/* A bare END_REQUEST OVERLOADED, then the end of the connection. */
void fpd_answer_not_taken(fpd_connection *connection, uint16_t request_id);

typedef enum fpd_answer_failure {
    FPD_ANSWER_DIED,     /* 502: the worker ended in the middle */
    FPD_ANSWER_TIMED_OUT /* 504: request_terminate_timeout */
} fpd_answer_failure;

/* The request was begun by a worker that is gone (reaped) and had written nothing of a response:
 * answers 502 or 504 with cause on FCGI_STDERR, then ends the connection. facts: what our module is
 * told besides; NULL for other front ends. */
void fpd_answer_failed(fpd_connection *connection, uint16_t request_id, fpd_answer_failure failure,
                       const char *cause, wire_facts *facts);

typedef enum fpd_answer_match {
    FPD_ANSWER_NOT_OURS,   /* an ordinary request */
    FPD_ANSWER_INCOMPLETE, /* the head has not arrived whole */
    FPD_ANSWER_GIVEN       /* it was ping or status and is being answered; may be gone already */
} fpd_answer_match;

/* Every worker is busy: answers ping.path and pm.status_path. */
fpd_answer_match fpd_answer_try(fpd_connection *connection);

/* A request that came by pm.status_listen: ping.path, pm.status_path, and for everything else
 * php-fpm's 404. No worker, no PHP, whatever it asks for. */
void fpd_answer_page_only(fpd_connection *connection);

/* An event for a connection in state ANSWERED, and the end of its time. */
void fpd_answer_continue(fpd_connection *connection, uint32_t events);
void fpd_answer_expire(fpd_connection *connection);

#endif
