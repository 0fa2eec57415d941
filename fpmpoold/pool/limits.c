/* limits.c - ends requests that run for too long: asks the worker, then TERM, then KILL.
 *
 * Runs in the pool process on a timer. It only sends signals. The answer to the client comes from
 * the worker (worker/timeout.c), or from dispatch.c after the worker's death.
 */
#include "pool/limits.h"

#include <signal.h>
#include <unistd.h>

#include "base/log.h"

#define SECOND     INT64_C(1000000)
#define ASK_AGAIN  (SECOND / 4) /* a worker that was asked and is not ending yet */
#define GRACE      (5 * SECOND) /* for the request's end in the worker, from the limit on */
#define KILL_AFTER (2 * SECOND) /* TERM did not help */

static int64_t timeout_of(const fpd_pool *pool)
{
    return pool->plan->request_terminate_timeout * SECOND;
}

int fpd_limits_has_ended(const fpd_child *child)
{
    const fpd_slot *slot = &child->pool->board->slots[child->slot];

    return child->ended_at != 0 && child->ended_request == atomic_load(&slot->request_started);
}

/* php-fpm's rule: everything up to the end of the script, with track_finished also what comes
 * behind it; and what a request does that was told to end. Returns when the request began, 0:
 * nothing that counts. */
static int64_t running_since(const fpd_child *child)
{
    const fpd_pool *pool = child->pool;
    const fpd_slot *slot = &pool->board->slots[child->slot];
    uint32_t stage = atomic_load(&slot->stage);
    int is_finishing = stage == FPD_STAGE_FINISHING;
    int64_t since = atomic_load(&slot->request_started);

    switch (FPD_SLOT_STATE(atomic_load(&slot->word))) {
    case FPD_SLOT_DONE:
        is_finishing = stage != FPD_STAGE_ENDING;
        break;
    case FPD_SLOT_RUNNING:
    case FPD_SLOT_SENDING:
        break;
    default:
        return 0;
    }
    if (is_finishing && !pool->plan->request_terminate_track_finished) {
        return 0;
    }
    /* begun before the worker was last idle: it has not yet written when the new one began */
    return since > atomic_load(&slot->idle_since) ? since : 0;
}

static void report(const fpd_child *child, int64_t elapsed)
{
    fpd_slot_view view;

    fpd_board_read_slot(child->pool->board, child->slot, &view);
    fpd_board_make_printable(&view);
    fpd_log(FPD_LOG_WARNING,
            "child %d, script '%s' (request: \"%s %s%s%s\") execution timed out (%ld.%06d sec), "
            "terminating",
            (int)child->pid, view.script, view.method, view.uri, view.query[0] != '\0' ? "?" : "",
            view.query, (long)(elapsed / SECOND), (int)(elapsed % SECOND));
}

/* A system call that PHP repeats once is got out of by asking again. */
static void ask(const fpd_child *child)
{
    const fpd_slot *slot = &child->pool->board->slots[child->slot];
    union sigval value = {.sival_ptr = (void *)(uintptr_t)child->ended_request};

    if (atomic_load(&slot->stage) != FPD_STAGE_ENDING) {
        (void)sigqueue(child->pid, FPD_CHANNEL_END_SIGNAL, value); /* if it fails: TERM is next */
    }
}

/* The request that began at `since` is over its limit. Returns when to look again. */
static int64_t end_request(fpd_child *child, int64_t since, int64_t now)
{
    if (!fpd_limits_has_ended(child)) {
        report(child, now - since);
        child->ended_at = now;
        child->ended_request = since;
    }
    if (now - child->ended_at < GRACE) {
        ask(child);
        return now + ASK_AGAIN;
    }
    fpd_spawn_kill(child, now - child->ended_at < GRACE + KILL_AFTER ? SIGTERM : SIGKILL);
    return now + KILL_AFTER;
}

/* A request that begins after this check needs none before `timeout` from now. */
static void check(void *context)
{
    fpd_pool *pool = context;
    int64_t now = fpd_monotonic_now();
    int64_t next = now + timeout_of(pool);

    for (uint32_t i = 0; i < pool->slot_count; i++) {
        fpd_child *child = fpd_spawn_child(pool, i);
        int64_t since = child->pid != 0 ? running_since(child) : 0;
        int64_t due;
        if (since <= 0) {
            continue;
        }
        due = since + timeout_of(pool);
        if (due <= now) {
            due = end_request(child, since, now);
        }
        next = due < next ? due : next;
    }
    fpd_loop_timer_set(pool->limit_timer, next);
}

void fpd_limits_create(fpd_pool *pool)
{
    if (pool->plan->request_terminate_timeout <= 0 || pool->setup.refusal != NULL) {
        return;
    }
    pool->limit_timer = fpd_loop_timer_create(pool->loop, check, pool);
    fpd_loop_timer_set(pool->limit_timer, fpd_loop_now(pool->loop) + timeout_of(pool));
}
