/* pool.h - the pool process: one struct for the whole process, its phases, its talk with the
 * master.
 *
 * One per process, made by host.c after PHP is started (or without PHP in answer mode). The other
 * files of this folder each own one member and get the whole struct.
 */
#ifndef FPD_POOL_H
#define FPD_POOL_H

#include <stdint.h>

#include "apr_pools.h"
#include "base/board.h"
#include "base/channel.h"
#include "base/loop.h"
#include "base/plan_format.h"
#include "pool/grants.h"
#include "pool/pm.h"
#include "pool/queue.h"
#include "worker/worker.h"

#define FPD_POOL_PEEK_SIZE   (256 * 1024) /* more than a unix socket's default buffer holds */
#define FPD_POOL_PARAMS_SIZE (64 * 1024)

/* What a worker process runs: fpd_worker_run, or a test's own. Never returns. */
typedef void fpd_pool_worker_fn(const fpd_worker_setup *setup);

/* What the process was given; descriptors stay the caller's until the process ends, except that
 * REOPEN replaces (closes) the two log files and DRAIN closes the listeners. */
typedef struct fpd_pool_setup {
    const fpd_plan_pool *plan;
    fpd_board *board;
    int master;          /* channel to the master */
    int log;             /* datagrams to the master */
    int listener;        /* bound, listening, non-blocking */
    int status_listener; /* the same of pm.status_listen, or -1 */
    int access_log;      /* or -1 */
    int slow_log;        /* or -1 */
    int file_limit;      /* soft RLIMIT_NOFILE of workers, 0: none */
    const char *refusal; /* answer mode: why nothing is served; else NULL */
    fpd_pool_worker_fn *run_worker;
} fpd_pool_setup;

typedef enum fpd_pool_phase {
    FPD_POOL_SERVING = 0,
    FPD_POOL_DRAINING, /* another generation has the listener: finish what is here */
    FPD_POOL_LEAVING,  /* ondemand and idle for long: as draining, then tell the master */
    FPD_POOL_STOPPING  /* end now */
} fpd_pool_phase;

struct fpd_connections;
struct fpd_handover;
struct fpd_listener;
struct fpd_spawn;
struct fpd_takeover;

typedef struct fpd_pool {
    apr_pool_t *memory;
    fpd_pool_setup setup;
    const fpd_plan_pool *plan;
    fpd_loop *loop;
    fpd_board *board;
    uint32_t slot_count; /* of the board, learned when it was still only ours */
    struct fpd_connections *connections;
    struct fpd_listener *listener;
    struct fpd_listener *status_listener; /* or NULL */
    struct fpd_spawn *spawn;
    struct fpd_handover *handover;
    struct fpd_takeover *takeover;
    int is_giving; /* the next generation takes whatever is at a clean point (handover.h) */
    fpd_queue *queue;
    fpd_pm_state pm;
    fpd_grants grants; /* process.max */
    fpd_pool_phase phase;
    int64_t phase_since;
    int64_t busy_at; /* when there was last a worker or a waiting request */
    int is_master_gone;
    int64_t leave_at; /* 0, or IDLE was sent and this is the end of waiting for the answer */
    fpd_loop_id master_watch;
    fpd_loop_timer *phase_timer;  /* runs the phase's next step */
    fpd_loop_timer *tick_timer;   /* the process manager's second */
    fpd_loop_timer *assign_timer; /* an ASSIGN that is not taken up */
    fpd_loop_timer *queue_timer;  /* queue.timeout */
    fpd_loop_timer *limit_timer;  /* request_terminate_timeout */
    struct fpd_slow_requests *slow_requests;
    fpd_loop_timer *fork_timer; /* forks that were put off */
    fpd_message_buffer *buffer; /* for every receive; valid until the next one */
    uint8_t *peek;              /* FPD_POOL_PEEK_SIZE, for looking at heads */
    uint8_t *params;            /* FPD_POOL_PARAMS_SIZE */
} fpd_pool;

/* Makes everything but workers; board must be mapped writable. Owned by memory. */
apr_status_t fpd_pool_create(fpd_pool **pool, const fpd_pool_setup *setup, apr_pool_t *memory);

/* Forks the first workers, polls the listener, tells the master READY and runs until the phase is
 * over. Returns the exit code. */
int fpd_pool_run(fpd_pool *pool);

/* Something changed that the current phase may wait for: looks again soon. */
void fpd_pool_wake(fpd_pool *pool);

/* Enters a later phase; an earlier one is ignored. */
void fpd_pool_enter(fpd_pool *pool, fpd_pool_phase phase);

#endif
