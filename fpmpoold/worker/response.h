/* response.h - the writing side of a connection: records, buffered and sent in as few writes as can
 * be (dispatch.md 3, 4).
 *
 * Works on a non-blocking socket and waits with poll and a deadline. Knows nothing of PHP.
 */
#ifndef FPD_RESPONSE_H
#define FPD_RESPONSE_H

#include <signal.h>
#include <stdint.h>

#include "apr_pools.h"
#include "wire/wire.h"

#define FPD_RESPONSE_RECORD 0xfff8 /* largest content of our records: no padding needed */

/* Called before the first byte of a response is sent. */
typedef void fpd_response_begin_fn(void *context);

typedef struct fpd_response {
    int fd;
    uint16_t id;
    uint8_t *buffer;
    size_t used;
    size_t record;      /* where the open record's header stands */
    int open_type;      /* enum wire_type of the open record, 0: none */
    int has_begun;      /* bytes were sent */
    int has_ended;      /* END_REQUEST was sent, or would have been */
    int is_broken;      /* the client is gone, or did not read in time */
    uint64_t body_sent; /* STDOUT content */
    int64_t timeout;    /* microseconds without a byte taken */
    fpd_response_begin_fn *on_begin;
    void *context;
    const volatile sig_atomic_t *end_flag; /* set: give up waiting; NULL: none */
} fpd_response;

/* Memory from pool; on_begin may be NULL. */
void fpd_response_create(fpd_response *response, int64_t timeout, fpd_response_begin_fn *on_begin,
                         void *context, apr_pool_t *pool);

/* A new response on a connection. The descriptor stays the caller's. */
void fpd_response_open(fpd_response *response, int fd, uint16_t id);

/* Adds to a stream (WIRE_STDOUT or WIRE_STDERR). Sends full buffers. Returns 1, or 0 when the
 * client is gone. */
int fpd_response_write(fpd_response *response, int type, const char *data, size_t length);

/* Adds whole records between ours. */
int fpd_response_add_records(fpd_response *response, const uint8_t *records, size_t length);

/* Drops what is buffered. Returns 1 when nothing of the response was sent before and it can begin
 * anew, 0 when some of it is out. */
int fpd_response_drop(fpd_response *response);

/* Sends the acknowledgement (an empty STDERR record) at once. It does not begin the response: if
 * this process dies before that, another may still answer on the connection. */
void fpd_response_acknowledge(fpd_response *response);

/* Sends what is buffered. Returns as above. */
int fpd_response_flush(fpd_response *response);

/* END_REQUEST, and everything before it, now. Once. */
int fpd_response_end(fpd_response *response, uint32_t app_status, int protocol_status);

#endif
