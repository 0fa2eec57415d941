/* spawn.c - forks workers from the warm pool process and listens to them.
 *
 * Runs in the pool process; child_use is the only code here that runs in a worker. It decides
 * nothing about numbers (pm.c) and nothing about connections (dispatch.c).
 */
#include "pool/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/shortage.h"
#include "pool/dispatch.h"
#include "pool/slow_requests.h"

struct fpd_spawn {
    fpd_child *children; /* one for each slot */
    uint32_t total;
    uint32_t owed; /* workers that died and were not replaced yet */
};

static fpd_slot *slot_of(const fpd_child *child)
{
    return &child->pool->board->slots[child->slot];
}

fpd_child *fpd_spawn_child(fpd_pool *pool, uint32_t slot)
{
    return &pool->spawn->children[slot];
}

uint32_t fpd_spawn_total(const fpd_pool *pool)
{
    return pool->spawn->total;
}

int fpd_spawn_is_usable(const fpd_child *child)
{
    return child->pid != 0 && !child->is_dead && child->is_ready && !child->is_parked &&
           !child->is_retiring && child->channel >= 0;
}

void fpd_spawn_kill(fpd_child *child, int signal_number)
{
    if (child->pid != 0 && !child->is_dead && kill(child->pid, signal_number) != 0 &&
        errno != ESRCH) {
        fpd_log_errno(FPD_LOG_ERROR, errno, "cannot send signal %d to child %d", signal_number,
                      (int)child->pid);
    }
}

void fpd_spawn_kill_all(fpd_pool *pool, int signal_number)
{
    for (uint32_t i = 0; i < pool->slot_count; i++) {
        fpd_spawn_kill(&pool->spawn->children[i], signal_number);
    }
}

/* ---- messages ----------------------------------------------------------------------------- */

static void leave_channel(fpd_child *child)
{
    if (child->channel >= 0) {
        fpd_loop_remove(child->pool->loop, child->channel_watch);
        close(child->channel);
        child->channel = -1;
    }
}

static int take_message(fpd_child *child, const fpd_message *message)
{
    for (int i = 0; i < message->fd_count; i++) {
        close(message->fds[i]); /* workers have no descriptors to give */
    }
    if (message->type == FPD_MESSAGE_READY_WORKER) {
        child->is_ready = 1;
        fpd_dispatch_run(child->pool);
        return 1;
    }
    return fpd_dispatch_message(child, message);
}

/* Workers send blocking, so the channel is always read. One message at a wake-up: mostly there is
 * only one, and the loop comes back if there are more. */
static void read_channel(fpd_child *child, int is_to_its_end)
{
    fpd_pool *pool = child->pool;

    do {
        fpd_message message;
        apr_status_t status =
            fpd_channel_receive(child->channel, &message, pool->buffer, MSG_DONTWAIT);
        if (APR_STATUS_IS_EAGAIN(status)) {
            return;
        }
        if (status == APR_SUCCESS && take_message(child, &message)) {
            continue; /* to the condition */
        }
        if (status != APR_EOF) {
            fpd_log(FPD_LOG_WARNING, "child %d sent a malformed message, it is killed",
                    (int)child->pid);
        }
        /* SIGCHLD tells of the death; whoever lives without a channel is of no use */
        leave_channel(child);
        fpd_spawn_kill(child, SIGKILL);
        return;
    } while (is_to_its_end);
}

void fpd_spawn_hear_out(fpd_child *child)
{
    if (child->channel >= 0) {
        read_channel(child, 1);
        leave_channel(child);
    }
}

static void on_channel(void *context, uint32_t events)
{
    (void)events;
    read_channel(context, 0);
}

/* ---- fork --------------------------------------------------------------------------------- */

typedef struct fork_pieces {
    int channel[2]; /* 0: ours, 1: the worker's */
    fpd_output_pipes output;
    int tracer[2]; /* as channel; -1: none */
} fork_pieces;

static void discard(fork_pieces *pieces)
{
    for (int i = 0; i < 2; i++) {
        if (pieces->channel[i] >= 0) {
            close(pieces->channel[i]);
        }
        fpd_output_close_side(&pieces->output, i);
        if (pieces->tracer[i] >= 0) {
            close(pieces->tracer[i]);
        }
    }
}

