/* limits.c - ends workers whose request runs for too long: TERM, then KILL.
 *
 * Runs in the pool process on a timer. It only sends signals; the answer to the client comes from
 * dispatch.c after the death.
 */
#include "pool/limits.h"

#include <signal.h>
#include <stdio.h>

#include "base/log.h"

#define PERIOD_LEAST INT64_C(130000) /* php-fpm's floor */
#define KILL_AFTER   (2 * INT64_C(1000000))

static int64_t timeout_of(const fpd_pool *pool)
{
    return pool->plan->request_terminate_timeout * INT64_C(1000000);
}

int fpd_limits_has_ended(const fpd_child *child)
{
    const fpd_slot *slot = &child->pool->board->slots[child->slot];

    return child->ended_at != 0 && child->ended_request == atomic_load(&slot->request_started);
}

/* php-fpm's rule: everything up to the end of the script, with track_finished also what comes
 * behind it. Returns when the request began, 0: nothing that counts. */
static int64_t running_since(const fpd_child *child)
{
    const fpd_pool *pool = child->pool;
    const fpd_slot *slot = &pool->board->slots[child->slot];
    int is_finishing = atomic_load(&slot->stage) == FPD_STAGE_FINISHING;
    int64_t since = atomic_load(&slot->request_started);

    switch (FPD_SLOT_STATE(atomic_load(&slot->word))) {
    case FPD_SLOT_DONE:
        is_finishing = 1;
        /* fall through */
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

static void end_child(fpd_child *child, int64_t since, int64_t now)
{
    fpd_pool *pool = child->pool;
    fpd_slot_view view;
    int64_t elapsed = now - since;

    fpd_board_read_slot(pool->board, child->slot, &view);
    fpd_board_make_printable(&view);
    fpd_log(FPD_LOG_WARNING,
            "child %d, script '%s' (request: \"%s %s%s%s\") execution timed out (%ld.%06d sec), "
            "terminating",
            (int)child->pid, view.script, view.method, view.uri, view.query[0] != '\0' ? "?" : "",
            view.query, (long)(elapsed / 1000000), (int)(elapsed % 1000000));
    child->ended_at = now;
    child->ended_request = since;
    fpd_spawn_kill(child, SIGTERM);
}

static void check(void *context)
{
    fpd_pool *pool = context;
    int64_t now = fpd_monotonic_now();
    int64_t period = timeout_of(pool) / 3;

    for (uint32_t i = 0; i < pool->slot_count; i++) {
        fpd_child *child = fpd_spawn_child(pool, i);
        int64_t since;
        if (child->pid == 0) {
            continue;
        }
        since = running_since(child);
        if (since <= 0 || now - since < timeout_of(pool)) {
            continue;
        }
        if (!fpd_limits_has_ended(child)) {
            end_child(child, since, now);
        } else if (now - child->ended_at >= KILL_AFTER) {
            fpd_spawn_kill(child, SIGKILL);
        }
        period = KILL_AFTER < period ? KILL_AFTER : period;
    }
    fpd_loop_timer_set(pool->limit_timer, now + (period < PERIOD_LEAST ? PERIOD_LEAST : period));
}

void fpd_limits_create(fpd_pool *pool)
{
    if (pool->plan->request_terminate_timeout <= 0 || pool->setup.refusal != NULL) {
        return;
    }
    pool->limit_timer = fpd_loop_timer_create(pool->loop, check, pool);
    fpd_loop_timer_set(pool->limit_timer, fpd_loop_now(pool->loop) + timeout_of(pool) / 3);
}
