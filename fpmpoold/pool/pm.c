/* pm.c - decides how many workers to fork and which one to retire.
 *
 * Pure; runs in the pool process. It must not fork, log, or read a clock.
 */
#include "pool/pm.h"

#define SECOND         INT64_C(1000000)
#define BACKOFF_FIRST  (SECOND / 10)
#define BACKOFF_MAX    (30 * SECOND)
#define AT_ONCE        SECOND /* a worker that lives shorter and serves nothing has failed */
#define BUSY_RATE      8
#define CREDIT_OF_FORK SECOND

void fpd_pm_init(fpd_pm_state *pm, const fpd_plan_pool *plan, int64_t now)
{
    *pm = (fpd_pm_state){
        .kind = plan->pm,
        .max_children = plan->max_children,
        .start_servers = plan->start_servers,
        .min_spare = plan->min_spare_servers,
        .max_spare = plan->max_spare_servers,
        .max_spawn_rate = plan->max_spawn_rate > 0 ? plan->max_spawn_rate : 1,
        .idle_timeout = plan->process_idle_timeout * SECOND,
        .spawn_rate = 1,
        .credit_at = now,
    };
    pm->credit = pm->max_spawn_rate * CREDIT_OF_FORK;
}

static int smaller(int left, int right)
{
    return left < right ? left : right;
}

static int room_left(const fpd_pm_state *pm, const fpd_pm_counts *counts)
{
    return counts->total < pm->max_children ? pm->max_children - counts->total : 0;
}

int fpd_pm_start_count(const fpd_pm_state *pm)
{
    switch (pm->kind) {
    case FPD_PM_STATIC:
        return pm->max_children;
    case FPD_PM_DYNAMIC:
        return smaller(pm->start_servers, pm->max_children);
    default:
        return 0;
    }
}

/* One warning per episode; the episode ends when a fork becomes possible or a worker idle. */
static void report_max(fpd_pm_state *pm, fpd_pm_decision *decision)
{
    if (!pm->is_max_reported) {
        pm->is_max_reported = 1;
        decision->warning = FPD_PM_WARN_MAX_CHILDREN;
    }
}

static void tick_dynamic(fpd_pm_state *pm, const fpd_pm_counts *counts, fpd_pm_decision *decision)
{
    int room = room_left(pm, counts);

    if (counts->idle > pm->max_spare) {
        pm->spawn_rate = 1;
        decision->should_retire = 1;
        return;
    }
    if (counts->idle >= pm->min_spare) {
        pm->spawn_rate = 1;
        return;
    }
    if (room == 0) {
        report_max(pm, decision);
        pm->spawn_rate = 1;
        return;
    }
    if (pm->spawn_rate >= BUSY_RATE) {
        decision->warning = FPD_PM_WARN_BUSY;
    }
    decision->rate = pm->spawn_rate;
    decision->fork = smaller(smaller(pm->spawn_rate, pm->min_spare - counts->idle), room);
    pm->is_max_reported = 0;
    if (pm->spawn_rate < pm->max_spawn_rate) {
        pm->spawn_rate *= 2;
    }
}

/* Back-off holds every fork, whatever asked for it. */
static void hold_back(const fpd_pm_state *pm, fpd_pm_decision *decision, int64_t now)
{
    if (decision->fork > 0 && now < pm->not_before) {
        decision->fork = 0;
        decision->warning = FPD_PM_WARN_NONE;
        decision->retry_at = pm->not_before;
    }
}

fpd_pm_decision fpd_pm_tick(fpd_pm_state *pm, const fpd_pm_counts *counts, int64_t now)
{
    fpd_pm_decision decision = {.rate = pm->spawn_rate};

    if (counts->idle > 0 && counts->queued == 0) {
        pm->is_max_reported = pm->is_max_reported && counts->idle < pm->min_spare;
    }
    switch (pm->kind) {
    case FPD_PM_STATIC:
        decision.fork = room_left(pm, counts);
        break;
    case FPD_PM_DYNAMIC:
        tick_dynamic(pm, counts, &decision);
        break;
    default:
        decision.should_retire = counts->idle > counts->starting && counts->queued == 0;
    }
    hold_back(pm, &decision, now);
    return decision;
}

