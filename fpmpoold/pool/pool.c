/* pool.c - the pool process's life: serving, draining, leaving, stopping; what the master says.
 *
 * Runs in the pool process, as the pool's user. It owns the loop and the phase; what happens to
 * connections and workers is decided in dispatch.c, spawn.c and farewell.c.
 */
#include "pool/pool.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "pool/connections.h"
#include "pool/deaths.h"
#include "pool/dispatch.h"
#include "pool/farewell.h"
#include "pool/handover.h"
#include "pool/limits.h"
#include "pool/listener.h"
#include "pool/slow_requests.h"
#include "pool/spawn.h"
#include "pool/takeover.h"

#define SECOND        INT64_C(1000000)
#define TICK          SECOND
#define FRESH_TIME    (2 * SECOND) /* a drain waits so long for the head of a new connection */
#define STEP          (SECOND / 5) /* a phase that waits looks again after this */
#define TERM_TIME     SECOND       /* a stop: from TERM to KILL */
#define LEAVE_TIME    (5 * SECOND) /* for the master's answer to IDLE */
#define BACKLOG_FILE  "/proc/sys/net/core/somaxconn"
#define BACKLOG_USUAL 4096

/* ---- phases ------------------------------------------------------------------------------- */

void fpd_pool_wake(fpd_pool *pool)
{
    if (pool->phase != FPD_POOL_SERVING || pool->pm.kind == FPD_PM_ONDEMAND) {
        fpd_loop_timer_set(pool->phase_timer, fpd_loop_now(pool->loop));
    }
}

void fpd_pool_enter(fpd_pool *pool, fpd_pool_phase phase)
{
    if (phase <= pool->phase) {
        return;
    }
    if (phase == FPD_POOL_DRAINING) {
        fpd_listener_take_rest(pool);
    }
    pool->phase = phase;
    pool->phase_since = fpd_loop_now(pool->loop);
    fpd_listener_leave(pool);
    if (!fpd_handover_has_next(pool)) {
        fpd_takeover_close_all(pool);
    }
    if (phase == FPD_POOL_STOPPING) {
        if (!pool->is_giving) {
            fpd_dispatch_refuse_all(pool, "the pool stops");
        }
        fpd_spawn_kill_all(pool, SIGTERM);
    }
    fpd_pool_wake(pool);
}

/* Connections that wait for a request: kept ones now, new ones after a while, in which their head
 * may come. Returns how many still wait. */
static uint32_t say_farewell(fpd_pool *pool, int64_t now)
{
    int is_late = now - pool->phase_since >= FRESH_TIME;
    uint32_t waiting = 0;

    for (uint32_t i = 0; i < fpd_connections_bound(pool); i++) {
        fpd_connection *connection = fpd_connections_at(pool, i);
        if (connection->state == FPD_CONNECTION_WATCHED && (is_late || !connection->is_fresh)) {
            fpd_farewell_say(connection);
        }
        waiting += connection->state == FPD_CONNECTION_WATCHED;
    }
    return waiting;
}

static void close_all(fpd_pool *pool)
{
    for (uint32_t i = 0; i < fpd_connections_bound(pool); i++) {
        fpd_connection *connection = fpd_connections_at(pool, i);
        if (connection->state != FPD_CONNECTION_FREE) {
            fpd_connections_close(connection);
        }
    }
}

/* The end of a pool that has been idle: the master must agree, since it polls the listener next. */
static void ask_to_leave(fpd_pool *pool, int64_t now)
{
    if (pool->leave_at == 0) {
        pool->leave_at = now + LEAVE_TIME;
        if (pool->is_master_gone ||
            fpd_channel_send(pool->setup.master, FPD_MESSAGE_IDLE, NULL, 0, NULL, 0, NULL, 0,
                             MSG_DONTWAIT) != APR_SUCCESS) {
            pool->leave_at = now;
        }
    }
    if (now >= pool->leave_at) {
        fpd_loop_stop(pool->loop);
    } else {
        fpd_loop_timer_set(pool->phase_timer, pool->leave_at);
    }
}

