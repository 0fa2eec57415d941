/* argv.c - php-fpm's options, short and long, over apr_getopt.
 *
 * Runs in the master before anything else; pure but for the usage text.
 */
#include "master/argv.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apr_getopt.h"
#include "apr_strings.h"

/* Options without a letter: beyond every char. */
#define OPTION_CTL        256
#define OPTION_CTL_SOCKET 257

static const apr_getopt_option_t options[] = {
    {"php-ini", 'c', 1, "PATH  php.ini file, or the directory of it"},
    {"no-php-ini", 'n', 0, "      no php.ini and no scan directory"},
    {"define", 'd', 1, "K[=V] ini entry K (default value 1); may be repeated"},
    {"profile-info", 'e', 0, "      compile with extended information for debuggers and profilers"},
    {"help", 'h', 0, "      this help"},
    {"usage", '?', 0, "      this help"},
    {"info", 'i', 0, "      phpinfo() as text"},
    {"modules", 'm', 0, "      PHP's modules"},
    {"version", 'v', 0, "      PHP's version"},
    {"prefix", 'p', 1, "DIR   prefix of relative paths"},
    {"pid", 'g', 1, "FILE  pid file (the configuration's 'pid' wins)"},
    {"fpm-config", 'y', 1, "FILE  configuration file"},
    {"test", 't', 0, "      test the configuration; twice: print it too"},
    {"daemonize", 'D', 0, "      run in the background, whatever the configuration says"},
    {"nodaemonize", 'F', 0, "      stay in the foreground"},
    {"force-stderr", 'O', 0, "      log to stderr in the foreground, even if it is no terminal"},
    {"allow-to-run-as-root", 'R', 0, "      allow pools to run as root"},
    {"ctl", OPTION_CTL, 1,
     "COMMAND [POOL]  tells a running daemon something; `--ctl help` lists what"},
    {"ctl-socket", OPTION_CTL_SOCKET, 1,
     "PATH  --ctl: the control socket, not looked up in a file"},
    {"json", 'j', 0, "      --ctl status: as JSON"},
    {NULL, 0, 0, NULL},
};

void fpd_argv_print_usage(const char *program)
{
    const char *slash = strrchr(program, '/');

    printf("Usage: %s [options]\n", slash != NULL ? slash + 1 : "php");
    for (const apr_getopt_option_t *option = options; option->name != NULL; option++) {
        if (option->optch >= OPTION_CTL) {
            printf("      --%-21s %s\n", option->name, option->description);
        } else {
            printf("  -%c, --%-21s %s\n", option->optch, option->name, option->description);
        }
    }
    fflush(stdout);
}

void fpd_argv_print_control_usage(const char *program)
{
    const char *slash = strrchr(program, '/');

    printf("Usage: %s [-y FILE] --ctl COMMAND [POOL]\n"
           "  status [POOL]         how daemon and pools are; -j: as JSON\n"
           "  ready [POOL]          does it serve? 1 if a pool fails, drains or is still starting\n"
           "  reload [POOL]         tests the configuration and puts new generations in place: of "
           "all\n"
           "                        pools, or of one, whatever else changed in the files\n"
           "  restart [POOL]        new generations with the configuration that the daemon has\n"
           "  opcache-reset [POOL]  the same: a new generation has an empty OPcache\n"
           "  drain POOL            finishes what runs and answers 503, until restart or reload\n"
           "No running request is ended by any of these before process_control_timeout.\n"
           "The socket is found by the configuration (-y, -p, -g as for the daemon), or by\n"
           "--ctl-socket PATH. Exit codes: 0 done, 1 refused or failed, 64 usage, 69 no daemon.\n",
           slash != NULL ? slash + 1 : "fpmpoold");
    fflush(stdout);
}

static const char *define_entry(const char *argument, apr_pool_t *pool)
{
    return strchr(argument, '=') != NULL ? argument : apr_pstrcat(pool, argument, "=1", NULL);
}

