/* state.h - what a master hands to itself when it is executed anew (lifecycle.md 4.2).
 *
 * A sealed memfd with a record (record.h): fields are known by their names, so that a later version
 * reads what an earlier one wrote, and the other way round. One table in state.c for each struct
 * here: a new member is a member, a line in its table, and who fills and who uses it. A number
 * keeps its meaning for ever. A member of type FPD_RECORD_DESCRIPTOR stays open over the exec by
 * being in its table; all other descriptors are close-on-exec. Times are of fpd_monotonic_now,
 * which goes on.
 */
#ifndef FPD_STATE_H
#define FPD_STATE_H

#include "apr_pools.h"
#include "base/log_file.h"
#include "base/record.h"
#include "conf/conf.h"

typedef enum fpd_state_role {
    FPD_STATE_DRAINED, /* an old generation */
    FPD_STATE_CURRENT,
    FPD_STATE_NEXT
} fpd_state_role;

/* fpd_child of children.h */
typedef struct fpd_state_child {
    int32_t pid;
    int32_t role;  /* fpd_state_role */
    int32_t state; /* fpd_child_state */
    int32_t is_answering;
    int64_t started_at;
    int64_t stop_by;
    int channel;
    int log_fd;
    int output_fd;
    int board_fd;
    int32_t slot_count;
    int32_t has_successor;
    /* fpd_logs_source */
    int64_t window_start;
    int32_t window_lines;
    int32_t suppressed;
    int32_t is_raw_allowed;
    fpd_record_bytes partial;
    /* fpd_permit_holder */
    int32_t needs_permits; /* it was started below process.max */
    int32_t permits_held;
    int32_t permits_wanted;
    int32_t permits_owed;
    int32_t is_urgent;
} fpd_state_child;

/* fpd_pool_record of pools_private.h */
typedef struct fpd_state_pool {
    fpd_plan_pool *plan;
    int listener;        /* -1: not bound */
    int status_listener; /* likewise; of pm.status_listen */
    const char *reason;
    int64_t backoff;
    int64_t retry_at; /* 0: no start is due */
    int32_t is_asleep;
    int32_t is_removed;
    int32_t is_settled;
    int32_t orphans; /* of process.max */
    int32_t has_crashed;
    int32_t is_changing;
    int32_t is_drained;
    const char *failure;
    apr_array_header_t *children; /* fpd_state_child; never NULL */
} fpd_state_pool;

/* A socket of the service manager's, of listeners.c */
typedef struct fpd_state_socket {
    int fd;
    int32_t is_taken;
} fpd_state_socket;

/* fpd_job of jobs.h */
typedef struct fpd_state_job {
    int64_t number;
    int32_t state;
    int32_t verb;
    int64_t give_up_at;
    const char *pool;
    const char *note;
    const char *outcome;
} fpd_state_job;

/* fpd_master of master_private.h */
typedef struct fpd_state {
    const char *version; /* of who wrote it */
    int32_t pid;         /* of who reads it too */
    const char *program; /* fpd_reexec */
    const char *file;    /* the configuration's, as the title shows it */
    fpd_conf_global global;
    int32_t is_background;
    int32_t replace_all;
    int32_t reload_again;
    int32_t wants_emergency;
    int64_t no_emergency_before;
    int32_t orphans; /* of process.max, those of pools that are gone too */
    int32_t may_have_orphans;
    const char *pid_file;  /* NULL: none was written */
    const char *error_log; /* fpd_logs */
    int error_fd;
    fpd_log_file losses; /* of the log */
    int verdict_fd;      /* the new plan: verdict.h */
    int control_fd;      /* fpd_control */
    const char *control_path;
    int64_t started_at; /* fpd_commands */
    int64_t last_job;
    int64_t ended_requests; /* fpd_pools */
    int64_t ended_slow_requests;
    int32_t is_notified;       /* fpd_systemd: READY was sent once */
    int32_t is_told_to_reload; /* RELOADING was, and no READY behind it */
    int64_t notified_requests;
    apr_array_header_t *jobs;    /* fpd_state_job; never NULL */
    apr_array_header_t *sockets; /* fpd_state_socket; never NULL */
    apr_array_header_t *pools;   /* fpd_state_pool *, in the order of the configuration */
    fpd_record_bytes carried;    /* int32_t: every descriptor that was left open */
} fpd_state;

/* Empty values, descriptors -1. From pool. */
fpd_state *fpd_state_create(apr_pool_t *pool);
fpd_state_pool *fpd_state_add_pool(fpd_state *state, apr_pool_t *pool);
fpd_state_child *fpd_state_add_child(fpd_state_pool *pool);
fpd_state_job *fpd_state_add_job(fpd_state *state);
fpd_state_socket *fpd_state_add_socket(fpd_state *state);

/* The descriptors in it, int. From pool. */
apr_array_header_t *fpd_state_descriptors(const fpd_state *state, apr_pool_t *pool);

/* The bytes (fills `carried`), and the same in a sealed memfd, close-on-exec and the caller's. */
fpd_record_bytes fpd_state_encode(fpd_state *state, apr_pool_t *scratch);
apr_status_t fpd_state_write(fpd_state *state, int *fd, apr_pool_t *scratch);

/* All from pool. APR_EGENERAL: it is not whole, or a value is none that this version can use. */
apr_status_t fpd_state_decode(fpd_state **state, const char *data, size_t length, apr_pool_t *pool);
apr_status_t fpd_state_read(fpd_state **state, int fd, apr_pool_t *pool);

/* After the exec: makes the descriptors close-on-exec again. One that is not open becomes -1, and
 * one that was carried for a member that this version does not have is closed. */
void fpd_state_claim(fpd_state *state, apr_pool_t *scratch);

#endif
