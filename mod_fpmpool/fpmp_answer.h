/* fpmp_answer.h - what the header block of a script's answer says (specification: apache.md 1.4).
 */
#ifndef FPMP_ANSWER_H
#define FPMP_ANSWER_H

#include "fpmp_conf.h"

/* What the lines have said, as far as it is not in r already. */
typedef struct fpmp_answer {
    int has_status;
    int has_type;
    int has_modified;
    int has_etag;
    const char *location; /* NULL: none; it is in headers_out too */
    apr_off_t length;     /* Content-Length, which is not in headers_out; -1: none */
    const char *file;     /* X-Sendfile and the like: NULL: none, or FpmPoolSendfile is off */
    const char *uri;      /* X-Accel-Redirect, likewise */
} fpmp_answer;

/* Applies a whole block to r: status, headers_out, err_headers_out. Returns NULL, or the line that
 * makes the answer invalid, at which it stopped. */
const char *fpmp_answer_apply(fpmp_answer *answer, request_rec *r, const fpmp_dir_conf *conf,
                              const fpmp_pool *pool, const fpmp_server *server, const char *bytes,
                              apr_size_t length);

/* OK, or 304 or 412 by the request's conditions and the validators that the script gave. */
int fpmp_answer_meets_conditions(request_rec *r, const fpmp_answer *answer);

/* Is this block "103 Early Hints", behind which another one follows? */
int fpmp_answer_is_interim(const char *bytes, apr_size_t length);
/* Sends it to the client at once (not to one of HTTP/1.0, not of a subrequest); r stays as it was.
 */
void fpmp_answer_send_hints(request_rec *r, const char *bytes, apr_size_t length);

#endif