static apr_status_t prepare(fpd_child *child, fork_pieces *pieces)
{
    uint64_t word = atomic_load(&slot_of(child)->word);
    apr_status_t status;

    *pieces =
        (fork_pieces){.channel = {-1, -1}, .output = {{-1, -1}, {-1, -1}}, .tracer = {-1, -1}};
    status = fpd_channel_pair(pieces->channel);
    if (status == APR_SUCCESS) {
        status = fpd_output_make_pipes(&pieces->output, child->pool->plan);
    }
    if (status == APR_SUCCESS && child->pool->slow_requests != NULL) {
        status = fpd_channel_pair(pieces->tracer);
    }
    if (status != APR_SUCCESS) {
        discard(pieces);
        return status;
    }
    atomic_store(&slot_of(child)->word, FPD_SLOT_WORD(word, FPD_SLOT_STARTING));
    return APR_SUCCESS;
}

/* In the new process. Never returns; never touches the pool process's memory pools. */
static void child_use(fpd_child *child, const fork_pieces *pieces)
{
    const fpd_pool_setup *given = &child->pool->setup;
    fpd_worker_setup setup = {
        .plan = given->plan,
        .board = given->board,
        .slot = child->slot,
        .channel = pieces->channel[1],
        .log = given->log,
        .output = pieces->output.out[1],
        .errors = pieces->output.err[1],
        .access_log = given->access_log,
        .tracer = pieces->tracer[1],
        .file_limit = given->file_limit,
    };

    if (apr_pool_create(&setup.pool, NULL) != APR_SUCCESS) {
        _exit(70);
    }
    given->run_worker(&setup);
    _exit(70);
}

static void parent_use(fpd_child *child, fork_pieces *pieces, pid_t pid)
{
    fpd_pool *pool = child->pool;
    struct timespec now;
    apr_status_t status;

    clock_gettime(CLOCK_REALTIME, &now);
    close(pieces->channel[1]);
    fpd_output_close_side(&pieces->output, 1);
    if (pieces->tracer[1] >= 0) {
        close(pieces->tracer[1]);
    }
    child->pid = pid;
    child->channel = pieces->channel[0];
    child->started_at = fpd_monotonic_now();
    child->is_ready = 0;
    child->is_parked = 0;
    child->is_retiring = 0;
    child->claimed_word = 0;
    child->ended_at = 0;
    atomic_store(&slot_of(child)->pid, pid);
    atomic_store(&slot_of(child)->started_at, now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000);
    pool->spawn->total++;
    fpd_output_start(&child->output, &pieces->output, pid, slot_of(child), pool->plan, pool->loop,
                     pool->memory);
    fpd_slow_requests_adopt(child, pieces->tracer[0]);
    status =
        fpd_loop_add(pool->loop, child->channel, EPOLLIN, on_channel, child, &child->channel_watch);
    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "cannot watch the channel of child %d", (int)pid);
        close(child->channel);
        child->channel = -1;
        fpd_spawn_kill(child, SIGKILL);
    }
}

static fpd_child *find_free(fpd_pool *pool)
{
    for (uint32_t i = 0; i < pool->slot_count; i++) {
        if (pool->spawn->children[i].pid == 0) {
            return &pool->spawn->children[i];
        }
    }
    return NULL;
}

/* The slot as it is between two workers; its sequence goes on. */
static void clear_slot(fpd_slot *slot)
{
    atomic_store(&slot->pid, 0);
    atomic_store(&slot->retire, 0);
    atomic_store(&slot->started_at, 0);
    atomic_store(&slot->request_id, 0);
    atomic_store(&slot->keep, 0);
    atomic_store(&slot->peer, 0);
    atomic_store(&slot->stage, FPD_STAGE_IDLE);
    atomic_store(&slot->lane_index, 0);
    atomic_store(&slot->has_lane, 0);
    atomic_store(&slot->request_started, 0);
    atomic_store(&slot->idle_since, 0);
    atomic_store(&slot->last_duration, 0);
    atomic_store(&slot->requests, 0);
    atomic_store(&slot->lane_hits, 0);
    atomic_store(&slot->content_length, 0);
    atomic_store(&slot->last_cpu_centi, 0);
    atomic_store(&slot->last_memory, 0);
    atomic_store(&slot->text_sequence, 0);
    memset(slot->method, 0, sizeof(slot->method));
    memset(slot->uri, 0, sizeof(slot->uri));
    memset(slot->query, 0, sizeof(slot->query));
    memset(slot->user, 0, sizeof(slot->user));
    memset(slot->script, 0, sizeof(slot->script));
    atomic_store(&slot->word, FPD_SLOT_WORD(atomic_load(&slot->word), FPD_SLOT_FREE));
}

