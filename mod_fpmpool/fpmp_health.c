/* fpmp_health.c - is a server used? The states of a server and what moves them.
 *
 * Runs in every thread of every httpd child. Pure but for the compare-and-swap at the end; must not
 * log, do I/O or know requests.
 */
#include "fpmp_health.h"

#include <string.h>

#define TRIAL_MOST 10000 /* ms after which a trial that nobody reported counts as lost */
#define GONE_PAUSE 50    /* ms between two looks at a unix socket without a listener */

/* The word: bits of its parts, from the lowest. `pause` is 0 for a server that is GONE, or counts
 * the pauses so far; `streak`: checks in a row that say otherwise than the state. */
#define STATE_BITS  2
#define FAILS_BITS  6
#define STREAK_BITS 6 /* of each check */
#define PAUSE_BITS  4
#define SINCE_BITS  40 /* 34 years of milliseconds */

#define FAILS_SHIFT  STATE_BITS
#define STREAK_SHIFT (FAILS_SHIFT + FAILS_BITS)
#define PAUSE_SHIFT  (STREAK_SHIFT + FPMP_CHECKS_MAX * STREAK_BITS)
#define SINCE_SHIFT  (PAUSE_SHIFT + PAUSE_BITS)

#define MOST(bits) ((UINT64_C(1) << (bits)) - 1)

typedef struct parts {
    fpmp_health_state state;
    unsigned fails;
    unsigned streak[FPMP_CHECKS_MAX];
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
                .pause = (unsigned)take(word, PAUSE_SHIFT, PAUSE_BITS),
                .since = take(word, SINCE_SHIFT, SINCE_BITS)};
    for (int i = 0; i < FPMP_CHECKS_MAX; i++) {
        of.streak[i] = (unsigned)take(word, STREAK_SHIFT + i * STREAK_BITS, STREAK_BITS);
    }
    return of;
}

static uint64_t give(uint64_t value, int shift, int bits)
{
    return (value < MOST(bits) ? value : MOST(bits)) << shift;
}

