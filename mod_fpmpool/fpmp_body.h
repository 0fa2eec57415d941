/* fpmp_body.h - a request's body on its way to the server (specification: apache.md 1.3).
 *
 * Read only through r->input_filters. A body is either whole before the request is sent (in memory,
 * or in memory and an unlinked file) and can then be sent again, or it is streamed, once.
 */
#ifndef FPMP_BODY_H
#define FPMP_BODY_H

#include "fpmp_conf.h"

#include <apr_file_io.h>

/* A STDIN record with its header, and behind the last one the empty record. */
#define FPMP_BODY_CHUNK (64 * 1024)

typedef enum fpmp_body_kind {
    FPMP_BODY_NONE,
    FPMP_BODY_WHOLE,  /* all there: memory, then file */
    FPMP_BODY_PARTIAL /* memory has the beginning, the rest comes from the client */
} fpmp_body_kind;

typedef struct fpmp_body {
    request_rec *r;
    fpmp_body_kind kind;
    apr_off_t length;   /* what is announced to the server, -1: unknown */
    apr_off_t received; /* from the client */
    char *memory;       /* the first bytes */
    apr_size_t memory_used;
    apr_size_t memory_size;
    apr_file_t *file; /* what memory could not take; NULL: nothing */
    apr_off_t file_length;
    int is_at_end;        /* the client sent all */
    apr_size_t keep_most; /* how much of what is streamed stays in memory for another attempt */
    void (*on_wait)(void *data); /* NULL, or: called when fpmp_body_prepare waits for the client */
    void *on_wait_data;
    int status; /* why reading failed: an HTTP status; 0: it did not */
    apr_bucket_brigade *input;
    uint8_t *chunk; /* private to fill */
    apr_size_t memory_sent;
    apr_off_t file_sent;
    int is_end_sent;
} fpmp_body;

typedef enum fpmp_body_fill {
    FPMP_FILL_READY, /* a chunk */
    FPMP_FILL_WAIT,  /* the client has nothing now */
    FPMP_FILL_END,   /* everything was handed out, the empty record included */
    FPMP_FILL_ERROR  /* body->status */
} fpmp_body_fill;

/* Looks at the request: is there a body, and is its length known? Reads nothing. */
void fpmp_body_open(fpmp_body *body, request_rec *r);

/* Reads what should be read before a server is asked: a small body wholly, a larger one as
 * FpmPoolBody says. can_stream_unknown: the server reads a body without a length to the end of the
 * stream. Returns OK or the HTTP status of a body that cannot be had (logged). */
int fpmp_body_prepare(fpmp_body *body, const fpmp_dir_conf *conf, const fpmp_pool *pool,
                      int can_stream_unknown);

/* Will it be possible to send it again, whatever happens? */
int fpmp_body_is_repeatable(const fpmp_body *body);

/* Is everything that came from the client still there? (A streamed body: while it is small, or
 * nothing of it was asked for.) */
int fpmp_body_can_rewind(const fpmp_body *body);

/* Starts over with the first byte, for another attempt. */
void fpmp_body_rewind(fpmp_body *body);

/* The next bytes to write: STDIN records. They stay valid until the next call. Never blocks on the
 * client; the length that was announced is enforced: fewer bytes are an error (400). */
fpmp_body_fill fpmp_body_next(fpmp_body *body, const uint8_t **bytes, apr_size_t *length);

/* The client sent nothing for too long: sets body->status. */
void fpmp_body_time_out(fpmp_body *body);

#endif