void fpd_spawn_free(fpd_child *child)
{
    fpd_pool *pool = child->pool;
    fpd_slot *slot = slot_of(child);

    atomic_fetch_add(&pool->board->retired_requests, atomic_load(&slot->requests));
    atomic_fetch_add(&pool->board->retired_lane_hits, atomic_load(&slot->lane_hits));
    clear_slot(slot);
    child->pid = 0;
    child->is_dead = 0;
    pool->spawn->total--;
}

static int fork_one(fpd_pool *pool, fpd_log_level level)
{
    fpd_child *child = find_free(pool);
    char reason[FPD_SHORTAGE_MAX];
    fork_pieces pieces;
    apr_status_t status;
    pid_t pid;

    if (child == NULL) {
        return 0;
    }
    status = prepare(child, &pieces);
    if (status == APR_SUCCESS) {
        pid = fork();
        if (pid == 0) {
            child_use(child, &pieces);
        }
        if (pid > 0) {
            parent_use(child, &pieces, pid);
            if (pool->spawn->owed > 0) { /* a replacement that had to wait */
                pool->spawn->owed--;
                level = FPD_LOG_NOTICE;
            }
            fpd_log(level, "child %d started", (int)pid);
            return 1;
        }
        status = errno;
        discard(&pieces);
        clear_slot(slot_of(child));
    }
    fpd_log(FPD_LOG_ERROR, "cannot start a worker: %s", fpd_shortage_describe(reason, status));
    fpd_loop_timer_set(pool->fork_timer, fpd_pm_fork_failed(&pool->pm, fpd_loop_now(pool->loop)));
    return 0;
}

/* Returns how many there are more now. */
static int fork_some(fpd_pool *pool, int count, fpd_log_level level)
{
    uint32_t allowed = fpd_grants_allow(pool, count > 0 ? (uint32_t)count : 0);

    int forked = 0;

    while (allowed-- > 0 && fork_one(pool, level)) {
        forked++;
    }
    fpd_grants_settle(pool);
    if (pool->plan->pm == FPD_PM_ONDEMAND && (pool->spawn->total > 0 || pool->grants.pending > 0) &&
        !fpd_loop_timer_is_set(pool->tick_timer)) {
        fpd_loop_timer_set(pool->tick_timer, fpd_loop_now(pool->loop) + INT64_C(1000000));
    }
    return forked;
}

/* ---- the process manager's decisions ------------------------------------------------------ */

static fpd_pm_counts count(fpd_pool *pool)
{
    fpd_pm_counts counts = {.total = (int)pool->spawn->total,
                            .queued = (int)fpd_queue_length(pool->queue)};

    for (uint32_t i = 0; i < pool->slot_count; i++) {
        const fpd_child *child = &pool->spawn->children[i];
        fpd_slot_state state = FPD_SLOT_STATE(atomic_load(&pool->board->slots[i].word));
        if (child->pid == 0 || child->is_dead || child->is_retiring) {
            continue;
        }
        if (!child->is_ready) {
            counts.idle++;
            counts.starting++;
        } else if (state == FPD_SLOT_IDLE || state == FPD_SLOT_IDLE_NO_LANE) {
            counts.idle++;
        } else {
            counts.active++;
        }
    }
    return counts;
}