/* A bucket: max_spawn_rate forks at once, refilled within a second. */
static void refill(fpd_pm_state *pm, int64_t now)
{
    int64_t most = pm->max_spawn_rate * CREDIT_OF_FORK;
    int64_t passed = now - pm->credit_at;

    if (passed >= SECOND) {
        pm->credit = most;
    } else if (passed > 0) {
        pm->credit += passed * pm->max_spawn_rate;
        pm->credit = pm->credit > most ? most : pm->credit;
    }
    pm->credit_at = now;
}

uint32_t fpd_pm_need(const fpd_pm_state *pm, const fpd_pm_counts *counts)
{
    int wanted = smaller(counts->queued - counts->idle, room_left(pm, counts));

    return wanted > 0 ? (uint32_t)wanted : 0;
}

fpd_pm_decision fpd_pm_follow_queue(fpd_pm_state *pm, const fpd_pm_counts *counts, int64_t now)
{
    fpd_pm_decision decision = {.rate = pm->spawn_rate};
    int wanted = counts->queued - counts->idle;
    int room = room_left(pm, counts);
    int affordable;

    if (wanted <= 0) {
        return decision;
    }
    if (room == 0) {
        /* static has all its workers from the start: php-fpm says nothing there */
        if (pm->kind != FPD_PM_STATIC && counts->total == counts->active) {
            report_max(pm, &decision);
        }
        return decision;
    }
    decision.fork = smaller(wanted, room);
    hold_back(pm, &decision, now);
    if (decision.fork == 0) {
        return decision;
    }
    refill(pm, now);
    affordable = (int)(pm->credit / CREDIT_OF_FORK);
    if (affordable < decision.fork) {
        decision.fork = affordable;
        decision.retry_at = now + CREDIT_OF_FORK / pm->max_spawn_rate + 1;
    }
    pm->credit -= decision.fork * CREDIT_OF_FORK;
    if (decision.fork > 0) {
        pm->is_max_reported = 0;
    }
    return decision;
}

/* 0, 0.1, 0.2, 0.4 ... 30 s. Workers that die within one back-off are one failure. */
static void back_off(fpd_pm_state *pm, int64_t now)
{
    int64_t delay = 0;

    if (now < pm->not_before) {
        return;
    }
    pm->failures++;
    if (pm->failures > 1) {
        delay = BACKOFF_FIRST;
        for (int i = 2; i < pm->failures && delay < BACKOFF_MAX; i++) {
            delay *= 2;
        }
        delay = delay > BACKOFF_MAX ? BACKOFF_MAX : delay;
    }
    pm->not_before = now + delay;
}

fpd_pm_decision fpd_pm_replace(fpd_pm_state *pm, const fpd_pm_counts *counts, int64_t lived,
                               int has_served, int64_t now)
{
    fpd_pm_decision decision = {.rate = pm->spawn_rate};

    if (!has_served && lived < AT_ONCE) {
        back_off(pm, now);
    } else {
        pm->failures = 0;
        pm->not_before = 0;
    }
    decision.fork = room_left(pm, counts) > 0;
    hold_back(pm, &decision, now);
    return decision;
}

int64_t fpd_pm_fork_failed(fpd_pm_state *pm, int64_t now)
{
    if (pm->failures == 0) {
        pm->failures = 1; /* a second try in the same instant is of no use */
    }
    back_off(pm, now);
    return pm->not_before;
}

int fpd_pm_is_failing(const fpd_pm_state *pm, int64_t now)
{
    return now < pm->not_before && pm->failures > 5; /* from the sixth on it is above 1 s */
}

int fpd_pm_choose_retired(const fpd_pm_state *pm, const fpd_pm_slot *slots, int count, int64_t now)
{
    int chosen = -1;

    for (int i = 0; i < count; i++) {
        if (!slots[i].is_idle) {
            continue;
        }
        if (pm->kind == FPD_PM_ONDEMAND) {
            if (now - slots[i].idle_since >= pm->idle_timeout &&
                (chosen < 0 || slots[i].idle_since < slots[chosen].idle_since)) {
                chosen = i;
            }
        } else if (chosen < 0 || slots[i].started_at < slots[chosen].started_at) {
            chosen = i;
        }
    }
    return chosen;
}
