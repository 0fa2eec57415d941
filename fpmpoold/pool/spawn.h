/* spawn.h - worker processes: fork, channel, output, death (design section 7: prepare, child_use,
 * parent_use, discard).
 */
#ifndef FPD_SPAWN_H
#define FPD_SPAWN_H

#include <sys/types.h>

#include "base/channel.h"
#include "pool/output.h"
#include "pool/pool.h"

/* What the pool process knows of the worker in one slot. */
typedef struct fpd_child {
    fpd_pool *pool;
    uint32_t slot;
    pid_t pid;   /* 0: the slot is free */
    int channel; /* -1: gone */
    fpd_loop_id channel_watch;
    fpd_outputs output;
    int64_t started_at;    /* monotonic */
    int is_ready;          /* said READY_WORKER */
    int is_parked;         /* CLAIMED by us, but not to be used (dispatch.md 1: taken back) */
    int is_retiring;       /* was told to exit by the process manager or the drain */
    int is_dead;           /* reaped; its last messages are being read */
    uint64_t claimed_word; /* of an ASSIGN not known to be taken up; 0: none */
    int64_t assigned_at;
    fpd_connection_id assigned;
    int64_t ended_at;      /* limits.h: when a request was over its limit; 0: never */
    int64_t ended_request; /* and request_started of the request that was meant */
    int tracer;            /* slow_requests.h: channel to the worker's tracer, -1: none */
    fpd_loop_id tracer_watch;
    int64_t slow_request; /* request_started of the last one that was found slow, 0: none */
    int64_t slow_elapsed; /* and how long it had been running then */
    int is_trace_awaited; /* the tracer has not answered yet */
} fpd_child;

typedef struct fpd_spawn fpd_spawn;

void fpd_spawn_create(fpd_pool *pool);

/* The child of that slot (pid 0 if there is none); slot below pool->slot_count. */
fpd_child *fpd_spawn_child(fpd_pool *pool, uint32_t slot);
/* Can requests be given to it, if its slot is idle? */
int fpd_spawn_is_usable(const fpd_child *child);
/* Processes that hold a slot. */
uint32_t fpd_spawn_total(const fpd_pool *pool);

/* Forks the workers that the process manager wants at start. */
void fpd_spawn_first(fpd_pool *pool);
/* The process manager's tick. */
void fpd_spawn_tick(fpd_pool *pool);
/* Requests wait and no worker is idle. */
void fpd_spawn_follow_queue(fpd_pool *pool);
/* No worker lives and back-off is long. */
int fpd_spawn_is_failing(const fpd_pool *pool);

/* A worker has died that nobody had retired, after so many microseconds: another one, if the
 * process manager wants it. */
void fpd_spawn_replace(fpd_pool *pool, int64_t lived, int has_served);
/* The master has granted workers (process.max). */
void fpd_spawn_take_grant(fpd_pool *pool, uint32_t count);
/* Retires one idle worker, whatever the process manager thinks. 0: there is none. */
int fpd_spawn_retire_idle(fpd_pool *pool);

/* Of a child that was reaped: takes what it has sent, then its channel is closed. */
void fpd_spawn_hear_out(fpd_child *child);
/* ... adds its counters to those of workers that are gone, and frees its slot. */
void fpd_spawn_free(fpd_child *child);

void fpd_spawn_kill(fpd_child *child, int signal_number);
void fpd_spawn_kill_all(fpd_pool *pool, int signal_number);

/* Tells every worker to exit when it has finished what it does, now if it is idle. */
void fpd_spawn_retire_all(fpd_pool *pool);

/* Sends the new access.log to every worker, then raises the board's log generation. */
void fpd_spawn_send_logs(fpd_pool *pool);

#endif