static void warn(fpd_pool *pool, const fpd_pm_decision *decision, const fpd_pm_counts *counts)
{
    switch (decision->warning) {
    case FPD_PM_WARN_MAX_CHILDREN:
        atomic_fetch_add(&pool->board->max_children_reached, 1);
        fpd_log(FPD_LOG_WARNING, "server reached %smax_children setting (%d), consider raising it",
                pool->pm.kind == FPD_PM_ONDEMAND ? "" : "pm.", pool->pm.max_children);
        break;
    case FPD_PM_WARN_BUSY:
        fpd_log(FPD_LOG_WARNING,
                "seems busy (you may need to increase pm.start_servers, or "
                "pm.min/max_spare_servers), spawning %d children, there are %d idle, and %d total "
                "children",
                decision->rate, counts->idle, counts->total);
        break;
    case FPD_PM_WARN_NONE:
        break;
    }
}

static int retire_one(fpd_pool *pool, const fpd_pm_state *pm)
{
    fpd_pm_slot *slots = (fpd_pm_slot *)pool->params; /* scratch memory, large enough or cut */
    uint32_t most = FPD_POOL_PARAMS_SIZE / sizeof(*slots);
    uint32_t used = pool->slot_count < most ? pool->slot_count : most;
    int chosen;

    for (uint32_t i = 0; i < used; i++) {
        const fpd_child *child = &pool->spawn->children[i];
        fpd_slot *slot = &pool->board->slots[i];
        fpd_slot_state state = FPD_SLOT_STATE(atomic_load(&slot->word));
        int64_t idle_since = atomic_load(&slot->idle_since);
        slots[i] = (fpd_pm_slot){
            .is_idle = fpd_spawn_is_usable(child) &&
                       (state == FPD_SLOT_IDLE || state == FPD_SLOT_IDLE_NO_LANE),
            .started_at = child->started_at,
            .idle_since = idle_since > child->started_at ? idle_since : child->started_at,
        };
    }
    chosen = fpd_pm_choose_retired(pm, slots, (int)used, fpd_loop_now(pool->loop));
    return chosen >= 0 && fpd_dispatch_retire(&pool->spawn->children[chosen]);
}

int fpd_spawn_retire_idle(fpd_pool *pool)
{
    fpd_pm_state pm = pool->pm;

    pm.idle_timeout = 0;
    return retire_one(pool, &pm);
}

static int apply(fpd_pool *pool, const fpd_pm_decision *decision, const fpd_pm_counts *counts,
                 fpd_log_level level)
{
    int forked;

    if (pool->phase == FPD_POOL_STOPPING || pool->setup.refusal != NULL || pool->is_giving) {
        return 0;
    }
    warn(pool, decision, counts);
    forked = fork_some(pool, decision->fork, level);
    if (decision->should_retire) {
        (void)retire_one(pool, &pool->pm);
    }
    if (decision->retry_at != 0) {
        fpd_loop_timer_set(pool->fork_timer, decision->retry_at);
    }
    return forked;
}

void fpd_spawn_first(fpd_pool *pool)
{
    (void)fork_some(pool, fpd_pm_start_count(&pool->pm), FPD_LOG_DEBUG);
}

static void tell_counts(const fpd_pool *pool, const fpd_pm_counts *counts, int rate)
{
    if (pool->pm.kind == FPD_PM_ONDEMAND) {
        fpd_log(FPD_LOG_DEBUG, "currently %d active children, %d spare children", counts->active,
                counts->idle);
    } else if (pool->pm.kind == FPD_PM_DYNAMIC) {
        fpd_log(FPD_LOG_DEBUG,
                "currently %d active children, %d spare children, %d running children. Spawning "
                "rate %d",
                counts->active, counts->idle, counts->total, rate);
    }
}

void fpd_spawn_tick(fpd_pool *pool)
{
    fpd_pm_counts counts = count(pool);
    fpd_pm_decision decision = fpd_pm_tick(&pool->pm, &counts, fpd_loop_now(pool->loop));
    int forked;

    tell_counts(pool, &counts, decision.rate);
    fpd_grants_tick(pool);
    if ((uint32_t)counts.active > atomic_load(&pool->board->max_active)) {
        atomic_store(&pool->board->max_active, (uint32_t)counts.active);
    }
    forked = apply(pool, &decision, &counts, FPD_LOG_DEBUG);
    if (forked > 0 && pool->pm.kind == FPD_PM_DYNAMIC) {
        fpd_log(FPD_LOG_DEBUG, "%d child(ren) have been created dynamically", forked);
    }
    if (pool->plan->has_process_max && counts.queued > 0) {
        fpd_spawn_follow_queue(pool); /* what waits for a grant is still wanted */
    }
}

