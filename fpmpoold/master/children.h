/* children.h - one interpreter host process: its descriptors, its start, its messages.
 *
 * A child is one generation of one pool, in pool mode or in answer mode. What it means for the pool
 * is pools.h's business.
 */
#ifndef FPD_CHILDREN_H
#define FPD_CHILDREN_H

#include <sys/types.h>

#include "apr_pools.h"
#include "base/board.h"
#include "base/channel.h"
#include "base/loop.h"
#include "base/plan_format.h"
#include "master/logs.h"
#include "master/permits.h"
#include "master/state.h"

typedef enum fpd_child_state { /* numbers that state.h carries to other versions */
                               FPD_CHILD_STARTING,
                               FPD_CHILD_READY,
                               FPD_CHILD_LEAVING,  /* said IDLE, was told LEAVE */
                               FPD_CHILD_DRAINING, /* was told DRAIN */
                               FPD_CHILD_STOPPING  /* was told STOP */
} fpd_child_state;

typedef struct fpd_child fpd_child;

typedef void fpd_child_message_fn(fpd_child *child, const fpd_message *message);

struct fpd_child {
    apr_pool_t *pool; /* owns the struct, descriptors and registrations */
    fpd_loop *loop;
    void *owner; /* fpd_pool of pools.h */
    pid_t pid;
    fpd_child_state state;
    int is_answering;   /* answer mode */
    int64_t started_at; /* fpd_monotonic_now */
    int64_t stop_by;    /* DRAINING: STOP then; LEAVING, STOPPING: KILL then; 0: no limit */
    int channel;
    int log_fd;
    int output_fd;
    int board_fd;           /* read-only */
    const fpd_board *board; /* a tenant can write every byte of it; NULL: not there */
    uint32_t slot_count;    /* of board, as it was made */
    int has_successor;      /* hands its counters over too */
    fpd_loop_id channel_id, log_id, output_id;
    fpd_logs_source source;
    fpd_permit_holder permit; /* pools_permits.c's */
    fpd_child_message_fn *on_message;
};

/* What a host accepts from; -1: none. */
typedef struct fpd_child_sockets {
    int listener;
    int status_listener; /* pm.status_listen */
} fpd_child_sockets;

/* Forks and execs `program` with --pool, or --answer and reason when reason is not NULL. sockets
 * are handed on, and stay the caller's. Returns an errno with everything undone; *step names what
 * failed. */
apr_status_t fpd_children_start(fpd_child **child, const char *program, const fpd_plan_pool *plan,
                                const char *reason, fpd_child_sockets sockets, fpd_loop *loop,
                                fpd_child_message_fn *on_message, void *owner, const char **step,
                                apr_pool_t *parent);

/* What an executed master needs to go on with it, except role; texts stay the child's. */
void fpd_children_save(const fpd_child *child, fpd_state_child *saved);
/* The child that was saved, of the pool `name`. Always makes one, whose end will be reaped: a
 * process that cannot be watched is killed, and what was wrong is returned. */
apr_status_t fpd_children_resume(fpd_child **child, const fpd_state_child *saved, const char *name,
                                 fpd_loop *loop, fpd_child_message_fn *on_message, void *owner,
                                 apr_pool_t *parent);

/* Hands what it has sent so far to on_message, before a decision that depends on it. */
void fpd_children_take_messages(fpd_child *child);

/* Sends without blocking; a child that does not read its channel is told by signal: STOP is
 * SIGTERM. */
void fpd_children_tell(fpd_child *child, fpd_message_type message);
/* The same with a number. Returns 0 when the child does not read its channel. */
int fpd_children_tell_count(fpd_child *child, fpd_message_type message, uint32_t count);
/* It has said IDLE and may exit; KILL after 5 s, since nobody accepts for its pool meanwhile. */
void fpd_children_leave(fpd_child *child);
/* Ends, step by step. STOP now, KILL after 5 s; or DRAIN, and STOP after `patience` seconds (0: at
 * once). successor: the process of the same pool that takes queue and kept connections over, by a
 * socket pair of which nothing stays here (pool/handover.h); NULL: none. */
void fpd_children_stop(fpd_child *child);
void fpd_children_drain(fpd_child *child, int patience, fpd_child *successor);
/* To be called a few times a second while some child has stop_by set: takes the next step when its
 * time has come. */
void fpd_children_check(fpd_child *child, int64_t now);

void fpd_children_tell_logs(fpd_child *child, int access_log, int slow_log);

/* After waitpid: a line about its end, a warning when nobody asked for it. */
void fpd_children_say_end(const fpd_child *child, int wait_status);

/* Its counters at this moment; zeros when its board is not there (a master of another version
 * started it). Counts of workers are bounded, the rest is a tenant's word. */
void fpd_children_read_board(const fpd_child *child, fpd_board_view *view);

/* After waitpid: reads what is left of log and output, then frees everything. */
void fpd_children_destroy(fpd_child *child);

#endif
