/* fpmp_constant.h - variables that have the same value in all requests of a server or virtual host,
 * encoded once (architecture.md 5).
 */
#ifndef FPMP_CONSTANT_H
#define FPMP_CONSTANT_H

#include "fpmp_conf.h"

/* A variable as httpd makes it: its value is known by its address. */
typedef struct fpmp_constant {
    const char *name;
    const char *value; /* NULL: the end of a list */
    uint8_t *pair;     /* of FastCGI, `size` bytes */
    apr_size_t size;
} fpmp_constant;

extern const char fpmp_constant_interface[]; /* of GATEWAY_INTERFACE */

/* post_config hook, behind all others: encodes them for each server, in pconf. */
int fpmp_constant_prepare(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main);

/* Those of a request's server, in the order in which fpmp_cgi puts them into the table. */
const fpmp_constant *fpmp_constant_list(const request_rec *r);

#endif
