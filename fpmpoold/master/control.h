/* control.h - the control socket: who may ask, one line in, lines out (lifecycle.md 7).
 *
 * Its clients are bounded in number, bytes and time, and nothing here waits for one. What the
 * commands mean is in commands.h.
 */
#ifndef FPD_CONTROL_H
#define FPD_CONTROL_H

#include "apr_pools.h"
#include "base/loop.h"
#include "master/commands.h"

typedef struct fpd_control fpd_control;

/* Binds `path` (0600; a stale socket there is replaced) and serves it. NULL after a WARNING that
 * says why and what to do: the daemon serves on without it. All from pool, which must live as long
 * as the loop. */
fpd_control *fpd_control_open(const char *path, fpd_commands *commands, fpd_loop *loop,
                              apr_pool_t *pool);

/* The same with a socket that listens already: a new image of the master goes on with the
 * descriptor of the old one. fd belongs to the control from then on. */
fpd_control *fpd_control_adopt(int fd, const char *path, fpd_commands *commands, fpd_loop *loop,
                               apr_pool_t *pool);

/* For the next image: the listening descriptor (-1: none) and its path. Clients that wait come
 * again by themselves. NULL is ignored, here and below. */
int fpd_control_descriptor(const fpd_control *control);
const char *fpd_control_path(const fpd_control *control);
int fpd_control_is_at(const fpd_control *control, const char *path);

/* Jobs may have ended: tells the clients that wait. */
void fpd_control_check(fpd_control *control);

/* The next image takes the socket over: clients that have not asked are told to come again, others
 * know what to do. If it comes to no exec, all goes on. */
void fpd_control_leave(fpd_control *control);

/* The daemon ends: the last words for who waits, then closes and unlinks. */
void fpd_control_close(fpd_control *control);

#endif
