/* farewell.h - closing an idle kept connection without losing a request (dispatch.md 4).
 *
 * The reading side is shut first: a whole request that had arrived is still served, an incomplete
 * one is answered OVERLOADED without running PHP, and whatever the client writes later fails on its
 * side as "not taken".
 */
#ifndef FPD_FAREWELL_H
#define FPD_FAREWELL_H

#include "pool/connections.h"

/* Any state in which no worker has it; the connection may be gone afterwards, or on its way to a
 * worker. */
void fpd_farewell_say(fpd_connection *connection);

/* Says farewell to at most `count` idle kept connections, longest idle first. */
void fpd_farewell_oldest(fpd_pool *pool, int count);

#endif
