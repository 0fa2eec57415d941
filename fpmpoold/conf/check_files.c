/* check_files.c - what php-fpm demands of pages, log files and directories, in its words.
 *
 * Runs in the master or in the child that tests a configuration. Looks at the file system; creates
 * nothing.
 */
#include "conf/check_files.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_strings.h"
#include "conf/users.h"

int fpd_check_files_is_directory(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

int fpd_check_files_try_append(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd >= 0) {
        close(fd);
        return 0;
    }
    if (errno == ENXIO) { /* a named pipe whose reader comes later */
        return 0;
    }
    if (errno != ENOENT || *path == '\0' || length >= sizeof(folder)) {
        return errno;
    }
    if (slash != NULL && slash[1] == '\0') {
        return EISDIR;
    }
    memcpy(folder, path, length);
    folder[length] = '\0';
    if (slash == NULL || length == 0) {
        strcpy(folder, slash == NULL ? "." : "/");
    }
    return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

static void say_errno(fpd_parse *parse, const char *key, const char *text, int error)
{
    char reason[256];

    apr_strerror(error, reason, sizeof(reason));
    fpd_parse_say(parse, FPD_CONF_ERROR, 0, key, "%s: %s (%d)", text, reason, error);
}

/* ---- pages -------------------------------------------------------------------------------- */

static void check_page(fpd_parse *parse, fpd_plan_pool *plan, const char *key, const char *what,
                       const char *path, int is_root_allowed)
{
    if (path == NULL || *path == '\0') {
        return;
    }
    if (*path != '/') {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, key, "the %s path '%s' must start with a '/'",
                      what, path);
    } else if (path[1] == '\0' && !is_root_allowed) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, key, "the %s path '%s' is not long enough", what,
                      path);
    } else {
        for (const char *c = path; *c != '\0'; c++) {
            if (!isalnum((unsigned char)*c) && strchr("/_-.~", *c) == NULL) {
                fpd_users_say(parse, FPD_CONF_ERROR, plan, key,
                              "the %s path '%s' must contain only the following characters "
                              "'[alphanum]/_-.~'",
                              what, path);
                return;
            }
        }
    }
}

void fpd_check_files_pages(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (plan->status_listen != NULL && plan->status_path == NULL) {
        plan->status_path = "/";
    }
    check_page(parse, plan, "pm.status_path", "status", plan->status_path,
               plan->status_listen != NULL);
    check_page(parse, plan, "ping.path", "ping", plan->ping_path, 0);
    if (plan->ping_path == NULL || *plan->ping_path == '\0') {
        plan->ping_response = NULL;
    } else if (plan->ping_response == NULL) {
        plan->ping_response = "pong";
    } else if (*plan->ping_response == '\0') {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "ping.response",
                      "the ping response page '%s' is not long enough", plan->ping_response);
    }
}

/* ---- logs --------------------------------------------------------------------------------- */

static void check_slow_log(fpd_parse *parse, fpd_plan_pool *plan)
{
    int has_slow_log = plan->slowlog != NULL && *plan->slowlog != '\0';
    int error;

    if (has_slow_log) {
        plan->slowlog = fpd_parse_expand(parse, plan->slowlog, plan->prefix, 0);
    }
    if (plan->request_slowlog_timeout != 0 && !has_slow_log) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "request_slowlog_timeout",
                      "'slowlog' must be specified for use with 'request_slowlog_timeout'");
    } else if (plan->request_slowlog_timeout > 0 && parse->options->is_test) {
        error = fpd_check_files_try_append(plan->slowlog);
        if (error != 0) {
            say_errno(
                parse, "slowlog",
                apr_psprintf(parse->pool, "Unable to create or open slowlog(%s)", plan->slowlog),
                error);
        }
    }
    if (plan->request_slowlog_timeout > 0 && plan->request_terminate_timeout > 0 &&
        plan->request_slowlog_timeout > plan->request_terminate_timeout) {
        fpd_users_say(
            parse, FPD_CONF_ERROR, plan, "request_slowlog_timeout",
            "'request_slowlog_timeout' (%d) can't be greater than 'request_terminate_timeout' (%d)",
            plan->request_slowlog_timeout, plan->request_terminate_timeout);
    }
    if (plan->request_slowlog_trace_depth == 0) {
        plan->request_slowlog_trace_depth = 20;
    } else if (!has_slow_log) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "request_slowlog_trace_depth",
                      "'slowlog' must be specified for use with 'request_slowlog_trace_depth'");
    } else if (plan->request_slowlog_trace_depth < 0) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "request_slowlog_trace_depth",
                      "'request_slowlog_trace_depth' (%d) must be a positive value",
                      plan->request_slowlog_trace_depth);
    }
}

