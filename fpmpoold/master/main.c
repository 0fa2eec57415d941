/* main.c - fpmpoold's entry: what the command line asks for, in order.
 *
 * -v -m -i are answered by the interpreter host, -t and the daemon by this program.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "base/log.h"
#include "base/title.h"
#include "master/argv.h"
#include "master/ctl_client.h"
#include "master/hosts.h"
#include "master/known.h"
#include "master/logs.h"
#include "master/master.h"
#include "master/reload.h"

#ifndef FPD_SYSCONFDIR
#define FPD_SYSCONFDIR "/usr/local/etc/fpmpool"
#endif

/* The file that -d fpm.config names; the last one counts. */
static const char *find_defined(const fpd_conf_options *options)
{
    static const char name[] = "fpm.config=";

    for (int i = options->defines->nelts - 1; i >= 0; i--) {
        const char *define = APR_ARRAY_IDX(options->defines, i, const char *);
        if (strncmp(define, name, strlen(name)) == 0) {
            return define + strlen(name);
        }
    }
    return NULL;
}

/* The file that fpm.config in php.ini names, NULL if there is none. */
static const char *find_in_php_ini(const fpd_conf_options *options, apr_pool_t *pool)
{
    const char *file = NULL;
    const char *reason = NULL;

    if (options->php_ini_ignore) {
        return NULL;
    }
    if (fpd_known_ask(fpd_known_create(options, pool), FPD_CONF_SETTING, "fpm.config", &file,
                      &reason) != APR_SUCCESS) {
        fpd_log(FPD_LOG_WARNING,
                "cannot ask PHP whether its php.ini names a configuration (fpm.config): %s; name "
                "the file with -y",
                reason);
        return NULL;
    }
    return file != NULL && file[0] != '\0' ? file : NULL;
}

/* php-fpm's rules: -y; fpm.config of -d or php.ini; below -p; else ours if it is there, else
 * php-fpm's own file. */
static const char *find_configuration(const fpd_conf_options *options, apr_pool_t *pool)
{
    const char *named = find_defined(options);

    if (options->file != NULL) {
        return options->file;
    }
    if (named == NULL) {
        named = find_in_php_ini(options, pool);
    }
    if (named != NULL) {
        return named;
    }
    if (options->prefix != NULL) {
        return apr_psprintf(pool, "%s/etc/php-fpm.conf", options->prefix);
    }
    if (access(FPD_SYSCONFDIR "/fpmpoold.conf", F_OK) == 0) {
        return FPD_SYSCONFDIR "/fpmpoold.conf";
    }
    return apr_psprintf(pool, "/etc/php/%s/fpm/php-fpm.conf", fpd_hosts_default_version());
}

/* Becomes fpmpool-php<version> -v, -m or -i with the ini options that were given. */
static int ask_interpreter(const fpd_argv *arguments, apr_pool_t *pool)
{
    const fpd_conf_options *options = &arguments->options;
    apr_array_header_t *argv = apr_array_make(pool, 8, sizeof(const char *));
    char program[PATH_MAX];

    if (!fpd_hosts_find(program, sizeof(program), fpd_hosts_directories(pool), NULL)) {
        fpd_log(FPD_LOG_ERROR,
                "no interpreter host fpmpool-php%s was found beside this program or "
                "in libexecdir: install it",
                fpd_hosts_default_version());
        return FPD_EXIT_SOFTWARE;
    }
    APR_ARRAY_PUSH(argv, const char *) = program;
    APR_ARRAY_PUSH(argv, const char *) = apr_psprintf(pool, "-%c", arguments->question);
    fpd_hosts_add_ini_options(argv, options, pool);
    APR_ARRAY_PUSH(argv, const char *) = NULL;
    execv(program, (char *const *)argv->elts);
    fpd_log_errno(FPD_LOG_ERROR, errno, "cannot run %s", program);
    return FPD_EXIT_SOFTWARE;
}

static int say_test(const fpd_argv *arguments, const fpd_conf *conf, apr_pool_t *pool)
{
    if (conf->has_failed_pools) {
        fpd_log(FPD_LOG_ERROR, "FPM initialization failed");
        return FPD_EXIT_CONFIG;
    }
    if (arguments->test_level > 1) {
        const apr_array_header_t *lines = fpd_conf_dump(conf, pool);
        for (int i = 0; i < lines->nelts; i++) {
            fpd_log(FPD_LOG_NOTICE, "%s", APR_ARRAY_IDX(lines, i, const char *));
        }
    }
    fpd_log(FPD_LOG_NOTICE, "configuration file %s test is successful", conf->file);
    if (arguments->test_level > 1 && fpd_log_get_level() <= FPD_LOG_NOTICE) {
        fpd_log_raw("", 0);
    }
    return FPD_EXIT_OK;
}

