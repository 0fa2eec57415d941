/* announce.h - what a worker shows of its request on the board, for status pages and time limits.
 */
#ifndef FPD_ANNOUNCE_H
#define FPD_ANNOUNCE_H

#include "base/board.h"
#include "php/sapi.h"

/* A request begins: nothing is known of it but `started` (fpd_monotonic_now). */
void fpd_announce_begin(fpd_slot *slot, int64_t started);

/* What fpd_sapi_prepare has found out. */
void fpd_announce_request(fpd_slot *slot, const fpd_sapi_request *sapi);

/* The user of HTTP authentication, if there is one. */
void fpd_announce_user(fpd_slot *slot, const fpd_sapi_request *sapi);

/* It has ended: what the last request was and cost. Times in microseconds. */
void fpd_announce_end(fpd_slot *slot, const fpd_sapi_request *sapi, int64_t duration, int64_t cpu);

#endif
