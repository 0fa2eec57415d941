/* sapi.h - running one request in PHP, for worker/.
 *
 * worker/ fills a request and a table of callbacks; this side knows PHP, that side the connection.
 * Everything runs in one thread of one worker process, one request at a time.
 */
#ifndef FPD_SAPI_H
#define FPD_SAPI_H

#include <signal.h>

#include "apr_pools.h"
#include "base/board.h"
#include "base/log.h"
#include "base/plan_format.h"
#include "php/params.h"

/* The connection's side. Every callback gets fpd_sapi_request.io_context. */
typedef struct fpd_sapi_io {
    /* Response bytes: the header block first, then the body. Returns 1, or 0 when the client is
     * gone (PHP is told that the connection is aborted). */
    int (*write_output)(void *context, const char *data, size_t length);
    /* Sends what is buffered now. Returns as above. */
    int (*flush)(void *context);
    /* Up to size bytes of the request body, fewer only at its end. */
    size_t (*read_body)(void *context, char *buffer, size_t size);
    /* The response is complete: ends it and sends it. Once per request. Returns as above. */
    int (*finish)(void *context);
    /* request_terminate_timeout, in two steps. Drops what has not been sent yet; returns 1 if that
     * is all there was of the response. */
    int (*drop_response)(void *context);
    /* Ends it: with 504 when nothing was sent, else cut off. The connection goes. */
    void (*time_out)(void *context, int is_dropped);
    /* Bytes for the STDERR stream. */
    void (*write_error)(void *context, const char *text, size_t length);
    /* A line for the worker's own error output, without line end. */
    void (*write_log)(void *context, fpd_log_level level, const char *text);
    /* Where the request is now. */
    void (*set_stage)(void *context, fpd_slot_stage stage);
} fpd_sapi_io;

#define FPD_SAPI_HEADERS_KEPT 8192

struct fpd_apache; /* private to php/apache.c */

/* One request. The caller zeroes it and fills the first part. Strings belong to params. */
typedef struct fpd_sapi_request {
    fpd_params *params;
    const fpd_sapi_io *io;
    void *io_context;
    int is_own_module;    /* FPMPOOL_PEER */
    int is_body_streamed; /* no length is known: the body ends with its stream */
    const char *settings; /* FPMPOOL_INI; NULL: not sent */
    const char *self;     /* FPMPOOL_SELF; NULL: PHP_SELF is SCRIPT_NAME and PATH_INFO */
    char *headers_kept;   /* FPD_SAPI_HEADERS_KEPT bytes for a copy of the header block, or NULL */

    int is_body_cut; /* read_body sets it: the client went away, or sends no more */

    /* fpd_sapi_prepare fills */
    const char *method; /* NULL: not sent */
    const char *request_uri;
    const char *query;
    const char *script; /* NULL: 404 */
    int64_t content_length;
    int is_script_named;

    /* fpd_sapi_run fills */
    int status;
    int is_finished_early; /* fastcgi_finish_request was called */
    int is_timed_out;      /* request_terminate_timeout ended it */
    size_t headers_kept_length;
    struct fpd_apache *apache; /* what the script told httpd, NULL: nothing */
    uint64_t memory_peak;
    int64_t cpu_used; /* for our module: microseconds up to the end of the response */
    int exit_status;
    char user[FPD_SLOT_USER_SIZE]; /* of HTTP authentication, "" if none */
} fpd_sapi_request;

/* In a new worker, after its signals are default: signal handling, timer, pool. board and plan stay
 * the caller's and must live as long as the process. */
apr_status_t fpd_sapi_start_worker(const fpd_board *board, const fpd_plan_pool *plan);

/* From here on the pool process may tell the request to end that began at `started` (monotonic
 * microseconds); connection is its descriptor. The flag is set when it has. */
void fpd_sapi_watch(int64_t started, int connection);
const volatile sig_atomic_t *fpd_sapi_end_flag(void);

/* Path rules and request facts; runs no PHP code. */
void fpd_sapi_prepare(fpd_sapi_request *request);

/* For answers without PHP: request->user from the Authorization header, "" if it names none. */
void fpd_sapi_read_user(fpd_sapi_request *request);

/* The whole request: environment, ini, script, output, clean-up. A script whose $_POST and $_FILES
 * would be a part of what the client wanted to send is not run. Returns when PHP is ready for the
 * next one; nothing a script does but a crash makes it not return. io->finish was called. Returns
 * 0, or -1 when PHP could not start the request and this process should end. */
int fpd_sapi_run(fpd_sapi_request *request);

/* "X-Powered-By: PHP/8.2.36", or NULL when expose_php is off: for answers that need no PHP. */
const char *fpd_sapi_powered_by(void);

/* CPU time of this process in microseconds, as of the end of the last request. */
int64_t fpd_sapi_cpu_used(void);

#endif
