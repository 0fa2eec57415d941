/* fpmp_env.h - a request's environment as FastCGI bytes (specification: apache.md 1.2). */
#ifndef FPMP_ENV_H
#define FPMP_ENV_H

#include "fpmp_conf.h"
#include "fpmp_root.h"

#include <sys/uio.h>

/* What the encoder cannot see in the request. */
typedef struct fpmp_env_facts {
    int keeps_connection; /* sets FCGI_KEEP_CONN */
    int has_body;
    apr_off_t body_length; /* bytes that will be sent, if has_body; -1: unknown */
    int wants_ack;         /* our daemon only: FPMPOOL_ACK */
    fpmp_roots *roots;     /* paths go out with their document root resolved; NULL: as they are */
} fpmp_env_facts;

/* Fills r->subprocess_env with the CGI variables and encodes it for that server: *head is
 * BEGIN_REQUEST, PARAMS and the empty PARAMS record, in memory of r->pool. Returns OK, or the HTTP
 * status (logged) of a request whose parameters are larger than FpmPoolMaxParams or than its server
 * can read, or for which a rule of FpmPoolSetEnvIf could not be evaluated. */
int fpmp_env_encode(request_rec *r, const fpmp_dir_conf *conf, const fpmp_pool *pool,
                    const fpmp_server *server, const fpmp_env_facts *facts, struct iovec *head);

#endif