void fpd_spawn_follow_queue(fpd_pool *pool)
{
    fpd_pm_counts counts = count(pool);
    fpd_pm_decision decision;
    int forked;

    if (counts.queued > counts.idle &&
        fpd_grants_must_wait(pool, fpd_pm_need(&pool->pm, &counts))) {
        return;
    }
    decision = fpd_pm_follow_queue(&pool->pm, &counts, fpd_loop_now(pool->loop));
    forked = apply(pool, &decision, &counts, FPD_LOG_DEBUG);
    while (pool->pm.kind == FPD_PM_ONDEMAND && forked-- > 0) {
        fpd_log(FPD_LOG_DEBUG, "got accept without idle child available .... I forked");
    }
}

void fpd_spawn_replace(fpd_pool *pool, int64_t lived, int has_served)
{
    fpd_pm_counts counts = count(pool);
    fpd_pm_decision decision =
        fpd_pm_replace(&pool->pm, &counts, lived, has_served, fpd_loop_now(pool->loop));

    pool->spawn->owed++;
    (void)apply(pool, &decision, &counts, FPD_LOG_NOTICE);
}

void fpd_spawn_take_grant(fpd_pool *pool, uint32_t count)
{
    (void)fork_some(pool, (int)fpd_grants_take(pool, count), FPD_LOG_DEBUG);
    fpd_dispatch_run(pool);
}

int fpd_spawn_is_failing(const fpd_pool *pool)
{
    return pool->spawn->total == 0 && fpd_pm_is_failing(&pool->pm, fpd_loop_now(pool->loop));
}

/* Forks that were put off: by back-off, by the spawn rate, by a failure. */
static void fork_again(void *context)
{
    fpd_pool *pool = context;

    if (pool->phase == FPD_POOL_SERVING && pool->pm.kind != FPD_PM_ONDEMAND) {
        fpd_spawn_tick(pool);
    }
    fpd_spawn_follow_queue(pool);
    fpd_dispatch_run(pool);
}

/* ---- all of them -------------------------------------------------------------------------- */

void fpd_spawn_retire_all(fpd_pool *pool)
{
    for (uint32_t i = 0; i < pool->slot_count; i++) {
        fpd_child *child = &pool->spawn->children[i];
        if (child->pid != 0 && !child->is_retiring) {
            atomic_store(&slot_of(child)->retire, 1);
            (void)fpd_dispatch_retire(child);
        }
    }
}

void fpd_spawn_send_logs(fpd_pool *pool)
{
    /* The slow log goes to a worker with each question of slow_requests.c. */
    fpd_message_reopen message = {.has_access_log = 1};

    if (pool->setup.access_log < 0) {
        return;
    }
    for (uint32_t i = 0; i < pool->slot_count; i++) {
        fpd_child *child = &pool->spawn->children[i];
        apr_status_t status = APR_SUCCESS;
        if (child->pid != 0 && child->channel >= 0) {
            status = fpd_channel_send(child->channel, FPD_MESSAGE_LOGS, &message, sizeof(message),
                                      NULL, 0, &pool->setup.access_log, 1, MSG_DONTWAIT);
        }
        if (status != APR_SUCCESS && status != EPIPE) { /* else it has just ended */
            fpd_log(FPD_LOG_WARNING, "child %d did not take the new log files", (int)child->pid);
        }
    }
    atomic_fetch_add(&pool->board->log_generation, 1);
}

void fpd_spawn_create(fpd_pool *pool)
{
    fpd_spawn *spawn = apr_pcalloc(pool->memory, sizeof(*spawn));

    spawn->children = apr_pcalloc(pool->memory, pool->slot_count * sizeof(*spawn->children));
    for (uint32_t i = 0; i < pool->slot_count; i++) {
        spawn->children[i].pool = pool;
        spawn->children[i].slot = i;
        spawn->children[i].channel = -1;
        spawn->children[i].output.out.fd = spawn->children[i].output.err.fd = -1;
        spawn->children[i].tracer = -1;
    }
    pool->spawn = spawn;
    pool->fork_timer = fpd_loop_timer_create(pool->loop, fork_again, pool);
}
