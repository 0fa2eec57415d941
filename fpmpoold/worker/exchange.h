/* exchange.h - one request and its response: from the first byte of a head to the access log line.
 *
 * Joins the reading side, the writing side, PHP, the slot on the board and the access log. Knows
 * nothing of channels and lanes: what becomes of the connection is the caller's.
 */
#ifndef FPD_EXCHANGE_H
#define FPD_EXCHANGE_H

#include "apr_pools.h"
#include "base/board.h"
#include "base/channel.h"
#include "php/sapi.h"
#include "worker/access_file.h"
#include "worker/access_log.h"
#include "worker/request.h"
#include "worker/response.h"
#include "worker/worker.h"

typedef struct fpd_exchange fpd_exchange;

/* The response was ended before the script's end (fastcgi_finish_request) and nothing more will be
 * read or written: the connection may go. The callback must let go of the descriptor. */
typedef void fpd_exchange_release_fn(void *context, fpd_return_kind kind);

/* New log files may be waiting: called before a line is written. Returns the descriptor to write
 * to, or -1. */
typedef int fpd_exchange_log_fn(void *context);

struct fpd_exchange {
    const fpd_worker_setup *setup;
    fpd_slot *slot;
    uint64_t word; /* the slot's word as this worker left it */
    fpd_request request;
    fpd_response response;
    fpd_sapi_request sapi;
    fpd_access_log *log; /* NULL: none */
    fpd_log_file log_file;
    char *headers_kept;
    fpd_exchange_release_fn *release;
    fpd_exchange_log_fn *access_log;
    void *context;
    int is_released;
    int must_end;         /* the process cannot serve on */
    int64_t started;      /* fpd_monotonic_now */
    int64_t started_wall; /* microseconds */
    int64_t ready_at; /* the caller: when the pool process saw it (fpd_monotonic_now); 0: lane */
    int32_t pid;
    int64_t cpu_user; /* of the process when the request began */
    int64_t cpu_system;
};

/* Once per worker. Memory from setup->pool. */
void fpd_exchange_create(fpd_exchange *exchange, const fpd_worker_setup *setup,
                         fpd_exchange_release_fn *release, fpd_exchange_log_fn *access_log,
                         void *context);

/* Serves one request of the connection that exchange->request has open; the slot is RUNNING.
 * Returns what to do with the connection; the slot is DONE. If is_released was set the connection
 * has gone already. is_lane: for the statistics. */
fpd_return_kind fpd_exchange_run(fpd_exchange *exchange, int is_lane);

/* For timeout.c: ends the response as it stands, and lets the connection go if
 * exchange->sapi.is_finished_early. Returns 0 when the client is gone. */
int fpd_exchange_finish(void *context);

#endif