static void step_drain(fpd_pool *pool, int64_t now)
{
    int64_t limit = pool->plan->process_control_timeout * SECOND;

    if (pool->leave_at != 0) {
        ask_to_leave(pool, now);
        return;
    }
    if (pool->is_giving) {
        fpd_spawn_retire_all(pool);
    } else if (say_farewell(pool, now) == 0 && fpd_queue_length(pool->queue) == 0) {
        fpd_spawn_retire_all(pool);
    }
    fpd_handover_run(pool);
    if (fpd_spawn_total(pool) == 0 && fpd_connections_count(pool) == 0) {
        if (pool->phase == FPD_POOL_LEAVING) {
            ask_to_leave(pool, now);
        } else {
            fpd_loop_stop(pool->loop);
        }
        return;
    }
    if (pool->phase == FPD_POOL_DRAINING && now - pool->phase_since >= limit) {
        fpd_pool_enter(pool, FPD_POOL_STOPPING);
        return;
    }
    fpd_loop_timer_set(pool->phase_timer, now + STEP);
}

/* What can still be handed over is, in the time that workers have to end. */
static void step_stop(fpd_pool *pool, int64_t now)
{
    int is_giving = pool->is_giving && now - pool->phase_since < TERM_TIME;

    if (is_giving) {
        fpd_handover_run(pool);
    } else {
        fpd_dispatch_refuse_all(pool, "the pool stops");
    }
    if (fpd_spawn_total(pool) == 0 && !(is_giving && fpd_connections_count(pool) > 0)) {
        fpd_loop_stop(pool->loop);
        return;
    }
    if (now - pool->phase_since >= TERM_TIME) {
        fpd_spawn_kill_all(pool, SIGKILL);
    }
    fpd_loop_timer_set(pool->phase_timer, now + STEP);
}

/* An ondemand pool without a worker and without work leaves after pool_idle_timeout. */
static void step_idle(fpd_pool *pool, int64_t now)
{
    int64_t timeout = pool->plan->pool_idle_timeout * SECOND;

    if (timeout <= 0 || pool->setup.refusal != NULL || pool->pm.kind != FPD_PM_ONDEMAND ||
        fpd_spawn_total(pool) > 0 || fpd_queue_length(pool->queue) > 0 ||
        fpd_takeover_is_open(pool)) {
        return; /* the next death of a worker or end of a source wakes this again */
    }
    if (now - pool->busy_at >= timeout) {
        fpd_pool_enter(pool, FPD_POOL_LEAVING);
    } else {
        fpd_loop_timer_set(pool->phase_timer, pool->busy_at + timeout);
    }
}

static void step(void *context)
{
    fpd_pool *pool = context;
    int64_t now = fpd_loop_now(pool->loop);

    switch (pool->phase) {
    case FPD_POOL_SERVING:
        step_idle(pool, now);
        break;
    case FPD_POOL_DRAINING:
    case FPD_POOL_LEAVING:
        step_drain(pool, now);
        break;
    case FPD_POOL_STOPPING:
        step_stop(pool, now);
        break;
    }
}

static void tick(void *context)
{
    fpd_pool *pool = context;

    if (pool->phase != FPD_POOL_SERVING) {
        return;
    }
    fpd_spawn_tick(pool);
    if (pool->pm.kind != FPD_PM_ONDEMAND || fpd_spawn_total(pool) > 0 || pool->grants.pending > 0) {
        fpd_loop_timer_set(pool->tick_timer, fpd_loop_now(pool->loop) + TICK);
    }
}

/* ---- the master --------------------------------------------------------------------------- */

