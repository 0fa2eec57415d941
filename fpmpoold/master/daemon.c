/* daemon.c - the master as a Unix process: background, pid file, limits, orphans.
 *
 * Runs in the master. Knows nothing of pools.
 */
#include "master/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/priv.h"

#define VERDICT_PATIENCE 10000 /* milliseconds, php-fpm's */
#define EXIT_INTERNAL    70

static int await_verdict(int fd)
{
    struct pollfd waited = {.fd = fd, .events = POLLIN};
    char verdict = 0;
    int ready;

    do {
        ready = poll(&waited, 1, VERDICT_PATIENCE);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) {
        fpd_log(FPD_LOG_ERROR, "the master process didn't send back its status (via the pipe to "
                               "the calling process)");
        return 0;
    }
    return read(fd, &verdict, 1) == 1 && verdict == 1;
}

apr_status_t fpd_daemon_detach(int *verdict_fd)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    pid = fork();
    if (pid < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return error;
    }
    if (pid > 0) {
        close(ends[1]);
        _exit(await_verdict(ends[0]) ? EXIT_SUCCESS : EXIT_INTERNAL);
    }
    close(ends[0]);
    (void)setsid();
    *verdict_fd = ends[1];
    return APR_SUCCESS;
}

void fpd_daemon_report(int *verdict_fd, int is_good)
{
    char verdict = (char)is_good;

    if (*verdict_fd < 0) {
        return;
    }
    if (write(*verdict_fd, &verdict, 1) != 1) {
        fpd_log(FPD_LOG_DEBUG, "nobody waits for the start any more");
    }
    close(*verdict_fd);
    *verdict_fd = -1;
}

apr_status_t fpd_daemon_close_standard(int with_stderr)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    apr_status_t status = APR_SUCCESS;

    if (fd < 0) {
        return errno;
    }
    if (dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
        (with_stderr && dup2(fd, STDERR_FILENO) < 0)) {
        status = errno;
    }
    if (fd > STDERR_FILENO) {
        close(fd);
    }
    return status;
}

apr_status_t fpd_daemon_write_pid(const char *path)
{
    char text[24];
    int length = snprintf(text, sizeof(text), "%ld", (long)getpid());
    apr_status_t status = APR_SUCCESS;
    int fd;

    if (path == NULL) {
        return APR_SUCCESS;
    }
    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t)length) != length) {
        status = errno != 0 ? errno : ENOSPC;
        fpd_log_errno(FPD_LOG_ERROR, status, "Unable to create the PID file (%s).", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

void fpd_daemon_remove_pid(const char *path)
{
    if (path != NULL) {
        (void)unlink(path);
    }
}

apr_status_t fpd_daemon_apply_limits(const fpd_conf_global *global, int is_root)
{
    apr_status_t status = fpd_priv_limit_files(global->rlimit_files);

    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status,
                      "failed to set rlimit_files. Please check your system limits or decrease "
                      "rlimit_files. setrlimit(RLIMIT_NOFILE, %d)",
                      global->rlimit_files);
        return status;
    }
    status = fpd_priv_limit_core(global->rlimit_core);
    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status,
                      "failed to set rlimit_core. setrlimit(RLIMIT_CORE, %d)", global->rlimit_core);
        return status;
    }
    if (is_root && global->process_priority != FPD_PLAN_UNSET &&
        setpriority(PRIO_PROCESS, 0, global->process_priority) != 0) {
        status = errno;
        fpd_log_errno(FPD_LOG_ERROR, status, "Unable to set priority for the master process");
    }
    return status;
}

int fpd_daemon_has_children(void)
{
    siginfo_t about;
    int result;

    do {
        result = waitid(P_ALL, 0, &about, WEXITED | WNOHANG | WNOWAIT);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

/* signal_number 0: only counts. */
static unsigned signal_children(int signal_number)
{
    char path[64];
    unsigned count = 0;
    long pid;
    FILE *children;

    snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)getpid());
    children = fopen(path, "re");
    if (children == NULL) {
        return 0;
    }
    while (fscanf(children, "%ld", &pid) == 1) {
        if (pid > 1 && kill((pid_t)pid, signal_number) == 0) {
            count++;
        }
    }
    fclose(children);
    return count;
}

unsigned fpd_daemon_kill_orphans(void)
{
    return signal_children(SIGKILL);
}

unsigned fpd_daemon_count_children(void)
{
    return signal_children(0);
}
