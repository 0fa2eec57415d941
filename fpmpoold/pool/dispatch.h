/* dispatch.h - which worker gets which request (dispatch.md 1 and 2).
 *
 * The only place that claims slots. Assigns, takes back what is not taken up within a second, gives
 * untouched requests of dead workers to others, and answers for the rest by the slot's state.
 */
#ifndef FPD_DISPATCH_H
#define FPD_DISPATCH_H

#include "pool/connections.h"
#include "pool/spawn.h"

void fpd_dispatch_create(fpd_pool *pool);

/* connection has BEGIN_REQUEST at its head (request_id and ready_at are set): to an idle worker,
 * into the queue, or answered. Any state but WORKER. */
void fpd_dispatch_request(fpd_connection *connection);

/* More of a waiting request has arrived: is it ping or status? */
void fpd_dispatch_look_again(fpd_connection *connection);

/* A connection in state QUEUED leaves the queue. */
void fpd_dispatch_forget(fpd_connection *connection);

/* A request that had left the queue and that nobody has begun: back to its head. */
void fpd_dispatch_requeue(fpd_connection *connection);

/* Gives waiting requests to idle workers, and asks for more workers if some still wait. Does
 * nothing while they are handed over. */
void fpd_dispatch_run(fpd_pool *pool);

/* A message from a worker about connections: RETURN, REFUSED, AVAILABLE. Returns 0 when it is
 * malformed. */
int fpd_dispatch_message(fpd_child *child, const fpd_message *message);

/* The child has been reaped and its channel read to the end: settles the connections it had. how:
 * "exited with code 1". Does not touch the slot. */
void fpd_dispatch_bury(fpd_child *child, const char *how);

/* Claims the child's slot if it is idle and tells it to exit. Returns 1 if so. */
int fpd_dispatch_retire(fpd_child *child);

/* Refuses everything that waits, with this reason. */
void fpd_dispatch_refuse_all(fpd_pool *pool, const char *reason);

#endif