/* What the interpreter is told; 0: another option. */
static int take_ini(fpd_argv *read, int option, const char *argument, apr_pool_t *pool)
{
    switch (option) {
    case 'c':
        read->options.php_ini_path = argument;
        break;
    case 'n':
        read->options.php_ini_ignore = 1;
        break;
    case 'e':
        read->options.extended_info = 1;
        break;
    case 'd':
        APR_ARRAY_PUSH(read->options.defines, const char *) = define_entry(argument, pool);
        break;
    default:
        return 0;
    }
    return 1;
}

static void take(fpd_argv *read, int option, const char *argument)
{
    switch (option) {
    case 'h':
    case '?':
        read->action = FPD_ARGV_HELP;
        break;
    case 'i':
    case 'm':
    case 'v':
        read->action = FPD_ARGV_INTERPRETER;
        read->question = (char)option;
        break;
    case 'p':
        read->options.prefix = argument;
        break;
    case 'g':
        read->options.pid_file = argument;
        break;
    case 'y':
        read->options.file = argument;
        break;
    case 't':
        read->action = FPD_ARGV_TEST;
        read->test_level++;
        read->options.is_test = 1;
        break;
    case 'D':
        read->options.daemonize = 1;
        break;
    case 'F':
        read->options.daemonize = 0;
        break;
    case 'O':
        read->force_stderr = 1;
        break;
    case 'R':
        read->options.allow_root = 1;
        break;
    case 'j':
        read->wants_json = 1;
        break;
    default:
        break;
    }
}

/* --ctl COMMAND [POOL]: the pool stands behind the options, or between them. */
static void take_command(fpd_argv *read, const char *command, const char *const *rest, int count)
{
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 ||
        strcmp(command, "-h") == 0) {
        read->action = FPD_ARGV_CONTROL_HELP;
        return;
    }
    read->action = FPD_ARGV_CONTROL;
    read->control_mistake =
        count > 1 ? "at most one pool can be named"
                  : fpd_control_line_set(&read->control, command, count > 0 ? rest[0] : NULL);
    if (read->control_mistake != NULL) {
        read->action = FPD_ARGV_BAD_USAGE;
    }
}

static int is_command(int argc, const char *const *argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--ctl") == 0 || strncmp(argv[i], "--ctl=", strlen("--ctl=")) == 0) {
            return 1;
        }
    }
    return 0;
}

static void drop_message(void *context, const char *format, ...)
{
    (void)context;
    (void)format;
}

void fpd_argv_read(fpd_argv *read, int argc, const char *const *argv, apr_pool_t *pool)
{
    apr_getopt_t *state;
    const char *argument;
    const char *command = NULL;
    int option;
    apr_status_t status;

    memset(read, 0, sizeof(*read));
    read->action = FPD_ARGV_RUN;
    read->options.daemonize = -1;
    read->options.is_root = geteuid() == 0;
    read->options.defines = apr_array_make(pool, 4, sizeof(const char *));
    if (apr_getopt_init(&state, pool, argc, argv) != APR_SUCCESS) {
        read->action = FPD_ARGV_BAD_USAGE;
        return;
    }
    state->errfn = drop_message; /* usage goes to stdout, nothing to stderr */
    state->interleave = is_command(argc, argv);
    while ((status = apr_getopt_long(state, options, &option, &argument)) == APR_SUCCESS) {
        if (take_ini(read, option, argument, pool) || read->action == FPD_ARGV_INTERPRETER) {
            continue; /* behind -v, -m or -i only these count, wherever they stand */
        }
        if (option == OPTION_CTL) {
            command = argument;
        } else if (option == OPTION_CTL_SOCKET) {
            read->control_socket = argument;
        } else {
            take(read, option, argument);
        }
        if (read->action == FPD_ARGV_HELP) {
            return;
        }
    }
    if (command != NULL && status == APR_EOF) {
        take_command(read, command, state->argv + state->ind, argc - state->ind);
    } else if (read->wants_json || read->control_socket != NULL) { /* nothing without --ctl */
        read->action = FPD_ARGV_BAD_USAGE;
    } else if (read->action != FPD_ARGV_INTERPRETER && (status != APR_EOF || state->ind < argc)) {
        read->action = FPD_ARGV_BAD_USAGE;
    }
}
