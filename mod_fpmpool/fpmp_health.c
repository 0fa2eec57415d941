/* fpmp_health.c - is a server used? The states of a server and what moves them.
 *
 * Runs in every thread of every httpd child. Pure but for the compare-and-swap at the end; must not
 * log, do I/O or know requests.
 */
#include "fpmp_health.h"

#define TRIAL_MOST 10000 /* ms after which a trial that nobody reported counts as lost */
#define GONE_PAUSE 50    /* ms between two looks at a unix socket without a listener */

/* The word: bits of its parts, from the lowest. `pause` is 0 for a server that is GONE, or counts
 * the pauses so far; `streak`: checks in a row that say otherwise than the state. */
#define STATE_BITS  2
#define FAILS_BITS  6
#define STREAK_BITS 6
#define PAUSE_BITS  4
#define SINCE_BITS  46

#define FAILS_SHIFT  STATE_BITS
#define STREAK_SHIFT (FAILS_SHIFT + FAILS_BITS)
#define PAUSE_SHIFT  (STREAK_SHIFT + STREAK_BITS)
#define SINCE_SHIFT  (PAUSE_SHIFT + PAUSE_BITS)

#define MOST(bits) ((UINT64_C(1) << (bits)) - 1)

typedef struct parts {
    fpmp_health_state state;
    unsigned fails;
    unsigned streak;
    unsigned pause;
    uint64_t since;
} parts;

static uint64_t take(fpmp_health word, int shift, int bits)
{
    return (word >> shift) & MOST(bits);
}

static parts unpack(fpmp_health word)
{
    parts of = {.state = (fpmp_health_state)take(word, 0, STATE_BITS),
                .fails = (unsigned)take(word, FAILS_SHIFT, FAILS_BITS),
                .streak = (unsigned)take(word, STREAK_SHIFT, STREAK_BITS),
                .pause = (unsigned)take(word, PAUSE_SHIFT, PAUSE_BITS),
                .since = take(word, SINCE_SHIFT, SINCE_BITS)};
    return of;
}

static uint64_t give(uint64_t value, int shift, int bits)
{
    return (value < MOST(bits) ? value : MOST(bits)) << shift;
}

static fpmp_health pack(const parts *of)
{
    return give(of->state, 0, STATE_BITS) | give(of->fails, FAILS_SHIFT, FAILS_BITS) |
           give(of->streak, STREAK_SHIFT, STREAK_BITS) | give(of->pause, PAUSE_SHIFT, PAUSE_BITS) |
           give(of->since, SINCE_SHIFT, SINCE_BITS);
}

uint64_t fpmp_health_time(apr_time_t now)
{
    return (uint64_t)now / 1000;
}

fpmp_health_state fpmp_health_state_of(fpmp_health word)
{
    return unpack(word).state;
}

uint64_t fpmp_health_since(fpmp_health word)
{
    return unpack(word).since;
}

int fpmp_health_is_changing(fpmp_health word)
{
    return unpack(word).streak > 0;
}

static uint64_t pause_of(const parts *of, const fpmp_health_rules *rules)
{
    if (!of->pause) {
        return GONE_PAUSE;
    }
    uint64_t pause = (uint64_t)rules->first << (of->pause - 1);
    return pause < rules->most ? pause : rules->most;
}

static int may_try(const parts *of, const fpmp_health_rules *rules, uint64_t now)
{
    if (of->state == FPMP_HEALTH_UP || (rules->has_check && of->pause)) {
        return 0;
    }
    return now >= of->since + (of->state == FPMP_HEALTH_TRYING ? TRIAL_MOST : pause_of(of, rules));
}

int fpmp_health_may_try(fpmp_health word, const fpmp_health_rules *rules, uint64_t now)
{
    parts of = unpack(word);
    return may_try(&of, rules, now);
}

static fpmp_health_change rise(parts *of)
{
    int was_up = of->state == FPMP_HEALTH_UP;
    *of = (parts){.state = FPMP_HEALTH_UP};
    return was_up ? FPMP_HEALTH_SAME : FPMP_HEALTH_CAME_UP;
}

