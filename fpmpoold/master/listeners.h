/* listeners.h - listening sockets between two pools: what one gave up and another may take.
 *
 * In a reload an address can go from one pool to another (a pool gets a new name, two pools swap
 * their sockets). The socket itself then changes hands, and no connection that waits on it is lost.
 */
#ifndef FPD_LISTENERS_H
#define FPD_LISTENERS_H

#include "apr_pools.h"
#include "base/plan_format.h"
#include "master/activation.h"
#include "master/state.h"

typedef struct fpd_listeners fpd_listeners;

/* From now on for 5 s an address on which somebody else still listens is waited for: a previous
 * master may be on its way out (lifecycle.md 5). Later it is an error at once. */
fpd_listeners *fpd_listeners_create(apr_pool_t *pool);
/* The sockets are ours already: an address that somebody else has is an error at once. */
void fpd_listeners_never_wait(fpd_listeners *listeners);

/* The socket of the plan's address: a spare one, with the plan's owner, mode and backlog, or a new
 * one. *fd is the caller's. Logs what is wrong. */
apr_status_t fpd_listeners_open(fpd_listeners *listeners, int *fd, const fpd_plan_pool *plan,
                                apr_pool_t *scratch);

/* Sockets that a service manager bound: the first pool with such an address gets one. Their owner,
 * mode and backlog stay as they are, and they are never unlinked. */
void fpd_listeners_inherit(fpd_listeners *listeners, const fpd_activation *activation);

/* The inherited ones over an exec of the master. */
void fpd_listeners_save(const fpd_listeners *listeners, fpd_state *state);
void fpd_listeners_resume(fpd_listeners *listeners, const fpd_state *state);

/* Every pool had its turn: closes the inherited ones that nobody took, with a WARNING. */
void fpd_listeners_close_unclaimed(fpd_listeners *listeners);

/* The plan's owner, mode and backlog for a listener that stays, unless it is inherited. */
void fpd_listeners_adjust(const fpd_listeners *listeners, int fd, const fpd_plan_pool *plan);

/* Takes fd over: whoever opens that address next gets it. */
void fpd_listeners_spare(fpd_listeners *listeners, const char *address, int fd);

/* Closes what nobody took, and unlinks its path. Inherited ones stay open: the service manager has
 * them too, and a later pool may want one. */
void fpd_listeners_close_spares(fpd_listeners *listeners);

#endif
