/* request.h - the reading side of a connection: head, body, and where a request ends (dispatch.md
 * 3).
 *
 * Works on a non-blocking socket and waits with poll, always with a deadline. Knows nothing of PHP.
 */
#ifndef FPD_REQUEST_H
#define FPD_REQUEST_H

#include <signal.h>

#include "apr_pools.h"
#include "php/params.h"
#include "wire/wire.h"

#define FPD_REQUEST_BUFFER     81920         /* a leftover from the channel and a record fit */
#define FPD_REQUEST_HEAD_LIMIT (1024 * 1024) /* bytes of PARAMS */
#define FPD_REQUEST_DRAIN_MAX  (1024 * 1024) /* body bytes taken after the response */

typedef enum fpd_request_head {
    FPD_HEAD_READY,
    FPD_HEAD_NONE,    /* only management records came, all answered; the connection is clean */
    FPD_HEAD_CLOSED,  /* end of file before a request began */
    FPD_HEAD_CUT,     /* end of file inside the head; the id is known if has_begun */
    FPD_HEAD_LATE,    /* the read limit passed */
    FPD_HEAD_BAD,     /* not FastCGI, or too large; wire_error_text(error) */
    FPD_HEAD_ABORTED, /* ABORT_REQUEST before the head was whole */
    FPD_HEAD_ROLE,    /* whole, but of a role that does not exist */
    FPD_HEAD_NO_MEMORY
} fpd_request_head;

/* Called with whole records that answer management records and second requests; the receiver sends
 * them between its own records, at once if is_waiting (length may be 0 then). */
typedef void fpd_request_reply_fn(void *context, const uint8_t *record, size_t length,
                                  int is_waiting);

typedef struct fpd_request {
    /* the connection */
    int fd;
    wire_decoder decoder;
    uint8_t *buffer;
    size_t start; /* bytes not yet used: buffer[start, end) */
    size_t end;
    int is_at_eof;
    int is_broken; /* read error, deadline or bytes that are not FastCGI: never kept */
    /* the request */
    uint16_t id;
    uint16_t role;
    int has_begun;
    int keep; /* FCGI_KEEP_CONN */
    int is_peer;
    int is_ack_wanted;
    int is_body_streamed;
    const char *settings; /* FPMPOOL_INI, in params; NULL: not sent */
    const char *self;     /* FPMPOOL_SELF, likewise */
    fpd_params params;
    const uint8_t *body; /* piece of STDIN in the buffer */
    size_t body_left;
    uint64_t body_read;
    int has_body_ended;
    int is_aborted; /* ABORT_REQUEST, or end of file inside the body */
    wire_error error;
    /* limits and answers */
    int64_t timeout;                       /* microseconds without a byte */
    const volatile sig_atomic_t *end_flag; /* set: as if the time had passed; NULL: none */
    uint32_t max_connections;
    fpd_request_reply_fn *reply;
    void *reply_context;
    int has_replied; /* and nothing was waited for since */
    uint8_t values[512];
    size_t values_length;
} fpd_request;

/* Memory from pool. timeout in microseconds. */
void fpd_request_create(fpd_request *request, int64_t timeout, uint32_t max_connections,
                        fpd_request_reply_fn *reply, void *reply_context, apr_pool_t *pool);

/* A connection at a clean point, with bytes of it that were read before (at most
 * FPD_CHANNEL_BODY_MAX). The descriptor stays the caller's. */
void fpd_request_open(fpd_request *request, int fd, const void *leftover, size_t length);

/* Reads one head; the whole of it within the time limit. */
fpd_request_head fpd_request_read_head(fpd_request *request);

/* After the head: takes what is there of the body without waiting. Returns 1 when the connection
 * has ended and the body (content_length bytes; -1: up to the end of STDIN) is not whole. */
int fpd_request_is_cut(fpd_request *request, int64_t content_length);

/* Up to size bytes of the body; fewer only at its end (also an abort, end of file, the read limit).
 */
size_t fpd_request_read_body(fpd_request *request, char *to, size_t size);

/* While the response streams: has the client sent ABORT_REQUEST? Takes bytes without waiting. */
int fpd_request_was_aborted(fpd_request *request);

/* After the response: is the connection at a clean point and to be kept? Takes what is there of an
 * unread body without waiting. */
int fpd_request_settle(fpd_request *request);

/* Bytes behind the request: the start of the next one. Valid until the next call. */
size_t fpd_request_leftover(const fpd_request *request, const uint8_t **bytes);

#endif
