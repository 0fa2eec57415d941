/* listen.h - listening sockets of pools (spec/php-fpm.md 4.7, lifecycle.md 5). */
#ifndef FPD_LISTEN_H
#define FPD_LISTEN_H

#include "apr_pools.h"
#include "base/plan_format.h"

/* Binds and listens as the plan says; *fd is non-blocking, close-on-exec and the caller's. A stale
 * unix socket is replaced; an address that somebody else has is tried again until patient_until
 * (fpd_monotonic_now), which blocks. Logs what is wrong in php-fpm's words. */
apr_status_t fpd_listen_open(int *fd, const fpd_plan_pool *plan, int64_t patient_until,
                             apr_pool_t *scratch);

/* After a reload that kept the address: new owner, group, mode and backlog. */
apr_status_t fpd_listen_adjust(int fd, const fpd_plan_pool *plan);

/* Unlinks the socket of a unix address; no-op for TCP. */
void fpd_listen_unlink(const char *address);

/* The address of a socket as php-fpm writes it in its log: the path, or ip:port without brackets.
 */
const char *fpd_listen_describe(int fd, apr_pool_t *pool);

/* Parts of host:port, [v6]:port or a port alone: *host (NULL: the loopback address; "::" for a port
 * alone) from pool, *port in address, *flags for getaddrinfo. */
void fpd_listen_split(const char *address, const char **host, const char **port, int *flags,
                      apr_pool_t *pool);

/* Is it host:port or a bare port (else a path)? */
int fpd_listen_is_tcp(const char *address);

#endif
