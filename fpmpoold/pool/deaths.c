/* deaths.c - what a worker's end means: log line, connections, slot, replacement.
 *
 * Runs in the pool process after SIGCHLD.
 */
#include "pool/deaths.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/log.h"
#include "pool/dispatch.h"
#include "pool/slow_requests.h"
#include "pool/spawn.h"

static void describe(char *to, size_t size, int status)
{
    const char *name;

    if (WIFEXITED(status)) {
        (void)snprintf(to, size, "exited with code %d", WEXITSTATUS(status));
        return;
    }
    name = sigabbrev_np(WTERMSIG(status));
    (void)snprintf(to, size, "exited on signal %d (SIG%s%s)", WTERMSIG(status),
                   name != NULL ? name : "?", WCOREDUMP(status) ? " - core dumped" : "");
}

static void log_death(const fpd_child *child, int status, const char *how, int64_t lived)
{
    long seconds = (long)(lived / 1000000);
    int rest = (int)(lived % 1000000);
    int is_quiet = (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                   (WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
    fpd_log_level level = is_quiet ? FPD_LOG_NOTICE : FPD_LOG_WARNING;

    if (child->pool->phase != FPD_POOL_SERVING) {
        level = FPD_LOG_DEBUG;
    }
    if (child->is_retiring) {
        fpd_log(FPD_LOG_DEBUG,
                "child %d has been killed by the process management after %ld.%06d seconds from "
                "start",
                (int)child->pid, seconds, rest);
        return;
    }
    fpd_log(level, "child %d %s after %ld.%06d seconds from start", (int)child->pid, how, seconds,
            rest);
}

/* The master counts them over all pools (emergency_restart_threshold). */
static void tell_crash(fpd_pool *pool)
{
    if (!pool->is_master_gone) {
        (void)fpd_channel_send(pool->setup.master, FPD_MESSAGE_CRASHED, NULL, 0, NULL, 0, NULL, 0,
                               MSG_DONTWAIT);
    }
}

static void take_death(fpd_child *child, int status)
{
    fpd_pool *pool = child->pool;
    int64_t lived = fpd_monotonic_now() - child->started_at;
    int has_served = atomic_load(&pool->board->slots[child->slot].requests) > 0;
    int was_retiring = child->is_retiring;
    char how[96];

    describe(how, sizeof(how), status);
    child->is_dead = 1; /* its pid may be another's now, and nothing is given to it any more */
    fpd_spawn_hear_out(child);
    fpd_slow_requests_leave(child);
    fpd_output_stop(&child->output);
    log_death(child, status, how, lived);
    fpd_dispatch_bury(child, how);
    fpd_spawn_free(child);
    fpd_grants_pay(pool);
    pool->busy_at = fpd_loop_now(pool->loop);
    if (!was_retiring && pool->phase == FPD_POOL_SERVING) {
        fpd_spawn_replace(pool, lived, has_served);
    }
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS)) {
        tell_crash(pool);
    }
    fpd_grants_settle(pool);
    if (fpd_spawn_is_failing(pool) && !pool->is_giving) {
        fpd_dispatch_refuse_all(pool, "its workers die at once; see the pool's log");
    }
    fpd_dispatch_run(pool);
    fpd_pool_wake(pool);
}

void fpd_deaths_reap(fpd_pool *pool)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        fpd_child *child = NULL;
        for (uint32_t i = 0; i < pool->slot_count && child == NULL; i++) {
            if (fpd_spawn_child(pool, i)->pid == pid) {
                child = fpd_spawn_child(pool, i);
            }
        }
        if (child != NULL) {
            take_death(child, status);
        } else {
            fpd_log(FPD_LOG_DEBUG, "process %d, which is not a worker, has ended", (int)pid);
        }
    }
}
