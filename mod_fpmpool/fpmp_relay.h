/* fpmp_relay.h - one request on one connection: bytes out, bytes in, until its end. */
#ifndef FPMP_RELAY_H
#define FPMP_RELAY_H

#include "fpmp_body.h"
#include "fpmp_conf.h"
#include "fpmp_response.h"
#include "fpmp_stderr.h"
#include "wire/wire.h"

#include <sys/uio.h>

typedef enum fpmp_relay_result {
    FPMP_RELAY_DONE,       /* the answer is complete; its last part is not passed yet */
    FPMP_RELAY_NOT_TAKEN,  /* the connection ended before a byte was written or the server began */
    FPMP_RELAY_OVERLOADED, /* not taken: the server said so */
    FPMP_RELAY_CANT_MPX,   /* END_REQUEST with these protocol statuses */
    FPMP_RELAY_UNKNOWN_ROLE,
    FPMP_RELAY_TIMEOUT,    /* nothing came for too long: FpmPoolTimeout first=, idle= */
    FPMP_RELAY_TOO_LONG,   /* FpmPoolTimeout total= */
    FPMP_RELAY_DIED,       /* our daemon: the worker ended before it answered */
    FPMP_RELAY_TERMINATED, /* our daemon: request_terminate_timeout ended the script */
    FPMP_RELAY_LOST,       /* the connection ended before the answer did */
    FPMP_RELAY_NO_ANSWER,  /* END_REQUEST without any header */
    FPMP_RELAY_BAD_HEADER, /* response.detail */
    FPMP_RELAY_LARGE_HEADER,
    FPMP_RELAY_SHORT,      /* END_REQUEST before the promised Content-Length */
    FPMP_RELAY_PROTOCOL,   /* not FastCGI: protocol_error */
    FPMP_RELAY_BAD_STATUS, /* bad_status; only if avoids_statuses */
    FPMP_RELAY_CLIENT_GONE,
    FPMP_RELAY_CLIENT_BODY, /* body->status */
    FPMP_RELAY_FILTER       /* an output filter failed: response.filter_error */
} fpmp_relay_result;

/* A request's way up to this attempt, which is counted. */
typedef struct fpmp_course {
    apr_time_t start;
    apr_time_t end;                 /* 0: not over */
    apr_interval_time_t waiting;    /* for its turn in httpd; -1: nothing is limited there */
    apr_interval_time_t connecting; /* time that the last connect() took; 0 on a kept connection */
    int attempts;
    const fpmp_server *server; /* private to fpmp_notes: what is noted */
    unsigned noted;
} fpmp_course;

/* Lives in r->pool. The caller zeroes it and fills the first group. */
typedef struct fpmp_relay {
    request_rec *r;
    const fpmp_dir_conf *conf;
    const fpmp_pool *pool;
    const fpmp_server *server;
    fpmp_timeouts timeouts;
    apr_time_t began; /* this attempt: now */
    fpmp_course *course;
    fpmp_body *body;
    struct iovec head; /* BEGIN and PARAMS */
    int fd;
    int awaits_ack;      /* the server says when it starts: lost before that is "not taken" */
    int avoids_statuses; /* those of FpmPoolHealth status= are not answers: another server is asked
                          */

    /* what came of it */
    int is_clean;       /* the connection stands between two requests */
    apr_status_t error; /* of FPMP_RELAY_LOST and _NOT_TAKEN */
    wire_error protocol_error;
    int bad_status;
    int has_ended; /* END_REQUEST came: app_status */
    uint32_t app_status;
    wire_facts facts;       /* only from our daemon; what is not told is -1 */
    apr_time_t first_byte;  /* 0: none came */
    int has_output;         /* bytes of a response came */
    apr_time_t client_left; /* FpmPoolOnAbort finish: the script went on from there; 0: no */
    fpmp_response response;

    /* private */
    fpmp_stderr log;
    wire_decoder decoder;
    uint8_t values[WIRE_FACTS_MAX]; /* content of a record of facts that came in pieces */
    apr_size_t values_used;
    struct iovec out[2]; /* not yet written: out[out_at .. out_count-1] */
    int out_at;
    int out_count;
    int client; /* descriptor of the client's connection, -1: none to poll */
    int waits_for_client;
    int is_noted; /* fpmp_notes_answer was called */
    int is_send_broken;
    int is_touched; /* at least a byte went out */
    int is_readable;
    int is_more_likely; /* the last read filled its room */
    int false_wakes;
    apr_time_t progress;        /* when the server last gave or took a byte */
    int is_progress_now;        /* it has just taken some */
    apr_time_t client_progress; /* when the client last gave one */
    apr_off_t discarded;
} fpmp_relay;

/* Sends the request and receives the answer; response holds what the client has not got yet. The
 * connection stays open in any case. Finish with fpmp_response_finish, _take_back or _break, then
 * _close. */
fpmp_relay_result fpmp_relay_run(fpmp_relay *relay);

#endif
