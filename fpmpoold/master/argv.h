/* argv.h - the command line (spec/php-fpm.md 2.1). */
#ifndef FPD_ARGV_H
#define FPD_ARGV_H

#include "apr_pools.h"
#include "conf/conf.h"
#include "master/control_line.h"
#include "master/reexec.h"

typedef enum fpd_argv_action {
    FPD_ARGV_RUN,
    FPD_ARGV_TEST,        /* -t; test_level 2 for -tt */
    FPD_ARGV_INTERPRETER, /* -v -m -i: answered by the interpreter host */
    FPD_ARGV_HELP,
    FPD_ARGV_CONTROL,      /* --ctl: a command to a running daemon */
    FPD_ARGV_CONTROL_HELP, /* --ctl help */
    FPD_ARGV_BAD_USAGE
} fpd_argv_action;

typedef struct fpd_argv {
    fpd_argv_action action;
    char question; /* 'v', 'm' or 'i' */
    int test_level;
    int force_stderr; /* -O */
    fpd_control_request control;
    const char *control_socket;  /* --ctl-socket, or NULL */
    const char *control_mistake; /* of BAD_USAGE: what is wrong with the command; else NULL */
    int wants_json;              /* -j */
    fpd_conf_options options;    /* file is set only by -y */
    fpd_reexec self;             /* filled by main, not by fpd_argv_read */
} fpd_argv;

/* Reads the arguments; everything from pool. Never prints. */
void fpd_argv_read(fpd_argv *read, int argc, const char *const *argv, apr_pool_t *pool);

/* The usage text on stdout. */
void fpd_argv_print_usage(const char *program);
void fpd_argv_print_control_usage(const char *program);

#endif