void fpd_check_files_logs(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (plan->access_log != NULL && *plan->access_log != '\0') {
        plan->access_log = fpd_parse_expand(parse, plan->access_log, plan->prefix, 0);
    }
    if (plan->access_log != NULL && plan->access_format == NULL) {
        plan->access_format = "%R - %u %t \"%m %r\" %s";
    }
    check_slow_log(parse, plan);
}

/* What may stand between the braces of a token. */
typedef struct token_rule {
    char token;
    int needs_text;           /* a name must stand there */
    const char *const *words; /* one of these, or nothing; NULL: anything */
    const char *complaint;
} token_rule;

static const char *const cpu_words[] = {"total", "user", "system", NULL};
static const char *const duration_words[] = {"seconds",     "milli", "mili",         "milliseconds",
                                             "miliseconds", "micro", "microseconds", NULL};
static const char *const memory_words[] = {"bytes", "kilo", "kilobytes", "mega", "megabytes", NULL};

static const token_rule braced_tokens[] = {
    {'C', 0, cpu_words, "only 'total', 'user' or 'system' are allowed as a modifier for %C"},
    {'d', 0, duration_words,
     "only 'seconds', 'milli', 'milliseconds', 'micro' or 'microseconds' are allowed as a modifier "
     "for %d"},
    {'M', 0, memory_words,
     "only 'bytes', 'kilo', 'kilobytes', 'mega' or 'megabytes' are allowed as a modifier for %M"},
    {'e', 1, NULL, "the name of the environment variable must be set between embraces for %e"},
    {'o', 1, NULL, "the name of the header must be set between embraces for %o"},
    {'t', 0, NULL, NULL},
    {'T', 0, NULL, NULL},
};

static int is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcasecmp(word, *words) == 0) {
            return 1;
        }
    }
    return 0;
}

/* NULL, or what is wrong with one token and the text between its braces ("": none). */
static const char *judge_token(char token, const char *braced, apr_pool_t *pool)
{
    for (size_t i = 0; i < sizeof(braced_tokens) / sizeof(braced_tokens[0]); i++) {
        const token_rule *rule = &braced_tokens[i];
        if (rule->token != token) {
            continue;
        }
        if (rule->needs_text && *braced == '\0') {
            return rule->complaint;
        }
        if (rule->words != NULL && *braced != '\0' && !is_one_of(braced, rule->words)) {
            return apr_psprintf(pool, "%s ('%s')", rule->complaint, braced);
        }
        return NULL;
    }
    if (token == '\0' || strchr("%flmnpPqQrRsu", token) == NULL) {
        return apr_psprintf(pool, "Invalid token in the access.format (%%%c)", token);
    }
    if (*braced != '\0') {
        return apr_psprintf(pool, "embrace is not allowed for modifier %%%c", token);
    }
    return NULL;
}

