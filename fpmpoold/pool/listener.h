/* listener.h - accepting connections (dispatch.md 2: EMFILE; php-fpm's listen.allowed_clients and
 * pm.status_listen). */
#ifndef FPD_LISTENER_H
#define FPD_LISTENER_H

#include "pool/pool.h"

/* Prepares; nothing is accepted yet. */
apr_status_t fpd_listener_create(fpd_pool *pool);

/* Starts to poll the listening sockets. */
apr_status_t fpd_listener_start(fpd_pool *pool);

/* Accepts what the kernel has accepted already: whoever closes the socket next would reset it. */
void fpd_listener_take_rest(fpd_pool *pool);

/* Leaves the listening sockets for good and closes our descriptors of them. */
void fpd_listener_leave(fpd_pool *pool);

/* May the table take one more descriptor? */
int fpd_listener_has_room(const fpd_pool *pool);

/* Is the peer of a TCP connection that was not accepted here among listen.allowed_clients? Logs if
 * not. */
int fpd_listener_allows(const fpd_pool *pool, int fd);

/* A descriptor was closed: accepts again if accepting had stopped for want of one. */
void fpd_listener_descriptor_freed(fpd_pool *pool);

#endif
