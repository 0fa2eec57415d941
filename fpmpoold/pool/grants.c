/* grants.c - counts what the master has granted, asks for more, gives back.
 *
 * Runs in the pool process. Every message replaces what was said before or is a plain number, so a
 * message that could not be sent is made good by the next tick.
 */
#include "pool/grants.h"

#include "pool/dispatch.h"
#include "pool/spawn.h"

static int is_limited(const fpd_pool *pool)
{
    return pool->plan->has_process_max;
}

/* Granted, and not forked. */
static uint32_t count_free(const fpd_pool *pool)
{
    uint32_t total = fpd_spawn_total(pool);

    return pool->grants.held > total ? pool->grants.held - total : 0;
}

static int tell(fpd_pool *pool, fpd_message_type type, const void *body, size_t length)
{
    return !pool->is_master_gone && fpd_channel_send(pool->setup.master, type, body, length, NULL,
                                                     0, NULL, 0, MSG_DONTWAIT) == APR_SUCCESS;
}

static void tell_wanted(fpd_pool *pool)
{
    fpd_grants *grants = &pool->grants;
    fpd_message_want want = {.count = grants->pending,
                             .is_urgent = fpd_queue_length(pool->queue) > 0};

    if (tell(pool, FPD_MESSAGE_WANT, &want, sizeof(want))) {
        grants->told = want.count;
        grants->is_told_urgent = want.is_urgent != 0;
    }
}

uint32_t fpd_grants_allow(fpd_pool *pool, uint32_t count)
{
    uint32_t spare;

    if (!is_limited(pool)) {
        return count;
    }
    spare = count_free(pool);
    if (count <= spare) {
        return count;
    }
    if (count - spare > pool->grants.pending) {
        pool->grants.pending = count - spare;
    }
    return spare;
}

int fpd_grants_must_wait(fpd_pool *pool, uint32_t count)
{
    if (!is_limited(pool) || pool->grants.pending == 0 || count_free(pool) > 0) {
        return 0;
    }
    pool->grants.pending = count > pool->grants.pending ? count : pool->grants.pending;
    fpd_grants_settle(pool);
    return 1;
}

void fpd_grants_tick(fpd_pool *pool)
{
    if (is_limited(pool) && pool->grants.pending > 0) {
        pool->grants.pending = 0;
        pool->grants.told = UINT32_MAX;
    }
}

void fpd_grants_pay(fpd_pool *pool)
{
    fpd_message_count back = {1};
    fpd_grants *grants = &pool->grants;

    if (grants->debt > 0 && grants->held > 0 &&
        tell(pool, FPD_MESSAGE_GIVE_BACK, &back, sizeof(back))) {
        grants->debt--;
        grants->held--;
        atomic_store(&pool->board->debt, grants->debt);
    }
}

void fpd_grants_settle(fpd_pool *pool)
{
    fpd_grants *grants = &pool->grants;
    fpd_message_count back = {count_free(pool)};
    int is_urgent = fpd_queue_length(pool->queue) > 0;

    if (!is_limited(pool)) {
        return;
    }
    if (back.count > 0 && tell(pool, FPD_MESSAGE_GIVE_BACK, &back, sizeof(back))) {
        grants->held -= back.count;
    }
    if (pool->phase != FPD_POOL_SERVING && !is_urgent) {
        grants->pending = 0;
    }
    if (grants->pending != grants->told ||
        (grants->pending > 0 && is_urgent != grants->is_told_urgent)) {
        tell_wanted(pool);
    }
}

uint32_t fpd_grants_take(fpd_pool *pool, uint32_t count)
{
    fpd_grants *grants = &pool->grants;
    uint32_t most = pool->slot_count > grants->held ? pool->slot_count - grants->held : 0;
    uint32_t used;

    grants->held += count < most ? count : most;
    if (pool->phase == FPD_POOL_STOPPING ||
        (pool->pm.kind == FPD_PM_ONDEMAND && fpd_queue_length(pool->queue) == 0)) {
        grants->pending = 0; /* whoever it was for has gone */
    }
    used = count_free(pool);
    used = used < grants->pending ? used : grants->pending;
    grants->pending -= used;
    grants->told = grants->told > count ? grants->told - count : 0; /* the master's count too */
    return used;
}

void fpd_grants_reclaim(fpd_pool *pool)
{
    fpd_grants *grants = &pool->grants;

    if (!fpd_spawn_retire_idle(pool) && grants->debt < fpd_spawn_total(pool)) {
        atomic_store(&pool->board->debt, ++grants->debt);
    }
}