static void take_log(fpd_pool *pool, const fpd_message *message)
{
    fpd_message_reopen reopen;
    int used = 0;

    if (message->length != sizeof(reopen)) {
        return;
    }
    memcpy(&reopen, message->body, sizeof(reopen));
    if (message->fd_count != (reopen.has_access_log != 0) + (reopen.has_slow_log != 0)) {
        return;
    }
    if (reopen.has_access_log) {
        if (pool->setup.access_log >= 0) {
            close(pool->setup.access_log);
        }
        pool->setup.access_log = message->fds[used++];
    }
    if (reopen.has_slow_log) {
        if (pool->setup.slow_log >= 0) {
            close(pool->setup.slow_log);
        }
        pool->setup.slow_log = message->fds[used++];
    }
    fpd_spawn_send_logs(pool);
}

static void take_message(fpd_pool *pool, const fpd_message *message)
{
    int are_fds_taken = 0;

    switch (message->type) {
    case FPD_MESSAGE_DRAIN:
        if (message->fd_count == 1) {
            fpd_handover_begin(pool, message->fds[0]);
            are_fds_taken = 1;
        }
        fpd_pool_enter(pool, FPD_POOL_DRAINING);
        break;
    case FPD_MESSAGE_RECEIVE:
        if (message->fd_count == 1) {
            fpd_takeover_begin(pool, message->fds[0]);
            are_fds_taken = 1;
        }
        break;
    case FPD_MESSAGE_STOP:
        fpd_pool_enter(pool, FPD_POOL_STOPPING);
        break;
    case FPD_MESSAGE_REOPEN: {
        int before[2] = {pool->setup.access_log, pool->setup.slow_log};
        take_log(pool, message);
        are_fds_taken = before[0] != pool->setup.access_log || before[1] != pool->setup.slow_log;
        break;
    }
    case FPD_MESSAGE_LEAVE:
        if (pool->leave_at != 0) {
            fpd_loop_stop(pool->loop);
        }
        break;
    case FPD_MESSAGE_GRANT:
        if (message->length == sizeof(fpd_message_count)) {
            fpd_message_count granted;
            memcpy(&granted, message->body, sizeof(granted));
            fpd_spawn_take_grant(pool, granted.count);
        }
        break;
    case FPD_MESSAGE_RECLAIM:
        fpd_grants_reclaim(pool);
        break;
    default:
        fpd_log(FPD_LOG_ERROR, "message %u from the master is unknown", message->type);
    }
    for (int i = 0; i < message->fd_count && !are_fds_taken; i++) {
        close(message->fds[i]);
    }
}

static void on_master(void *context, uint32_t events)
{
    fpd_pool *pool = context;
    fpd_message message;
    apr_status_t status;

    (void)events;
    while ((status = fpd_channel_receive(pool->setup.master, &message, pool->buffer,
                                         MSG_DONTWAIT)) == APR_SUCCESS) {
        take_message(pool, &message);
    }
    if (APR_STATUS_IS_EAGAIN(status)) {
        return;
    }
    /* the master has died (lifecycle.md 5): another one binds the sockets, what is here is finished
     */
    pool->is_master_gone = 1;
    fpd_loop_remove(pool->loop, pool->master_watch);
    close(pool->setup.master);
    pool->setup.master = -1;
    fpd_pool_enter(pool, FPD_POOL_DRAINING);
    fpd_pool_wake(pool);
}

static void on_signal(void *context, int signal_number)
{
    fpd_pool *pool = context;

    switch (signal_number) {
    case SIGCHLD:
        fpd_deaths_reap(pool);
        break;
    case SIGTERM:
        fpd_pool_enter(pool, FPD_POOL_STOPPING);
        break;
    case SIGQUIT:
        fpd_pool_enter(pool, FPD_POOL_DRAINING);
        break;
    default:
        break; /* the master's business: INT of a terminal, HUP, USR1, USR2 */
    }
}

/* ---- making and running ------------------------------------------------------------------- */

