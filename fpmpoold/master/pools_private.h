/* pools_private.h - what the parts of pools.h share: one pool's record, and all of them.
 *
 * Private to pools.c (one pool's life), pools_ends.c (how its processes end),
 * pools_change.c (what operators ask of it), pools_status.c
 * (its second address), pools_all.c (all pools at once), pools_report.c, pools_permits.c
 * (process.max) and pools_state.c (over an exec).
 */
#ifndef FPD_POOLS_PRIVATE_H
#define FPD_POOLS_PRIVATE_H

#include "master/listeners.h"
#include "master/pools.h"

typedef struct fpd_pool_record {
    apr_pool_t *pool; /* owns the record and its texts */
    fpd_pools *pools;
    const char *name;
    apr_pool_t *plan_pool; /* owns plan and address */
    fpd_plan_pool *plan;   /* the newest that this pool could take */
    const char *address;   /* of listener */
    int listener;          /* -1: not bound */
    int status_listener;   /* of plan->status_listen; -1: not bound, or there is none */
    fpd_child *current;    /* serves */
    fpd_child *next;       /* takes over when READY */
    char reason[512];      /* why the last start failed; "": it did not */
    int64_t backoff;       /* before the next start, microseconds */
    fpd_loop_timer *retry;
    fpd_loop_id sleep_id;        /* set: no process, the master polls the listener */
    fpd_loop_id status_sleep_id; /* and the second one, if it is bound */
    unsigned child_count;        /* processes alive */
    int is_removed;              /* stopped for good; freed with its last child */
    int was_asleep;              /* when its listener was released */
    int is_settled;              /* was ready or failed once since its start */
    uint32_t orphans;            /* of process.max: workers that outlived their pool process */
    int has_crashed;             /* a worker died of SIGSEGV or SIGBUS since its generation began */
    int is_changing;   /* asked to start, to be replaced or drained, without an outcome so far */
    int is_drained;    /* by an operator: answers 503 until it is replaced */
    char failure[512]; /* why the last change did not come about; "": it did */
} fpd_pool_record;

struct fpd_pools {
    apr_pool_t *pool;
    fpd_loop *loop;
    const char *const *host_directories;
    fpd_pools_change_fn *on_change;
    void *context;
    fpd_listeners *listeners;
    apr_hash_t *records;  /* name -> fpd_pool_record */
    apr_hash_t *children; /* pid -> fpd_child, every host alive */
    fpd_loop_timer *check;
    fpd_permits permits; /* process.max */
    fpd_loop_timer *permit_timer;
    int64_t permit_warned_at; /* 0: never */
    fpd_pools_crash_fn *on_crash;
    int may_have_orphans; /* a pool process was killed or crashed: its workers may run on */
    int is_finishing;
    unsigned changing;       /* records with is_changing */
    uint64_t ended_requests; /* of processes that are gone */
    uint64_t ended_slow_requests;
};

/* A record with a copy of the plan, which is not among pools->records yet; NULL: no memory. */
fpd_pool_record *fpd_pools_make_record(fpd_pools *pools, const fpd_plan_pool *plan);
/* fpd_child_message_fn of every child. */
void fpd_pools_take_message(fpd_child *child, const fpd_message *message);
/* No process: the next connection starts one. */
void fpd_pools_fall_asleep(fpd_pool_record *record);
/* Some child has stop_by set. */
void fpd_pools_watch_limits(fpd_pools *pools);
/* fpd_loop_timer_fn: ends those whose time has come. */
void fpd_pools_check_limits(void *context);

/* Ends of a child that are watched: STOP now; DRAIN, and STOP after `patience` seconds. successor:
 * as in children.h. */
void fpd_pools_stop_child(fpd_child *child);
void fpd_pools_drain_child(fpd_child *child, int patience, fpd_child *successor);

/* A change is asked for. It ends when it has come about (failure "") or not; without a change that
 * is under way this means nothing. */
void fpd_pools_begin_change(fpd_pool_record *record);
void fpd_pools_end_change(fpd_pool_record *record, const char *failure);

/* A generation that is not wanted any more finishes what runs. NULL is ignored. successor: as in
 * children.h. */
void fpd_pools_retire(fpd_pool_record *record, fpd_child *child, fpd_child *successor);

/* Starts what the pool should have: a new generation, or somebody who answers. */
void fpd_pools_start_host(fpd_pool_record *record);

/* Before it is freed: its counters go into those of processes that are gone, unless they are in its
 * successor's. */
void fpd_pools_keep_counts(fpd_pools *pools, const fpd_child *child);

/* What starts is not wanted any more. */
void fpd_pools_drop_next(fpd_pool_record *record);

/* The listeners go to the spare ones; a process that serves has its own descriptors of them. */
void fpd_pools_give_listener_up(fpd_pool_record *record);

/* process.max, pools_permits.c: a child begins, has sent WANT or GIVE_BACK, or is gone. */
void fpd_pools_permit_child(fpd_child *child);
/* The same for one that an earlier image of the master had. */
void fpd_pools_resume_permits(fpd_child *child, const fpd_state_child *saved);
void fpd_pools_take_want(fpd_child *child, const fpd_message *message);
void fpd_pools_take_permits_back(fpd_child *child, const fpd_message *message);
void fpd_pools_forget_permits(fpd_child *child);
void fpd_pools_create_permits(fpd_pools *pools);

/* pm.status_listen. Binds it if the plan has one and it is not bound; a failure is logged, and is
 * no reason not to serve. */
void fpd_pools_status_open(fpd_pool_record *record);
void fpd_pools_status_give_up(fpd_pool_record *record);
/* Owner, mode and the like after a reload that kept it. */
void fpd_pools_status_adjust(fpd_pool_record *record);
/* The pool sleeps: whoever asks there wakes it too, by `wake` with the record. Rouse ends that. */
void fpd_pools_status_sleep(fpd_pool_record *record, fpd_loop_event_fn *wake);
void fpd_pools_status_rouse(fpd_pool_record *record);

#endif
