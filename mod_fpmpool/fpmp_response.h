/* fpmp_response.h - a script's answer on its way to the client (specification: apache.md 1.4).
 *
 * The relay gives the bytes of STDOUT, as they lie in the receive blocks of this object; the header
 * block becomes r's status and headers, what follows becomes buckets that point into the blocks.
 * Nothing reaches the client before pass, flush or finish: until then the answer can be taken back.
 */
#ifndef FPMP_RESPONSE_H
#define FPMP_RESPONSE_H

#include "fpmp_conf.h"

#include <apr_buckets.h>
#include <apr_file_io.h>

typedef enum fpmp_response_result {
    FPMP_RESPONSE_GOOD,
    FPMP_RESPONSE_BAD_HEADER,   /* detail says what */
    FPMP_RESPONSE_LARGE_HEADER, /* more than FpmPoolMaxHeader */
    FPMP_RESPONSE_SHORT,        /* fewer bytes than its Content-Length */
    FPMP_RESPONSE_CLIENT_GONE,  /* the client does not take it any more */
    FPMP_RESPONSE_FILTER        /* an output filter failed: filter_error */
} fpmp_response_result;

typedef struct fpmp_response {
    request_rec *r;
    const fpmp_dir_conf *conf;
    const fpmp_pool *pool;
    const fpmp_server *server;
    int has_header;       /* the header block is complete and applied */
    int is_passed;        /* something went to the client: it cannot be taken back */
    int is_abandoned;     /* nothing goes to the client any more: it is gone */
    int is_discarding;    /* the body is not wanted (HEAD, 304, redirect) */
    int status;           /* what the handler shall return instead of an answer; OK: none */
    const char *redirect; /* internal redirect to make instead of an answer, or NULL */
    const char *detail;   /* of a bad header: its first bytes, escaped */
    apr_status_t filter_error;
    apr_off_t left;    /* bytes that Content-Length still promises; -1: none given */
    apr_off_t surplus; /* bytes beyond it */
    int is_dirty;      /* has header or data that the client has not seen */
    /* private: */
    char *block; /* where the next bytes are received */
    apr_bucket *block_owner;
    apr_size_t block_size;
    apr_size_t block_used;
    apr_bucket_brigade *held;
    apr_size_t held_length;
    int holds_all;         /* nothing is passed before the end (FpmPoolBuffer, FpmPoolSendfile) */
    apr_file_t *file;      /* what goes before `held`: stored, or sent in place of the body */
    apr_off_t file_length; /* bytes of it that are still to be passed */
    int hints_sent;
    char *header; /* a header block that came in pieces */
    apr_size_t header_used;
    apr_size_t header_size;
    apr_size_t header_searched;
    /* what r had before the answer was applied to it, for take_back */
    int is_applied;
    int status_before;
    const char *status_line_before;
    const apr_table_t *headers_before; /* NULL: none */
    const apr_table_t *err_headers_before;
} fpmp_response;

void fpmp_response_open(fpmp_response *response, request_rec *r, const fpmp_dir_conf *conf,
                        const fpmp_pool *pool, const fpmp_server *server);

/* Room to receive into; the bytes given to feed must lie there. */
char *fpmp_response_room(fpmp_response *response, apr_size_t *room);
/* `length` bytes of the room are used now. */
void fpmp_response_received(fpmp_response *response, apr_size_t length);

/* Takes bytes of STDOUT. */
fpmp_response_result fpmp_response_feed(fpmp_response *response, const char *bytes,
                                        apr_size_t length);

/* Is there something that should go to the client when the server pauses? */
int fpmp_response_may_flush(const fpmp_response *response);
/* Passes held data when there is much of it (FpmPoolBuffer: stores it); flush passes all and asks
 * the filters to send it, if it may. */
fpmp_response_result fpmp_response_pass_much(fpmp_response *response);
fpmp_response_result fpmp_response_flush(fpmp_response *response);

/* The client is gone; what else comes is thrown away. */
void fpmp_response_abandon(fpmp_response *response);

/* Is it complete, as far as the script promised? GOOD, or SHORT. */
fpmp_response_result fpmp_response_check_end(const fpmp_response *response);
/* Passes the rest and the end of the response, in one brigade. */
fpmp_response_result fpmp_response_finish(fpmp_response *response);

/* Forgets an answer of which nothing was passed, so that an error status can be returned. */
void fpmp_response_take_back(fpmp_response *response);
/* Ends one that was begun so that the client sees that it is cut. */
void fpmp_response_break(fpmp_response *response);
/* Frees the receive block. Call once, after everything else. */
void fpmp_response_close(fpmp_response *response);

#endif