static fpmp_health_change fall(parts *of, int is_gone, uint64_t now)
{
    int was_up = of->state == FPMP_HEALTH_UP;
    of->pause = is_gone ? 0 : of->pause + (of->pause < MOST(PAUSE_BITS));
    of->state = FPMP_HEALTH_DOWN;
    of->since = now;
    of->streak = 0;
    return was_up ? FPMP_HEALTH_WENT_DOWN : FPMP_HEALTH_SAME;
}

static fpmp_health_change take_answer(parts *of, const fpmp_health_rules *rules, uint64_t began)
{
    if (of->state == FPMP_HEALTH_UP) {
        of->fails = 0;
        of->since = of->streak ? of->since : 0;
        return FPMP_HEALTH_SAME;
    }
    /* Where checks decide, one answer of a server whose checks fail says little. */
    int is_late = began < of->since;
    return is_late || (rules->has_check && of->pause) ? FPMP_HEALTH_SAME : rise(of);
}

static fpmp_health_change take_failure(parts *of, const fpmp_health_rules *rules, int is_gone,
                                       uint64_t began, uint64_t now)
{
    if (of->state == FPMP_HEALTH_UP) {
        of->fails++;
        of->since = now;
        return of->fails >= rules->fails ? fall(of, is_gone, now) : FPMP_HEALTH_SAME;
    }
    /* Requests that were under way when it went down say nothing new; one that was sent to it
     * because all are down does not make the pause longer. */
    if (began >= of->since) {
        if (of->state == FPMP_HEALTH_TRYING) {
            return fall(of, is_gone, now);
        }
        of->since = now;
    }
    return FPMP_HEALTH_SAME;
}

static fpmp_health_change take_check(parts *of, const fpmp_health_rules *rules, int is_good,
                                     uint64_t now)
{
    if (is_good == (of->state == FPMP_HEALTH_UP)) {
        of->streak = 0;
        return FPMP_HEALTH_SAME;
    }
    of->streak++;
    if (is_good) {
        return of->streak >= rules->rise ? rise(of) : FPMP_HEALTH_SAME;
    }
    return of->streak >= rules->fall ? fall(of, 0, now) : FPMP_HEALTH_SAME;
}

fpmp_health fpmp_health_next(fpmp_health before, fpmp_health_event event,
                             const fpmp_health_rules *rules, uint64_t began, uint64_t now,
                             fpmp_health_change *change)
{
    parts of = unpack(before);
    *change = FPMP_HEALTH_SAME;
    switch (event) {
    case FPMP_HEALTH_ANSWERED:
        *change = take_answer(&of, rules, began);
        break;
    case FPMP_HEALTH_FAILED:
    case FPMP_HEALTH_GONE:
        *change = take_failure(&of, rules, event == FPMP_HEALTH_GONE, began, now);
        break;
    case FPMP_HEALTH_LATE:
        if (of.state == FPMP_HEALTH_TRYING && began >= of.since) {
            *change = fall(&of, 0, now);
        }
        break;
    case FPMP_HEALTH_TRY:
        if (may_try(&of, rules, now)) {
            of.state = FPMP_HEALTH_TRYING;
            of.since = now;
            *change = FPMP_HEALTH_TRIED;
        }
        break;
    case FPMP_HEALTH_CHECK_GOOD:
    case FPMP_HEALTH_CHECK_BAD:
        *change = take_check(&of, rules, event == FPMP_HEALTH_CHECK_GOOD, now);
        break;
    }
    return pack(&of);
}

fpmp_health_change fpmp_health_report(_Atomic(uint64_t) *word, fpmp_health_event event,
                                      const fpmp_health_rules *rules, uint64_t began, uint64_t now)
{
    fpmp_health before = atomic_load(word);
    fpmp_health_change change = FPMP_HEALTH_SAME;
    fpmp_health after = 0;
    do {
        after = fpmp_health_next(before, event, rules, began, now, &change);
    } while (after != before && !atomic_compare_exchange_weak(word, &before, after));
    return change;
}
