/* plan_format.h - one pool's configuration as a value, and its form in a sealed memfd.
 *
 * conf/ fills it, the master writes it, the interpreter host reads it. It holds one pool only: no
 * other tenant's secrets reach a pool process (design rule 2). Numbers are checked and defaults
 * applied before it is written; the reader checks the envelope and every length all the same.
 *
 * The bytes are a record (record.h), each field behind its name: a master that was upgraded reads
 * the plans of the one before it, and a host may be older or newer than its master. A field that is
 * missing has the value of fpd_plan_pool_create; one that is not known is passed over and named in
 * `unknown`, so that it can be said.
 */
#ifndef FPD_PLAN_FORMAT_H
#define FPD_PLAN_FORMAT_H

#include <stdint.h>
#include <sys/types.h>

#include "apr_pools.h"
#include "apr_tables.h"

/* Descriptors of an interpreter host at exec; everything above the last one is closed. */
enum fpd_host_fd {
    FPD_FD_CHANNEL = 3,  /* channel.h, to the master */
    FPD_FD_PLAN = 4,     /* this format */
    FPD_FD_BOARD = 5,    /* board.h, writable */
    FPD_FD_LOG = 6,      /* log.h datagrams, to the master */
    FPD_FD_LISTENER = 7, /* bound and listening, non-blocking */
    FPD_FD_STATUS = 8,   /* the same of pm.status_listen, or /dev/null: none */
    FPD_FD_FIRST_FREE = 9
};
#define FPD_FD_ANSWER 3 /* of a host that is only asked for constants: a pipe to who asks */
/* Descriptor 0 is /dev/null; 1 and 2 are one pipe that the master reads line by line into its log
 * (libphp's start-up messages). */

typedef enum fpd_pm { FPD_PM_STATIC = 1, FPD_PM_DYNAMIC, FPD_PM_ONDEMAND } fpd_pm;

/* One env[K]=V or php_(admin_)value/flag[K]=V, in file order. */
typedef struct fpd_plan_pair {
    const char *key;
    const char *value;
    int is_admin; /* php_admin_* */
} fpd_plan_pair;

#define FPD_PLAN_CHILDREN_MAX 65536     /* pm.max_children */
#define FPD_PLAN_UNSET        INT32_MIN /* an int32 key that was not set, where that differs from 0 */

typedef struct fpd_plan_pool {
    /* identity */
    const char *name;
    const char *config_file; /* for messages and titles, as given */
    int32_t config_line;     /* of the section */
    int32_t is_root_allowed; /* -R */
    /* php-fpm's keys (spec/php-fpm.md 1.6); strings NULL when unset; times in seconds */
    const char *prefix;
    const char *user, *group;
    int32_t uid, gid;      /* resolved; -1: do not change (master is not root) */
    const char *user_name; /* passwd name and home of a user given by name, else NULL */
    const char *user_home;
    const char *listen;
    int32_t listen_backlog;
    const char *listen_owner, *listen_group, *listen_acl_users, *listen_acl_groups;
    int32_t listen_mode; /* FPD_PLAN_UNSET: 0660 */
    const char *listen_allowed_clients;
    int32_t process_priority; /* FPD_PLAN_UNSET: leave */
    int32_t process_dumpable;
    int32_t pm; /* fpd_pm */
    int32_t max_children, start_servers, min_spare_servers, max_spare_servers, max_spawn_rate;
    int32_t process_idle_timeout;
    int32_t max_requests;
    const char *status_path, *status_listen, *ping_path, *ping_response;
    const char *access_log, *access_format;
    const char *slowlog;
    int32_t request_slowlog_timeout, request_slowlog_trace_depth;
    int32_t request_terminate_timeout, request_terminate_track_finished;
    int32_t rlimit_files; /* 0: leave */
    int32_t rlimit_core;  /* 0: leave, -1: unlimited */
    const char *chroot, *chdir;
    int32_t catch_workers_output, decorate_workers_output, clear_env;
    const char *limit_extensions; /* blank-separated; "": no limit */
    const char *apparmor_hat;
    /* ours */
    const char *php;              /* version, "8.2"; NULL: the default one */
    int32_t queue_max;            /* 0: effective backlog */
    int32_t queue_timeout;        /* seconds, 0: none */
    int32_t pool_idle_timeout;    /* seconds */
    int32_t request_head_timeout; /* seconds, default 60 */
    int32_t max_memory;           /* of one worker, KiB; 0: no limit */
    const char *failure;          /* why this pool cannot serve (missing user, ...); NULL: it can */
    /* of the master's command line and global section, for the host */
    const char *php_ini_path; /* -c */
    int32_t php_ini_ignore;   /* -n */
    int32_t extended_info;    /* -e */
    int32_t log_level;        /* fpd_log_level */
    int32_t process_control_timeout;
    int32_t master_pid;
    int32_t log_limit;
    int32_t has_process_max; /* process.max is set: workers need permits */
    /* lists; never NULL after fpd_plan_pool_create */
    apr_array_header_t *env;            /* fpd_plan_pair; "$NAME" values resolved */
    apr_array_header_t *php_values;     /* fpd_plan_pair */
    apr_array_header_t *defines;        /* const char *: -d, "key=value" */
    apr_array_header_t *suppress_paths; /* const char * */
    /* not a part of the bytes: a field in them that this version does not know; NULL: none */
    const char *unknown;
} fpd_plan_pool;

/* An empty plan: strings NULL, lists empty, numbers as php-fpm's defaults. Owned by pool. */
fpd_plan_pool *fpd_plan_pool_create(apr_pool_t *pool);

/* Writes the plan into a new memfd, seals it (WRITE too) and returns it rewound, close-on-exec, the
 * caller's. */
apr_status_t fpd_plan_pool_write(const fpd_plan_pool *plan, int *fd, apr_pool_t *scratch);

/* Reads one back; strings live in pool. APR_EGENERAL if the envelope is not ours, cut or damaged,
 * or a number is out of its range. fd stays the caller's. */
apr_status_t fpd_plan_pool_read(fpd_plan_pool **plan, int fd, apr_pool_t *pool);

/* A copy that shares nothing with the original; NULL if it could not be made. */
fpd_plan_pool *fpd_plan_pool_copy(const fpd_plan_pool *plan, apr_pool_t *pool);

/* Are two plans equal in everything that needs a new generation (all but name, file and line)? */
int fpd_plan_pool_equals(const fpd_plan_pool *left, const fpd_plan_pool *right);

/* The same bytes in memory, for lists of pools (the reload child's answer). */
typedef struct fpd_plan_bytes {
    char *data;
    size_t length;
} fpd_plan_bytes;
fpd_plan_bytes fpd_plan_pool_encode(const fpd_plan_pool *plan, apr_pool_t *pool);
apr_status_t fpd_plan_pool_decode(fpd_plan_pool **plan, const char *data, size_t length,
                                  apr_pool_t *pool);

#endif
