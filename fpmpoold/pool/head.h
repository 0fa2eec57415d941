/* head.h - reads a whole request from bytes that stay where they are (dispatch.md 2 and 4).
 *
 * Pure. The pool process looks at a request (peeked, not taken) to tell ping and status from the
 * rest, to see FPMPOOL_PEER, and to know whether a request has arrived whole.
 */
#ifndef FPD_HEAD_H
#define FPD_HEAD_H

#include <stddef.h>
#include <stdint.h>

typedef enum fpd_head_progress {
    FPD_HEAD_NOTHING = 0, /* not even BEGIN_REQUEST */
    FPD_HEAD_BEGUN,       /* BEGIN_REQUEST is here, PARAMS not to their end */
    FPD_HEAD_WHOLE,       /* PARAMS are here, the body not to its end */
    FPD_HEAD_REQUEST,     /* everything to the end of STDIN (FILTER: DATA) */
    FPD_HEAD_BROKEN       /* not FastCGI, or PARAMS larger than params_size */
} fpd_head_progress;

typedef struct fpd_head_text {
    const char *bytes; /* into params; NULL: not sent */
    size_t length;
} fpd_head_text;

typedef struct fpd_head {
    fpd_head_progress progress;
    uint16_t request_id; /* from BEGUN on */
    uint16_t role;
    int keep;        /* FCGI_KEEP_CONN */
    size_t consumed; /* REQUEST: bytes that this request takes */
    /* from WHOLE on */
    fpd_head_text script_name;
    fpd_head_text query_string;
    fpd_head_text method;
    int has_file; /* SCRIPT_FILENAME or PATH_TRANSLATED was sent */
    int is_peer;  /* FPMPOOL_PEER=1 */
} fpd_head;

/* Reads `length` bytes from a clean point. params gets the content of the PARAMS stream; texts of
 * *head point into it. Returns head->progress. */
fpd_head_progress fpd_head_read(fpd_head *head, const uint8_t *bytes, size_t length,
                                uint8_t *params, size_t params_size);

/* Is text exactly this string? A NULL string equals nothing. */
int fpd_head_equals(const fpd_head_text *text, const char *string);

#endif
