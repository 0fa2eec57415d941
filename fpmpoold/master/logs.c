/* logs.c - error_log, and the framing of what pools send.
 *
 * Runs in the master. Everything that comes from a pool is a tenant's: bounded, counted, put behind
 * the pool's name; fpd_log escapes control characters.
 */
#include "master/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/loop.h"

#define LINES_PER_SECOND 2000
#define READS_PER_CALL   64

static int open_pool_log(const fpd_plan_pool *plan, const char *what, const char *path)
{
    int fd = fpd_log_file_open(path, O_NOFOLLOW);

    if (fd < 0) {
        fpd_log_errno(FPD_LOG_ERROR, errno, "[pool %s] unable to re-opened %s log file '%s'",
                      plan->name, what, path);
    }
    return fd;
}

int fpd_logs_open_pair(fpd_logs_pair *logs, const fpd_plan_pool *plan)
{
    int wants_slow_log = plan->slowlog != NULL && plan->request_slowlog_timeout > 0;

    logs->access_log =
        plan->access_log != NULL ? open_pool_log(plan, "access", plan->access_log) : -1;
    logs->slow_log = wants_slow_log ? open_pool_log(plan, "slow", plan->slowlog) : -1;
    return (plan->access_log == NULL || logs->access_log >= 0) &&
           (!wants_slow_log || logs->slow_log >= 0);
}

void fpd_logs_close_pair(fpd_logs_pair *logs)
{
    if (logs->access_log >= 0) {
        close(logs->access_log);
    }
    if (logs->slow_log >= 0) {
        close(logs->slow_log);
    }
}

/* To whoever starts the daemon: the log itself cannot be told. */
static void say_no_syslog(int error)
{
    char reason[128];

    apr_strerror(error, reason, sizeof(reason));
    (void)fprintf(stderr,
                  "error_log = syslog: cannot connect to /dev/log: %s (%d); lines are lost until a "
                  "log daemon listens there\n",
                  reason, error);
}

/* Opens logs->error_log, which may be the word syslog. */
static apr_status_t open_error_log(fpd_logs *logs, const fpd_conf_global *global)
{
    apr_status_t status;

    logs->error_fd = -1;
    if (strcasecmp(logs->error_log, "syslog") == 0) {
        int error = fpd_log_to_syslog(apr_pstrdup(logs->pool, global->syslog_ident),
                                      global->syslog_facility);
        if (error != 0) {
            say_no_syslog(error);
        }
        return APR_SUCCESS;
    }
    logs->error_fd = fpd_log_file_open(logs->error_log, 0);
    if (logs->error_fd >= 0) {
        return APR_SUCCESS;
    }
    status = errno;
    fpd_log_errno(FPD_LOG_ERROR, status, "failed to open error_log (%s)", logs->error_log);
    return status;
}

static void use_stderr(fpd_logs *logs)
{
    int own = fpd_log_file_open_again(STDERR_FILENO);

    logs->error_log = NULL;
    logs->error_fd = -1;
    fpd_log_to_descriptor(own >= 0 ? own : STDERR_FILENO, -1);
}

apr_status_t fpd_logs_open(fpd_logs *logs, const fpd_conf_global *global, int is_foreground,
                           int force_stderr, apr_pool_t *pool)
{
    apr_status_t status;

    logs->error_fd = -1;
    logs->error_log = NULL;
    fpd_log_set_level((fpd_log_level)fpd_conf_log_level(global));
    fpd_log_never_wait();
    if (is_foreground && (force_stderr || isatty(STDERR_FILENO))) {
        use_stderr(logs);
        return APR_SUCCESS;
    }
    status = apr_pool_create(&logs->pool, pool);
    if (status != APR_SUCCESS) {
        return status;
    }
    logs->error_log = apr_pstrdup(logs->pool, global->error_log);
    status = open_error_log(logs, global);
    if (status == APR_SUCCESS && logs->error_fd >= 0) {
        fpd_log_to_descriptor(logs->error_fd, STDERR_FILENO);
    }
    return status;
}

void fpd_logs_inherit(fpd_logs *logs, const char *error_log, int error_fd,
                      const fpd_conf_global *global, apr_pool_t *pool)
{
    fpd_log_never_wait();
    if (error_log == NULL || apr_pool_create(&logs->pool, pool) != APR_SUCCESS) {
        use_stderr(logs);
        return;
    }
    logs->error_log = apr_pstrdup(logs->pool, error_log);
    logs->error_fd = error_fd;
    if (error_fd >= 0 || (open_error_log(logs, global) == APR_SUCCESS && logs->error_fd >= 0)) {
        fpd_log_to_descriptor(logs->error_fd, -1);
    }
}

