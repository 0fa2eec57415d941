/* conf.h - php-fpm's configuration files: lexer, one table of keys, cross checks (spec/php-fpm.md
 * 1).
 *
 * Pure reading: opens configuration files and looks up users, nothing else; binds nothing, creates
 * no logs. Runs in the master at start, and in a child of it for a reload.
 */
#ifndef FPD_CONF_H
#define FPD_CONF_H

#include "apr_pools.h"
#include "apr_tables.h"
#include "base/plan_format.h"

/* Global section (spec 1.5). Strings NULL when unset; times in seconds. */
typedef struct fpd_conf_global {
    const char *pid;
    const char *error_log; /* resolved path or "syslog" */
    const char *syslog_ident;
    int32_t syslog_facility;
    int32_t log_buffering, log_limit;
    int32_t log_level; /* FPD_PLAN_UNSET: see fpd_conf_log_level */
    int32_t emergency_restart_threshold, emergency_restart_interval;
    int32_t process_control_timeout; /* default 30 here (lifecycle.md 4.4) */
    int32_t process_max, process_priority, daemonize;
    int32_t rlimit_files, rlimit_core;
    const char *events_mechanism;
    int32_t systemd_interval;
    int32_t has_systemd_interval; /* a file sets it to more than 0 */
    const char *control_socket;   /* NULL: none */
} fpd_conf_global;

/* The values of a global section that says nothing. */
void fpd_conf_preset(fpd_conf_global *global);

/* What applies: the configured fpd_log_level, or NOTICE. */
int fpd_conf_log_level(const fpd_conf_global *global);

typedef struct fpd_conf {
    const char *file; /* as given or the default */
    fpd_conf_global global;
    apr_array_header_t *pools;    /* fpd_plan_pool *, in file order; hidden status pools excluded */
    int has_failed_pools;         /* a pool has `failure` set: it cannot serve, the others can */
    apr_array_header_t *sections; /* private to conf/: what -tt needs beside the plans */
} fpd_conf;

/* What a configuration may ask of PHP: the value of a constant, or of a php.ini setting. */
typedef enum fpd_conf_question { FPD_CONF_CONSTANT, FPD_CONF_SETTING } fpd_conf_question;

/* Sets *value (alive as long as the context), or leaves it NULL when PHP knows no such name. An
 * error with *reason when PHP could not be asked. */
typedef apr_status_t fpd_conf_ask_fn(void *context, fpd_conf_question question, const char *name,
                                     const char **value, const char **reason);

/* What the command line says (argv.c fills it). */
typedef struct fpd_conf_options {
    const char *file;            /* -y, else the default path compiled in */
    const char *prefix;          /* -p, or NULL */
    const char *pid_file;        /* -g, or NULL */
    const char *php_ini_path;    /* -c */
    int php_ini_ignore;          /* -n */
    int extended_info;           /* -e */
    apr_array_header_t *defines; /* const char *: -d key=value */
    int daemonize;               /* -1: as configured, 0: -F, 1: -D */
    int allow_root;              /* -R */
    int is_root;                 /* geteuid() == 0 */
    int is_test;                 /* -t: nothing will be started */
    fpd_conf_ask_fn *ask;        /* NULL: PHP is not asked */
    void *ask_context;
} fpd_conf_options;

typedef enum fpd_conf_severity {
    FPD_CONF_NOTICE,
    FPD_CONF_WARNING,
    FPD_CONF_ERROR,
    FPD_CONF_ALERT
} fpd_conf_severity;

/* A finding; text is ready to print, with "[file:line] " in front where a line is known. */
typedef struct fpd_conf_message {
    fpd_conf_severity severity;
    const char *file; /* may be NULL */
    int line;         /* 0: none */
    const char *key;  /* may be NULL */
    const char *text;
} fpd_conf_message;

/* Reads and checks everything. What concerns one pool's run only (a user or group that does not
 * exist) is an error in *messages and the `failure` of that pool's plan, while the load succeeds:
 * at run time such a pool answers 503 and the others serve; -t reports it and exits 78. Always sets
 * *messages (array of fpd_conf_message, all findings, in order, the closing "failed to load
 * configuration file" or "failed to post process the configuration" included). APR_SUCCESS and
 * *conf, or APR_EGENERAL. All from pool. */
apr_status_t fpd_conf_load(fpd_conf **conf, apr_array_header_t **messages,
                           const fpd_conf_options *options, apr_pool_t *pool);

/* For a client of a running daemon: reads the files for the path of the control socket alone (NULL:
 * there is none). Mistakes in them matter only if the main file cannot be read: then an error, and
 * *reason. All from pool. */
apr_status_t fpd_conf_find_control(const char **path, const char **reason,
                                   const fpd_conf_options *options, apr_pool_t *pool);

/* -tt: lines without the log prefix (const char *), in php-fpm's order and form (spec 1.8). */
apr_array_header_t *fpd_conf_dump(const fpd_conf *conf, apr_pool_t *pool);

#endif
