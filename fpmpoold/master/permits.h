/* permits.h - the ledger of process.max: how many workers each pool process may have.
 *
 * Pure: numbers and a time in, decisions out; pools_permits.c sends the messages. A pool process
 * asks before it forks and gives back after it has reaped. What it says is not trusted: it can only
 * ask for as many as its pool may have, and give back what it holds.
 *
 * Who comes first: a pool process without a worker, and among these one with waiting requests; then
 * waiting requests; then whoever was served longest ago. All of it is plain numbers, so that a
 * re-executed master can carry it on.
 */
#ifndef FPD_PERMITS_H
#define FPD_PERMITS_H

#include <stdint.h>

/* One pool process. Zeroed by the caller before it joins. */
typedef struct fpd_permit_holder {
    uint32_t held;      /* workers it may have */
    uint32_t wanted;    /* how many more it asks for */
    uint32_t most;      /* it never gets more */
    uint32_t owed;      /* asked back and not given yet */
    int32_t is_urgent;  /* requests wait there */
    int64_t turn;       /* of its last grant */
    int64_t granted_at; /* microseconds */
    struct fpd_permit_holder *next;
    struct fpd_permit_holder **link; /* what points here; NULL: not joined */
} fpd_permit_holder;

typedef struct fpd_permits {
    uint32_t limit;    /* process.max; 0: none */
    uint32_t granted;  /* the sum of `held` */
    uint32_t orphaned; /* workers whose pool process is gone, and which still run */
    int64_t turns;     /* grants so far */
    int64_t asked_at;  /* of the last reclaim, microseconds */
    int32_t is_reported;
    fpd_permit_holder *first;
} fpd_permits;

/* Holders live in their owner's memory until they leave. most: of their pool, at least 1. */
void fpd_permits_join(fpd_permits *permits, fpd_permit_holder *holder, uint32_t most);
void fpd_permits_leave(fpd_permits *permits, fpd_permit_holder *holder);

/* Replaces what it wanted; more than it may have is cut. */
void fpd_permits_want(fpd_permit_holder *holder, uint32_t count, int is_urgent);
/* More than it holds is cut. */
void fpd_permits_give_back(fpd_permits *permits, fpd_permit_holder *holder, uint32_t count);

/* The next grant, booked: to whom, and how many. NULL: nobody wants any, or none is free. */
fpd_permit_holder *fpd_permits_grant(fpd_permits *permits, uint32_t *count, int64_t now);

/* Does anybody have waiting requests and no worker? Then fpd_permits_reclaim is to be asked every
 * FPD_PERMITS_PATIENCE microseconds. */
int fpd_permits_is_starving(const fpd_permits *permits);
#define FPD_PERMITS_PATIENCE 1000000

/* Who is to be asked for one back, booked as owed: the one with the most, or another one when that
 * took too long. NULL: nobody, or nobody now. */
fpd_permit_holder *fpd_permits_reclaim(fpd_permits *permits, int64_t now);

/* After all grants: is somebody refused, and was nobody the last time? */
int fpd_permits_should_warn(fpd_permits *permits);

#endif
