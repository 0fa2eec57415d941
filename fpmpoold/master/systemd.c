/* systemd.c - READY, STATUS, WATCHDOG, RELOADING and STOPPING, as datagrams.
 *
 * Runs in the master. The socket is opened for each message and never waited for: a service manager
 * that does not read costs messages, not the daemon's time.
 */
#include "master/systemd.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define MESSAGE_MAX 512

typedef enum notify_result { NOTIFY_SENT, NOTIFY_NOT_ASKED, NOTIFY_FAILED } notify_result;

/* A path, or a name in the abstract namespace, which begins with '@' here and with NUL there. */
static socklen_t make_address(struct sockaddr_un *address, const char *name)
{
    size_t length = strlen(name);

    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if ((name[0] != '/' && name[0] != '@') || length >= sizeof(address->sun_path)) {
        return 0;
    }
    memcpy(address->sun_path, name, length);
    if (name[0] == '@') {
        address->sun_path[0] = '\0';
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    }
    return (socklen_t)sizeof(*address);
}

static notify_result notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

static notify_result notify(const char *format, ...)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t size;
    char message[MESSAGE_MAX];
    va_list arguments;
    ssize_t sent;
    int length;
    int fd;

    if (name == NULL || name[0] == '\0') {
        return NOTIFY_NOT_ASKED;
    }
    va_start(arguments, format);
    length = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    size = make_address(&address, name);
    if (size == 0 || length < 0 || (size_t)length >= sizeof(message)) {
        return NOTIFY_FAILED;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return NOTIFY_FAILED;
    }
    sent = sendto(fd, message, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (const struct sockaddr *)&address, size);
    close(fd);
    return sent == length ? NOTIFY_SENT : NOTIFY_FAILED;
}

/* Half of the time that the service manager waits, in milliseconds; 0: it does not wait. */
static int64_t watchdog_interval(void)
{
    const char *text = getenv("WATCHDOG_USEC");

    if (text == NULL || *text == '\0' || strlen(text) > 15 ||
        text[strspn(text, "0123456789")] != '\0') {
        return 0;
    }
    return atoll(text) / 2000;
}

void fpd_systemd_init(fpd_systemd *systemd, const fpd_conf_global *global)
{
    int64_t watchdog = watchdog_interval();

    memset(systemd, 0, sizeof(*systemd));
    systemd->interval = (int64_t)global->systemd_interval * 1000;
    if (watchdog > 1000) {
        if (global->has_systemd_interval) {
            fpd_log(FPD_LOG_WARNING, "systemd_interval option ignored");
        }
        fpd_log(FPD_LOG_NOTICE, "systemd watchdog configured to %.3gsec", (double)watchdog / 1000);
        systemd->interval = watchdog;
        systemd->has_watchdog = 1;
    }
}

/* READY belongs into a report as php-fpm sends it, but it would end a reload or a stop. */
static void report(void *context)
{
    fpd_systemd *self = context;
    fpd_pools_sums sums = fpd_pools_sum(self->pools);
    int64_t now = fpd_monotonic_now();
    uint64_t served = sums.requests > self->last_requests ? sums.requests - self->last_requests : 0;
    double rate = (double)served * 1e6 / (double)(now - self->last_report + 1);

    if (notify("%s%sSTATUS=Processes active: %llu, idle: %llu, Requests: %llu, slow: %llu, "
               "Traffic: %.2freq/sec",
               self->is_reloading || self->is_stopping ? "" : "READY=1\n",
               self->has_watchdog ? "WATCHDOG=1\n" : "", (unsigned long long)sums.active,
               (unsigned long long)sums.idle, (unsigned long long)sums.requests,
               (unsigned long long)sums.slow_requests, rate) == NOTIFY_FAILED) {
        fpd_log(FPD_LOG_NOTICE, "failed to notify status to systemd");
    }
    self->last_requests = sums.requests;
    self->last_report = now;
    fpd_loop_timer_set(self->timer, now + self->interval * 1000);
}

static void begin_reports(fpd_systemd *systemd, fpd_loop *loop, const fpd_pools *pools)
{
    systemd->loop = loop;
    systemd->pools = pools;
    systemd->has_started = 1;
    systemd->last_report = fpd_monotonic_now();
    if (systemd->interval > 0 && getenv("NOTIFY_SOCKET") != NULL) {
        systemd->timer = fpd_loop_timer_create(loop, report, systemd);
        fpd_loop_timer_set(systemd->timer, systemd->last_report + systemd->interval * 1000);
    }
}

void fpd_systemd_start(fpd_systemd *systemd, fpd_loop *loop, const fpd_pools *pools)
{
    if (!systemd->has_started) {
        begin_reports(systemd, loop, pools);
        if (notify("READY=1\nSTATUS=Ready to handle connections\nMAINPID=%ld", (long)getpid()) ==
            NOTIFY_FAILED) {
            fpd_log(FPD_LOG_WARNING, "failed to notify start to systemd");
        }
    }
    if (systemd->has_interval) {
        return;
    }
    systemd->has_interval = 1;
    if (systemd->interval > 0) {
        fpd_log(FPD_LOG_NOTICE, "systemd monitor interval set to %lldms",
                (long long)systemd->interval);
    } else {
        fpd_log(FPD_LOG_NOTICE, "systemd monitor disabled");
    }
}

void fpd_systemd_save(const fpd_systemd *systemd, fpd_state *state)
{
    state->is_notified = systemd->has_started;
    state->is_told_to_reload = systemd->is_reloading;
    state->notified_requests =
        systemd->last_requests > INT64_MAX ? INT64_MAX : (int64_t)systemd->last_requests;
}

void fpd_systemd_resume(fpd_systemd *systemd, const fpd_state *state, fpd_loop *loop,
                        const fpd_pools *pools)
{
    systemd->last_requests = (uint64_t)state->notified_requests;
    if (state->is_notified) {
        begin_reports(systemd, loop, pools);
        systemd->is_reloading = state->is_told_to_reload;
        if (systemd->timer != NULL) { /* the last one may be as long ago as a watchdog allows */
            fpd_loop_timer_set(systemd->timer, systemd->last_report);
        }
    }
}

void fpd_systemd_begin_reload(fpd_systemd *systemd)
{
    if (!systemd->has_started || systemd->is_reloading || systemd->is_stopping) {
        return;
    }
    systemd->is_reloading = 1;
    (void)notify("RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=Reloading in progress ...",
                 (long long)fpd_monotonic_now());
}

void fpd_systemd_end_reload(fpd_systemd *systemd)
{
    if (!systemd->is_reloading) {
        return;
    }
    systemd->is_reloading = 0;
    if (notify("READY=1\nSTATUS=Ready to handle connections\nMAINPID=%ld", (long)getpid()) ==
        NOTIFY_FAILED) {
        fpd_log(FPD_LOG_NOTICE, "failed to notify status to systemd");
    }
}

void fpd_systemd_stop(fpd_systemd *systemd)
{
    if (systemd->is_stopping) {
        return;
    }
    systemd->is_stopping = 1;
    systemd->is_reloading = 0;
    (void)notify("STOPPING=1\nSTATUS=Finishing ...");
}
