/* logs.h - the master's log files, and what pools say (lifecycle.md 2). */
#ifndef FPD_LOGS_H
#define FPD_LOGS_H

#include "apr_pools.h"
#include "conf/conf.h"

typedef struct fpd_logs {
    apr_pool_t *pool;      /* of the names; made anew with each change */
    const char *error_log; /* path, "syslog", or NULL: stderr */
    int error_fd;          /* -1: none open */
} fpd_logs;

/* Opens error_log (0600, append) and makes it this process's sink by php-fpm's rules: in the
 * foreground on a terminal, or with -O, everything goes to stderr instead. stderr gets every line
 * too, until fpd_logs_settle. Logs its own failure. The names are copied; memory is below pool. */
apr_status_t fpd_logs_open(fpd_logs *logs, const fpd_conf_global *global, int is_foreground,
                           int force_stderr, apr_pool_t *pool);
/* In an executed master: goes on with what the one before had open; error_fd -1 and a path: opens
 * it again. global: for syslog. Before it, lines go to stderr. */
void fpd_logs_inherit(fpd_logs *logs, const char *error_log, int error_fd,
                      const fpd_conf_global *global, apr_pool_t *pool);
/* A reload: the error_log of the new configuration, opened anew, unless everything goes to stderr.
 * If it cannot be opened, the old one stays, which is logged. */
void fpd_logs_change(fpd_logs *logs, const fpd_conf_global *global, apr_pool_t *pool);

/* Start-up is over: error_log alone. */
void fpd_logs_settle(const fpd_logs *logs);

/* SIGUSR1. */
apr_status_t fpd_logs_reopen(fpd_logs *logs);

/* The log files of a pool; -1: it has none, or it could not be opened. */
typedef struct fpd_logs_pair {
    int access_log;
    int slow_log;
} fpd_logs_pair;

/* Opens them as the master: 0600, append, no symlink as last part. Logs failures; returns 1 when
 * all that the plan names are open. Close with fpd_logs_close_pair. */
int fpd_logs_open_pair(fpd_logs_pair *logs, const fpd_plan_pool *plan);
void fpd_logs_close_pair(fpd_logs_pair *logs);

/* Logs the findings of a configuration load (array of fpd_conf_message). */
void fpd_logs_say(const apr_array_header_t *messages);

/* What one pool's family may write into the error log, and how much of it. */
typedef struct fpd_logs_source {
    const char *name;     /* pool */
    int is_raw_allowed;   /* decorate_workers_output = no */
    int64_t window_start; /* microseconds */
    unsigned window_lines;
    unsigned suppressed;
    char partial[1024]; /* an unfinished line of the output pipe */
    size_t partial_length;
} fpd_logs_source;

/* Is there room for one more line because of this source in this second? It counts as said. */
int fpd_logs_has_room(fpd_logs_source *source);

/* Reads what is there (bounded per call) and logs it behind "[pool NAME] ". Return 0 at end of
 * file. */
int fpd_logs_take_datagrams(fpd_logs_source *source, int fd);
int fpd_logs_take_output(fpd_logs_source *source, int fd);

#endif