static fpmp_health pack(const parts *of)
{
    fpmp_health word = give(of->state, 0, STATE_BITS) | give(of->fails, FAILS_SHIFT, FAILS_BITS) |
                       give(of->pause, PAUSE_SHIFT, PAUSE_BITS) |
                       give(of->since, SINCE_SHIFT, SINCE_BITS);
    for (int i = 0; i < FPMP_CHECKS_MAX; i++) {
        word |= give(of->streak[i], STREAK_SHIFT + i * STREAK_BITS, STREAK_BITS);
    }
    return word;
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

int fpmp_health_is_changing(fpmp_health word, int place)
{
    return unpack(word).streak[place] > 0;
}

static void end_streaks(parts *of)
{
    memset(of->streak, 0, sizeof(of->streak));
}

static int has_streak(const parts *of)
{
    unsigned sum = 0;
    for (int i = 0; i < FPMP_CHECKS_MAX; i++) {
        sum += of->streak[i];
    }
    return sum > 0;
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
    if (of->state == FPMP_HEALTH_UP || (rules->check_count && of->pause)) {
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
    end_streaks(of);
    return was_up ? FPMP_HEALTH_WENT_DOWN : FPMP_HEALTH_SAME;
}

static fpmp_health_change take_answer(parts *of, const fpmp_health_rules *rules, uint64_t began)
{
    if (of->state == FPMP_HEALTH_UP) {
        of->fails = 0;
        of->since = has_streak(of) ? of->since : 0;
        return FPMP_HEALTH_SAME;
    }
    /* Where checks decide, one answer of a server whose checks fail says little. */
    int is_late = began < of->since;
    return is_late || (rules->check_count && of->pause) ? FPMP_HEALTH_SAME : rise(of);
}

static fpmp_health_change take_failure(parts *of, const fpmp_health_rules *rules, int is_gone,
                                       unsigned weight, uint64_t began, uint64_t now)
{
    if (of->state == FPMP_HEALTH_UP) {
        of->fails += weight;
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

static int have_all_risen(const parts *of, const fpmp_health_rules *rules)
{
    for (int i = 0; i < rules->check_count; i++) {
        if (of->streak[i] < rules->rise[i]) {
            return 0;
        }
    }
    return 1;
}

/* One kind of check that fails takes it out; to come back it needs all of them. */
static fpmp_health_change take_check(parts *of, const fpmp_health_rules *rules, int place,
                                     int is_good, uint64_t now)
{
    if (is_good == (of->state == FPMP_HEALTH_UP)) {
        of->streak[place] = 0;
        return FPMP_HEALTH_SAME;
    }
    of->streak[place] += of->streak[place] < MOST(STREAK_BITS);
    if (is_good) {
        return have_all_risen(of, rules) ? rise(of) : FPMP_HEALTH_SAME;
    }
    return of->streak[place] >= rules->fall[place] ? fall(of, 0, now) : FPMP_HEALTH_SAME;
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
        *change = take_failure(&of, rules, event == FPMP_HEALTH_GONE, 1, began, now);
        break;
    case FPMP_HEALTH_MUTE:
        /* Where there are checks they know better whether it is busy or dead. */
        if (of.state == FPMP_HEALTH_UP) {
            *change =
                rules->check_count ? FPMP_HEALTH_SAME : take_failure(&of, rules, 0, 2, began, now);
            break;
        }
        /* fall through */
    case FPMP_HEALTH_LATE:
        if (of.state == FPMP_HEALTH_TRYING && began >= of.since) {
            *change = fall(&of, 0, now);
        }
        break;
    case FPMP_HEALTH_OFTEN:
        *change = of.state == FPMP_HEALTH_UP ? fall(&of, 0, now) : FPMP_HEALTH_SAME;
        break;
    case FPMP_HEALTH_TRY:
        if (may_try(&of, rules, now)) {
            of.state = FPMP_HEALTH_TRYING;
            of.since = now;
            *change = FPMP_HEALTH_TRIED;
        }
        break;
    default: {
        int check = (int)event - FPMP_HEALTH_CHECK_GOOD;
        *change = take_check(&of, rules, check / 2, !(check % 2), now);
        break;
    }
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

/* ---- the window ------------------------------------------------------------------------------ */

/* The word: when it began, requests, failures by their weights. */
#define COUNT_BITS  12
#define BEGAN_SHIFT (2 * COUNT_BITS)

static fpmp_health_window join(uint64_t began, uint64_t requests, uint64_t failures)
{
    if (requests == MOST(COUNT_BITS) || failures >= MOST(COUNT_BITS) - 1) {
        requests /= 2;
        failures /= 2;
    }
    return began << BEGAN_SHIFT | requests << COUNT_BITS | failures;
}

fpmp_health_window fpmp_health_count(fpmp_health_window before, unsigned weight,
                                     const fpmp_health_rules *rules, uint64_t now, int *is_often)
{
    uint64_t began = before >> BEGAN_SHIFT;
    uint64_t requests = (before >> COUNT_BITS) & MOST(COUNT_BITS);
    uint64_t failures = before & MOST(COUNT_BITS);
    *is_often = 0;
    if (!before || now >= began + rules->window) {
        return weight && rules->rate ? join(now & MOST(SINCE_BITS), 1, weight) : 0;
    }
    requests++;
    failures += weight;
    *is_often =
        weight && requests >= FPMP_HEALTH_RATE_LEAST && failures * 100 > requests * rules->rate;
    return *is_often ? 0 : join(began, requests, failures);
}

int fpmp_health_note(_Atomic(uint64_t) *word, unsigned weight, const fpmp_health_rules *rules,
                     uint64_t now)
{
    fpmp_health_window before = atomic_load_explicit(word, memory_order_relaxed);
    int is_often = 0;
    while (before || weight) {
        fpmp_health_window after = fpmp_health_count(before, weight, rules, now, &is_often);
        if (after == before || atomic_compare_exchange_weak(word, &before, after)) {
            return is_often;
        }
    }
    return 0;
}
