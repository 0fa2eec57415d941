/* facts.h - what a worker tells our module about a request (wire.h, wire_facts); other front ends
 * get nothing. Only buffers: no system call. */
#ifndef FPD_FACTS_H
#define FPD_FACTS_H

#include "worker/exchange.h"

/* Before anything of the response is buffered: who serves it, and how long it waited. */
void fpd_facts_tell_worker(fpd_exchange *exchange);

/* The response was dropped and an answer of ours takes its place. */
void fpd_facts_tell_timeout(fpd_exchange *exchange);

/* Before END_REQUEST: what it cost so far. */
void fpd_facts_tell_cost(fpd_exchange *exchange);

#endif