/* NULL, or what is wrong with the format. */
static const char *judge_format(const char *at, apr_pool_t *pool)
{
    const char *complaint;

    while ((at = strchr(at, '%')) != NULL && at[1] != '\0') {
        const char *braced = "";
        at++;
        if (*at == '{') {
            const char *close = strchr(at, '}');
            if (close == NULL || close[1] == '\0') {
                return "missing closing embrace in the access.format";
            }
            braced = apr_pstrmemdup(pool, at + 1, (apr_size_t)(close - at - 1));
            at = close + 1;
        }
        complaint = judge_token(*at, braced, pool);
        if (complaint != NULL) {
            return complaint;
        }
        at++;
    }
    return NULL;
}

void fpd_check_files_access_log(fpd_parse *parse, fpd_plan_pool *plan)
{
    const char *complaint;
    int error;

    if (plan->access_log == NULL) {
        return;
    }
    error = parse->options->is_test ? fpd_check_files_try_append(plan->access_log) : 0;
    if (error != 0) {
        say_errno(parse, "access.log",
                  apr_psprintf(parse->pool, "failed to open access log (%s)", plan->access_log),
                  error);
        return;
    }
    complaint = judge_format(plan->access_format, parse->pool);
    if (complaint != NULL) {
        fpd_parse_say(parse, FPD_CONF_WARNING, 0, "access.format", "%s", complaint);
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "access.format",
                      "wrong format for access.format '%s'", plan->access_format);
    }
}

/* ---- directories -------------------------------------------------------------------------- */

/* "$prefix" is a word of chroot alone, and must be its beginning. */
static const char *expand_chroot(fpd_parse *parse, fpd_plan_pool *plan)
{
    static const char word[] = "$prefix";
    const char *found = strstr(plan->chroot, word);
    const char *rest;

    if (*plan->chroot == '/') {
        return plan->chroot;
    }
    if (found == NULL) {
        return fpd_parse_expand(parse, plan->chroot, plan->prefix, 0);
    }
    if (found != plan->chroot) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, "chroot",
                      "'$prefix' must be use at the beginning of the value");
        return plan->chroot;
    }
    rest = plan->chroot + strlen(word);
    if (*rest == '\0') {
        return fpd_parse_prefix(parse, plan->prefix, 0);
    }
    return apr_psprintf(parse->pool, "%s/%s", fpd_parse_prefix(parse, plan->prefix, 0), rest);
}

static void check_chdir(fpd_parse *parse, fpd_plan_pool *plan, int has_chroot)
{
    const char *inside;

    if (plan->chdir == NULL || *plan->chdir == '\0') {
        return;
    }
    plan->chdir = fpd_parse_expand(parse, plan->chdir, plan->prefix, 0);
    if (!has_chroot) {
        if (!fpd_check_files_is_directory(plan->chdir)) {
            fpd_users_say(parse, FPD_CONF_ERROR, plan, "chdir",
                          "the chdir path '%s' does not exist or is not a directory", plan->chdir);
        }
        return;
    }
    inside = apr_psprintf(parse->pool, "%s/%s", plan->chroot, plan->chdir);
    if (!fpd_check_files_is_directory(inside)) {
        fpd_users_say(
            parse, FPD_CONF_ERROR, plan, "chdir",
            "the chdir path '%s' within the chroot path '%s' ('%s') does not exist or is not a "
            "directory",
            plan->chdir, plan->chroot, inside);
    }
}

void fpd_check_files_directories(fpd_parse *parse, fpd_plan_pool *plan)
{
    int has_chroot = plan->chroot != NULL && *plan->chroot != '\0';

    if (has_chroot) {
        plan->chroot = expand_chroot(parse, plan);
        if (*plan->chroot != '/') {
            fpd_users_say(parse, FPD_CONF_ERROR, plan, "chroot",
                          "the chroot path '%s' must start with a '/'", plan->chroot);
            return;
        }
        if (!fpd_check_files_is_directory(plan->chroot)) {
            fpd_users_say(parse, FPD_CONF_ERROR, plan, "chroot",
                          "the chroot path '%s' does not exist or is not a directory",
                          plan->chroot);
            return;
        }
    }
    check_chdir(parse, plan, has_chroot);
}