void fpd_logs_change(fpd_logs *logs, const fpd_conf_global *global, apr_pool_t *pool)
{
    fpd_logs changed = {.error_fd = -1};

    if (logs->error_log == NULL || apr_pool_create(&changed.pool, pool) != APR_SUCCESS) {
        return;
    }
    changed.error_log = apr_pstrdup(changed.pool, global->error_log);
    if (open_error_log(&changed, global) != APR_SUCCESS) {
        fpd_log(FPD_LOG_ERROR,
                "reload: '%s' stays the error_log: make the new one writable for "
                "the daemon and reload again",
                logs->error_log);
        apr_pool_destroy(changed.pool);
        return;
    }
    if (changed.error_fd >= 0) {
        fpd_log_to_descriptor(changed.error_fd, -1);
    }
    if (logs->error_fd >= 0) {
        close(logs->error_fd);
    }
    apr_pool_destroy(logs->pool);
    *logs = changed;
}

void fpd_logs_settle(const fpd_logs *logs)
{
    if (logs->error_fd >= 0) {
        fpd_log_to_descriptor(logs->error_fd, -1);
    }
}

apr_status_t fpd_logs_reopen(fpd_logs *logs)
{
    int old = logs->error_fd;

    if (logs->error_log == NULL || old < 0) {
        return APR_SUCCESS;
    }
    if (open_error_log(logs, NULL) != APR_SUCCESS) {
        logs->error_fd = old;
        fpd_log(FPD_LOG_ERROR, "unable to re-opened error log file");
        return APR_EGENERAL;
    }
    fpd_log_to_descriptor(logs->error_fd, -1);
    close(old);
    return APR_SUCCESS;
}

void fpd_logs_say(const apr_array_header_t *messages)
{
    static const fpd_log_level levels[] = {FPD_LOG_NOTICE, FPD_LOG_WARNING, FPD_LOG_ERROR,
                                           FPD_LOG_ALERT};

    for (int i = 0; i < messages->nelts; i++) {
        const fpd_conf_message *message = &APR_ARRAY_IDX(messages, i, fpd_conf_message);
        fpd_log(levels[message->severity], "%s", message->text);
    }
}

/* ---- what pools say ----------------------------------------------------------------------- */

/* Says once per window what was left out. */
int fpd_logs_has_room(fpd_logs_source *source)
{
    int64_t now = fpd_monotonic_now();

    if (now - source->window_start > 1000000) {
        source->window_start = now;
        source->window_lines = 0;
        if (source->suppressed > 0) {
            fpd_log(FPD_LOG_WARNING, "[pool %s] %u log lines were left out (more than %d a second)",
                    source->name, source->suppressed, LINES_PER_SECOND);
            source->suppressed = 0;
        }
    }
    if (source->window_lines >= LINES_PER_SECOND) {
        source->suppressed++;
        return 0;
    }
    source->window_lines++;
    return 1;
}

/* The first byte is a level, or FPD_LOG_RAW where the configuration lets lines go as they are. */
static void take_datagram(fpd_logs_source *source, const char *datagram, size_t length)
{
    char prefix[FPD_LOG_MAX / 2];
    int is_raw = datagram[0] == FPD_LOG_RAW && source->is_raw_allowed;

    if ((!is_raw && (datagram[0] < FPD_LOG_DEBUG || datagram[0] > FPD_LOG_ALERT)) ||
        !fpd_logs_has_room(source)) {
        return;
    }
    if (is_raw) {
        (void)fpd_log_raw(datagram + 1, length - 1);
        return;
    }
    (void)snprintf(prefix, sizeof(prefix), "[pool %s] ", source->name);
    (void)fpd_log_line((fpd_log_level)datagram[0], prefix, datagram + 1, length - 1);
}

int fpd_logs_take_datagrams(fpd_logs_source *source, int fd)
{
    char datagram[FPD_LOG_LINE_MAX + 1];

    for (int i = 0; i < READS_PER_CALL; i++) {
        ssize_t length = recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT);
        if (length < 0) {
            return errno == EAGAIN || errno == EINTR || errno == ENOBUFS;
        }
        if (length < 1) { /* an empty datagram, or the end: the process's exit tells which */
            return 1;
        }
        take_datagram(source, datagram, (size_t)length);
    }
    return 1;
}

static void say_line(fpd_logs_source *source)
{
    if (source->partial_length > 0 && fpd_logs_has_room(source)) {
        fpd_log(FPD_LOG_WARNING, "[pool %s] the interpreter said: \"%.*s\"", source->name,
                (int)source->partial_length, source->partial);
    }
    source->partial_length = 0;
}

static void take_text(fpd_logs_source *source, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n' || source->partial_length == sizeof(source->partial)) {
            say_line(source);
        }
        if (text[i] != '\n') {
            source->partial[source->partial_length++] = text[i];
        }
    }
}

int fpd_logs_take_output(fpd_logs_source *source, int fd)
{
    char text[4096];

    for (int i = 0; i < READS_PER_CALL; i++) {
        ssize_t length = read(fd, text, sizeof(text));
        if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
            return 1;
        }
        if (length <= 0) {
            say_line(source);
            return 0;
        }
        take_text(source, text, (size_t)length);
    }
    return 1;
}