/* queue.max, or what the kernel would let wait behind the listener. */
static uint32_t queue_limit(const fpd_plan_pool *plan)
{
    unsigned most = BACKLOG_USUAL;
    FILE *file;

    if (plan->queue_max > 0) {
        return (uint32_t)plan->queue_max;
    }
    file = fopen(BACKLOG_FILE, "re");
    if (file != NULL) {
        if (fscanf(file, "%u", &most) != 1) {
            most = BACKLOG_USUAL;
        }
        fclose(file);
    }
    return plan->listen_backlog < 0 || (unsigned)plan->listen_backlog > most
               ? most
               : (uint32_t)plan->listen_backlog;
}

static apr_status_t watch_signals(fpd_pool *pool)
{
    static const int watched[] = {SIGCHLD, SIGTERM, SIGQUIT, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++) {
        sigaddset(&set, watched[i]);
    }
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return APR_EGENERAL;
    }
    return fpd_loop_watch_signals(pool->loop, &set, on_signal, pool);
}

apr_status_t fpd_pool_create(fpd_pool **created, const fpd_pool_setup *setup, apr_pool_t *memory)
{
    fpd_pool *pool = apr_pcalloc(memory, sizeof(*pool));
    apr_status_t status = fpd_loop_create(&pool->loop, memory);

    if (status != APR_SUCCESS) {
        return status;
    }
    pool->memory = memory;
    pool->setup = *setup;
    pool->plan = setup->plan;
    pool->board = setup->board;
    pool->slot_count = setup->board->slot_count;
    pool->buffer = apr_palloc(memory, sizeof(*pool->buffer));
    pool->peek = apr_palloc(memory, FPD_POOL_PEEK_SIZE);
    pool->params = apr_palloc(memory, FPD_POOL_PARAMS_SIZE);
    pool->queue = fpd_queue_create(queue_limit(pool->plan), memory);
    pool->busy_at = fpd_loop_now(pool->loop);
    pool->phase_timer = fpd_loop_timer_create(pool->loop, step, pool);
    pool->tick_timer = fpd_loop_timer_create(pool->loop, tick, pool);
    fpd_pm_init(&pool->pm, pool->plan, pool->busy_at);
    if ((uint32_t)pool->pm.max_children > pool->slot_count) {
        pool->pm.max_children = (int)pool->slot_count;
    }
    atomic_store(&pool->board->queue_limit, fpd_queue_limit(pool->queue));
    fpd_spawn_create(pool);
    fpd_dispatch_create(pool);
    fpd_slow_requests_create(pool);
    fpd_limits_create(pool);
    fpd_handover_create(pool);
    fpd_takeover_create(pool);
    status = fpd_connections_create(pool);
    if (status == APR_SUCCESS) {
        status = fpd_listener_create(pool);
    }
    if (status == APR_SUCCESS) {
        status = watch_signals(pool);
    }
    if (status == APR_SUCCESS) {
        status =
            fpd_loop_add(pool->loop, setup->master, EPOLLIN, on_master, pool, &pool->master_watch);
    }
    *created = pool;
    return status;
}

int fpd_pool_run(fpd_pool *pool)
{
    apr_status_t status;

    if (pool->setup.refusal == NULL) {
        fpd_spawn_first(pool);
        fpd_loop_timer_set(pool->tick_timer, fpd_loop_now(pool->loop) + TICK);
    }
    status = fpd_listener_start(pool);
    if (status == APR_SUCCESS) {
        status = fpd_channel_send(pool->setup.master, FPD_MESSAGE_READY, NULL, 0, NULL, 0, NULL, 0,
                                  MSG_NOSIGNAL);
    }
    if (status == APR_SUCCESS) {
        fpd_pool_wake(pool);
        status = fpd_loop_run(pool->loop);
    }
    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ALERT, status, "the pool process cannot go on");
        fpd_spawn_kill_all(pool, SIGKILL);
    }
    fpd_handover_end(pool);
    close_all(pool);
    return status == APR_SUCCESS ? 0 : 70;
}
