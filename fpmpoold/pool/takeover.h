/* takeover.h - the receiving side of a hand-over (handover.h says the protocol).
 *
 * A source is a socket where an older process of this pool sends. There may be several: that of the
 * generation before, those that it had not read to their end, and one for each newer generation
 * that was given up while it started.
 */
#ifndef FPD_TAKEOVER_H
#define FPD_TAKEOVER_H

#include "pool/pool.h"

#define FPD_TAKEOVER_SOURCES 64

void fpd_takeover_create(fpd_pool *pool);

/* Reads from fd, which is ours from now on. Closed at once when this process takes nothing over (it
 * drains without a next generation, or has too many sources): the giver then serves on. */
void fpd_takeover_begin(fpd_pool *pool, int fd);

/* Is there any source? */
int fpd_takeover_is_open(const fpd_pool *pool);

/* Closes every source. */
void fpd_takeover_close_all(fpd_pool *pool);

/* For handover.c: source `number` is to be passed on. Returns its descriptor, which is not read any
 * more, or -1 if there is none or it was passed already. */
int fpd_takeover_let_go(fpd_pool *pool, uint32_t number);
/* It was not passed after all: is read again. */
void fpd_takeover_resume(fpd_pool *pool, uint32_t number);
/* The next generation has it. Returns 0 if it was not passed. */
int fpd_takeover_forget(fpd_pool *pool, uint32_t number);

#endif
