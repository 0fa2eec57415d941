/* fpmp_queue.h - places in a pool and the queue for them, in the memory that the children share.
 *
 * A request that waits, or whose client's address is counted, has a slot in the row of its child;
 * the parent clears the slots of a child that is gone with its counts (fpmp_share_leave). The queue
 * is the slots with a ticket: the lowest is the oldest, it is woken when a place comes free, and
 * wakes the next one when it leaves. A wake that is lost with its sender is made good by the next
 * look, which each sleeper takes by itself. No locks. Needs APR only.
 */
#ifndef FPMP_QUEUE_H
#define FPMP_QUEUE_H

#include "fpmp_share.h"

#include <apr_time.h>

#define FPMP_QUEUE_LOOK apr_time_from_msec(100) /* a sleeper looks up at least that often */

/* What one request has in one pool. Zeroed: nothing, in no pool. */
typedef struct fpmp_stay {
    fpmp_share *share;
    fpmp_pool_record *record;
    int row; /* of this child */
    int has_place;
    int is_waiting;
    uint64_t ticket; /* 0: it has never waited here; it keeps it when it must wait again */
    fpmp_slot *slot; /* NULL: none */
} fpmp_stay;

/* Others that wait. */
typedef struct fpmp_queue_view {
    unsigned elders; /* that came before */
    uint64_t oldest; /* ticket of the first of them; 0: there is none */
} fpmp_queue_view;

/* Counts the client's address from now on; *others: how many of the same there are besides. 0: the
 * child has no slot left, nothing is counted. */
int fpmp_queue_count_address(fpmp_stay *stay, uint64_t address, unsigned *others);
void fpmp_queue_forget_address(fpmp_stay *stay);

/* A place among `most` (0: any number); 0: there is none. */
int fpmp_queue_take(fpmp_stay *stay, unsigned most);
void fpmp_queue_give_back(fpmp_stay *stay);

/* Joins the queue if fewer than `most` wait; 0: they do, or the child has no slot left. Leaving it
 * passes the turn on. */
int fpmp_queue_join(fpmp_stay *stay, unsigned most);
void fpmp_queue_leave(fpmp_stay *stay);

fpmp_queue_view fpmp_queue_look(const fpmp_stay *stay);

/* What to hand to _sleep; a wake that comes after this call and before _sleep is not lost. */
uint32_t fpmp_queue_listen(const fpmp_stay *stay);
/* 1: somebody woke it. */
int fpmp_queue_sleep(const fpmp_stay *stay, uint32_t heard, apr_interval_time_t longest);

/* Others under way and waiting. */
unsigned fpmp_queue_in_flight(const fpmp_stay *stay);
unsigned fpmp_queue_waiting(const fpmp_stay *stay);

/* Wakes the oldest, if somebody waits: something has come free. */
void fpmp_queue_wake(const fpmp_share *share, fpmp_pool_record *record);

/* Gives everything back. */
void fpmp_queue_end(fpmp_stay *stay);

#endif
