/* fpmp_health.h - is a server used? One word for each (pool, server), and the only function that
 * changes it (specification: apache.md 2.1, 2.2; architecture.md 5).
 *
 * Live requests and checks report what they saw; busy is not dead: a full listen queue or an
 * OVERLOADED is never reported here. The word lies in shared memory and is replaced as a whole, so
 * that no process can leave it half changed. Needs APR only.
 */
#ifndef FPMP_HEALTH_H
#define FPMP_HEALTH_H

#include "fpmp_pool.h"

#include <stdatomic.h>
#include <stdint.h>

/* 0 is a server that is up and of which nothing bad is known. */
typedef uint64_t fpmp_health;

typedef enum fpmp_health_state {
    FPMP_HEALTH_UP,
    FPMP_HEALTH_DOWN,
    FPMP_HEALTH_TRYING /* half open: one request is on its way to it */
} fpmp_health_state;

typedef enum fpmp_health_event {
    FPMP_HEALTH_ANSWERED,   /* a request got an answer, whatever its status */
    FPMP_HEALTH_FAILED,     /* no connection, or what came was not FastCGI */
    FPMP_HEALTH_GONE,       /* its unix socket takes no connection, or ends it without taking a
                               request: looking again costs nothing */
    FPMP_HEALTH_LATE,       /* a request ran into its time limit: means something of a trial only */
    FPMP_HEALTH_MUTE,       /* so did one while the server answered nobody: counts double */
    FPMP_HEALTH_OFTEN,      /* too many of the requests of a window failed */
    FPMP_HEALTH_TRY,        /* a request wants to be the trial */
    FPMP_HEALTH_CHECK_GOOD, /* the first active check of its pool; see fpmp_health_checked */
    FPMP_HEALTH_CHECK_BAD
} fpmp_health_event;

/* The event of a check, by its place in fpmp_pool.checks. */
static inline fpmp_health_event fpmp_health_checked(int place, int is_good)
{
    int first = is_good ? FPMP_HEALTH_CHECK_GOOD : FPMP_HEALTH_CHECK_BAD;
    return (fpmp_health_event)(first + 2 * place);
}

typedef enum fpmp_health_change {
    FPMP_HEALTH_SAME,
    FPMP_HEALTH_WENT_DOWN,
    FPMP_HEALTH_CAME_UP,
    FPMP_HEALTH_TRIED /* answer to FPMP_HEALTH_TRY: this request is the trial */
} fpmp_health_change;

/* Milliseconds of fpmp_clock_now(), the unit of everything here. */
uint64_t fpmp_health_time(apr_time_t now);

fpmp_health_state fpmp_health_state_of(fpmp_health word);

/* When it failed last, or its trial began; 0: never. */
uint64_t fpmp_health_since(fpmp_health word);

/* Have some checks in a row of that place said otherwise than the state? */
int fpmp_health_is_changing(fpmp_health word, int place);

/* Is it down, and may a request be its trial now? */
int fpmp_health_may_try(fpmp_health word, const fpmp_health_rules *rules, uint64_t now);

/* Pure: what becomes of a word. `began`: when the request or check that is reported was begun; an
 * answer to one from before the failure brings nothing back. */
fpmp_health fpmp_health_next(fpmp_health before, fpmp_health_event event,
                             const fpmp_health_rules *rules, uint64_t began, uint64_t now,
                             fpmp_health_change *change);

/* The same on a shared word. Exactly one caller gets each change. */
fpmp_health_change fpmp_health_report(_Atomic(uint64_t) *word, fpmp_health_event event,
                                      const fpmp_health_rules *rules, uint64_t began, uint64_t now);

/* How many of the requests since the first failure of a window failed. It is replaced as a whole,
 * like the health; 0: none failed lately, then an answer costs one look at it. */
typedef uint64_t fpmp_health_window;

#define FPMP_HEALTH_RATE_LEAST 20 /* requests below which no rate is looked at */

/* Pure: one request has ended; `weight`: 0 if it was answered, else as what it counts. *is_often
 * becomes 1 if that is more than rules->rate percent; then counting begins anew. */
fpmp_health_window fpmp_health_count(fpmp_health_window before, unsigned weight,
                                     const fpmp_health_rules *rules, uint64_t now, int *is_often);

/* The same on a shared word. Exactly one caller gets each 1. */
int fpmp_health_note(_Atomic(uint64_t) *word, unsigned weight, const fpmp_health_rules *rules,
                     uint64_t now);

#endif
