/* handover.h - what waits in this process goes to the next generation (lifecycle.md 4).
 *
 * When generation N+1 of a pool says READY, the master makes a SOCK_SEQPACKET pair and gives one
 * end to N+1 (RECEIVE) and one to N (DRAIN). It keeps neither, so nothing else of a hand-over goes
 * through it.
 *
 *   N -> N+1  CONNECTION  a connection at a clean point: waiting in the queue, in that order and
 *                         with its waiting time, or idle, or with a head that is not whole yet
 *   N -> N+1  SOURCE      N's own end of a hand-over from N-1: N+1 reads there from now on, N never
 *                         again, so that a chain of reloads needs no relay
 *   N -> N+1  COUNTS      to add to the counters of the status page; at the start and at the end
 *   N+1 -> N  TAKEN       acknowledges a CONNECTION or SOURCE
 *
 * One owner: N takes a connection out of epoll, sends it, and from then on neither reads nor writes
 * it and keeps its duplicate only until TAKEN. N+1 acknowledges when it has read the message and
 * before it touches the connection. So when N has read every TAKEN and then the end of the socket,
 * what was not acknowledged was touched by nobody: N takes it back and goes on as if there were no
 * next generation. Only that end proves it: as long as N+1's end is open, N+1 may read what was
 * sent. What N+1 had acknowledged ends with N+1, and what N had sent when it ends itself is N+1's.
 *
 * At most FPD_HANDOVER_WINDOW are unacknowledged: the descriptors in flight count against
 * RLIMIT_NOFILE of a user that is not root (ETOOMANYREFS: tried again after a while). N+1 does not
 * read while its table is full (takeover.h). Without progress for some seconds N serves on by
 * itself (is_giving 0) and hands over what is left when TAKEN comes after all.
 *
 * Both sides run as the pool's user, so each checks what the other says: sizes, kinds of
 * descriptors, names. A side that sees nonsense closes the socket. A pool that is removed or gets
 * another name has no next generation, and a process in answer mode takes nothing over.
 */
#ifndef FPD_HANDOVER_H
#define FPD_HANDOVER_H

#include "pool/pool.h"

#define FPD_HANDOVER_WINDOW 64

void fpd_handover_create(fpd_pool *pool);

/* fd: our end of the pair, ours from now on. To be followed by fpd_pool_enter, after which
 * fpd_handover_run does the work. Ignored (closed) when there is a next generation already. */
void fpd_handover_begin(fpd_pool *pool, int fd);

/* Is there a next generation, whether it takes anything at present or not? */
int fpd_handover_has_next(const fpd_pool *pool);

/* Sends what is at a clean point, as much as goes now; to be called after every change. */
void fpd_handover_run(fpd_pool *pool);

/* The last words before the process ends: what the workers have counted since. */
void fpd_handover_end(fpd_pool *pool);

#endif