/* -t tells what a start would say: error_log must be writable too. */
static int load_and_run(const fpd_argv *arguments, apr_pool_t *pool)
{
    fpd_conf_options options = arguments->options;
    apr_array_header_t *messages;
    apr_pool_t *conf_pool;
    fpd_conf *conf;
    apr_status_t status;

    if (apr_pool_create(&conf_pool, pool) != APR_SUCCESS) {
        return FPD_EXIT_SOFTWARE;
    }
    options.ask = fpd_known_ask;
    options.ask_context = fpd_known_create(&arguments->options, conf_pool);
    status = fpd_conf_load(&conf, &messages, &options, conf_pool);
    if (status == APR_SUCCESS) {
        fpd_log_set_level((fpd_log_level)fpd_conf_log_level(&conf->global));
    }
    if (status == APR_SUCCESS && arguments->action != FPD_ARGV_TEST) {
        return fpd_master_run(arguments, conf, messages, conf_pool, pool);
    }
    fpd_logs_say(messages);
    if (status != APR_SUCCESS) {
        fpd_log(FPD_LOG_ERROR, "FPM initialization failed");
        return FPD_EXIT_CONFIG;
    }
    return say_test(arguments, conf, conf_pool);
}

/* The daemon's own rules say where its socket is. */
static int ask_daemon(fpd_argv *arguments, apr_pool_t *pool)
{
    fpd_conf_options options = arguments->options;
    const char *path = arguments->control_socket;
    const char *reason = NULL;

    if (path == NULL) {
        options.file = find_configuration(&arguments->options, pool);
        options.ask = fpd_known_ask;
        options.ask_context = fpd_known_create(&arguments->options, pool);
        if (fpd_conf_find_control(&path, &reason, &options, pool) != APR_SUCCESS) {
            fprintf(stderr, "fpmpoold: %s; name the daemon's configuration with -y\n", reason);
            return FPD_EXIT_NO_DAEMON;
        }
    }
    if (path == NULL) {
        fprintf(stderr,
                "fpmpoold: %s has neither 'pid' nor 'control_socket', so its daemon has no control "
                "socket: set one of them and start the daemon anew\n",
                options.file);
        return FPD_EXIT_NO_DAEMON;
    }
    return fpd_ctl_client_run(path, &arguments->control, arguments->wants_json, pool);
}

/* A start, or one of the two errands of a reload. */
static int run_or_reload(fpd_argv *arguments, apr_pool_t *pool)
{
    int code;

    if (arguments->self.errand == FPD_REEXEC_RESUME) {
        if (fpd_master_resume(arguments, &code, pool)) {
            return code;
        }
        arguments->options.daemonize = 0; /* it is where it should be */
    }
    arguments->options.file = find_configuration(&arguments->options, pool);
    return arguments->self.errand == FPD_REEXEC_TEST ? fpd_reload_test(arguments, pool)
                                                     : load_and_run(arguments, pool);
}

int main(int argc, char **argv)
{
    static apr_pool_t *pool; /* static: the environment that setenv and ps see lives in it */
    fpd_reexec self;
    fpd_argv arguments;
    int code = FPD_EXIT_SOFTWARE;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        fputs("fpmpoold: the Apache Portable Runtime does not start\n", stderr);
        return FPD_EXIT_SOFTWARE;
    }
    fpd_title_prepare(argc, argv, pool);
    fpd_reexec_prepare(&self, &argc, argv, pool);
    fpd_argv_read(&arguments, argc, (const char *const *)argv, pool);
    arguments.self = self;
    switch (arguments.action) {
    case FPD_ARGV_HELP:
        fpd_argv_print_usage(argv[0]);
        code = FPD_EXIT_OK;
        break;
    case FPD_ARGV_CONTROL_HELP:
        fpd_argv_print_control_usage(argv[0]);
        code = FPD_EXIT_OK;
        break;
    case FPD_ARGV_CONTROL:
        code = ask_daemon(&arguments, pool);
        break;
    case FPD_ARGV_BAD_USAGE:
        if (arguments.control_mistake != NULL) {
            fprintf(stderr, "fpmpoold: %s\n", arguments.control_mistake);
            fpd_argv_print_control_usage(argv[0]);
        } else {
            fpd_argv_print_usage(argv[0]);
        }
        code = FPD_EXIT_USAGE;
        break;
    case FPD_ARGV_INTERPRETER:
        code = ask_interpreter(&arguments, pool);
        break;
    case FPD_ARGV_TEST:
    case FPD_ARGV_RUN:
        code = run_or_reload(&arguments, pool);
        break;
    }
    return code;
}
