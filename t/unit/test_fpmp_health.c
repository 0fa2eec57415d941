/* test_fpmp_health.c - when a server counts as down and as up again; each case is a story. */
#include "unit.h"

#include "fpmp_health.h"

#include <pthread.h>

#define ANS  FPMP_HEALTH_ANSWERED
#define BAD  FPMP_HEALTH_FAILED
#define GONE FPMP_HEALTH_GONE
#define LATE FPMP_HEALTH_LATE
#define MUTE FPMP_HEALTH_MUTE
#define OFTN FPMP_HEALTH_OFTEN
#define TRYS FPMP_HEALTH_TRY
#define GOOD FPMP_HEALTH_CHECK_GOOD
#define FAIL FPMP_HEALTH_CHECK_BAD
#define GOD2 (FPMP_HEALTH_CHECK_GOOD + 2) /* of the second check */
#define BAD2 (FPMP_HEALTH_CHECK_BAD + 2)

#define SAME  FPMP_HEALTH_SAME
#define DOWN  FPMP_HEALTH_WENT_DOWN
#define CAME  FPMP_HEALTH_CAME_UP
#define TRIED FPMP_HEALTH_TRIED

static const fpmp_health_rules live = {
    .fails = 3, .rate = 50, .window = 10000, .first = 1000, .most = 60000};
static const fpmp_health_rules checked = {
    .fails = 3, .check_count = 1, .rise = {2}, .fall = {3}, .first = 1000, .most = 60000};
static const fpmp_health_rules twice = {
    .fails = 3, .check_count = 2, .rise = {2, 1}, .fall = {3, 2}, .first = 1000, .most = 60000};

typedef struct step {
    fpmp_health_event event;
    uint64_t began, now;
    fpmp_health_change change;
} step;

static const struct {
    const char *what;
    const fpmp_health_rules *rules;
    step steps[12];
    int count;
} stories[] = {
    {"three failures in a row",
     &live,
     {{BAD, 1, 1, SAME}, {BAD, 2, 2, SAME}, {BAD, 3, 3, DOWN}},
     3},
    {"an answer between them",
     &live,
     {{BAD, 1, 1, SAME},
      {BAD, 2, 2, SAME},
      {ANS, 3, 3, SAME},
      {BAD, 4, 4, SAME},
      {BAD, 5, 5, SAME}},
     5},
    {"time limits of live requests mean nothing",
     &live,
     {{LATE, 1, 1, SAME}, {LATE, 2, 2, SAME}, {LATE, 3, 3, SAME}, {LATE, 4, 4, SAME}},
     4},
    {"a trial after a second, one only",
     &live,
     {{BAD, 1, 1, SAME},
      {BAD, 2, 2, SAME},
      {BAD, 3, 3, DOWN},
      {TRYS, 900, 900, SAME},
      {TRYS, 1003, 1003, TRIED},
      {TRYS, 1004, 1004, SAME},
      {ANS, 1003, 1010, CAME},
      {ANS, 1011, 1012, SAME}},
     8},
    {"an answer to a request from before brings nothing back",
     &live,
     {{BAD, 1, 1, SAME},
      {BAD, 2, 2, SAME},
      {BAD, 3, 3, DOWN},
      {ANS, 2, 50, SAME},
      {ANS, 40, 60, CAME}},
     5},
    {"the pause grows",
     &live,
     {{BAD, 1, 1, SAME},
      {BAD, 2, 2, SAME},
      {BAD, 3, 3, DOWN},
      {TRYS, 2000, 2000, TRIED},
      {BAD, 2000, 2001, SAME},
      {TRYS, 3900, 3900, SAME},
      {TRYS, 4001, 4001, TRIED},
      {BAD, 4001, 4002, SAME},
      {TRYS, 8000, 8000, SAME},
      {TRYS, 8002, 8002, TRIED}},
     10},
    {"a trial that nobody reports",
     &live,
     {{BAD, 1, 1, SAME},
      {BAD, 2, 2, SAME},
      {BAD, 3, 3, DOWN},
      {TRYS, 2000, 2000, TRIED},
      {TRYS, 11000, 11000, SAME},
      {TRYS, 12000, 12000, TRIED}},
     6},
    {"a trial that runs into its time limit",
     &live,
     {{BAD, 1, 1, SAME},
      {BAD, 2, 2, SAME},
      {BAD, 3, 3, DOWN},
      {TRYS, 2000, 2000, TRIED},
      {LATE, 2000, 3000, SAME},
      {TRYS, 4000, 4000, SAME},
      {TRYS, 5000, 5000, TRIED}},
     7},
    {"a socket without a listener is looked at again soon, always",
     &live,
     {{GONE, 1, 1, SAME},
      {GONE, 2, 2, SAME},
      {GONE, 3, 3, DOWN},
      {TRYS, 60, 60, TRIED},
      {GONE, 60, 61, SAME},
      {TRYS, 100, 100, SAME},
      {TRYS, 112, 112, TRIED},
      {ANS, 112, 113, CAME}},
     8},
    {"... also where checks decide",
     &checked,
     {{GONE, 1, 1, SAME},
      {GONE, 2, 2, SAME},
      {GONE, 3, 3, DOWN},
      {TRYS, 60, 60, TRIED},
      {ANS, 60, 61, CAME}},
     5},
    {"checks take it out and bring it back",
     &checked,
     {{FAIL, 1, 1, SAME},
      {FAIL, 2, 2, SAME},
      {GOOD, 3, 3, SAME},
      {FAIL, 4, 4, SAME},
      {FAIL, 5, 5, SAME},
      {FAIL, 6, 6, DOWN},
      {ANS, 7, 8, SAME},
      {TRYS, 9000, 9000, SAME},
      {GOOD, 9001, 9001, SAME},
      {FAIL, 9002, 9002, SAME},
      {GOOD, 9003, 9003, SAME},
      {GOOD, 9004, 9004, CAME}},
     12},
    {"live failures take it out, checks bring it back",
     &checked,
     {{BAD, 1, 1, SAME},
      {BAD, 2, 2, SAME},
      {BAD, 3, 3, DOWN},
      {TRYS, 5000, 5000, SAME},
      {GOOD, 5001, 5001, SAME},
      {GOOD, 5002, 5002, CAME}},
     6},
    {"answers do not hide failing checks",
     &checked,
     {{FAIL, 1, 1, SAME},
      {ANS, 1, 1, SAME},
      {FAIL, 2, 2, SAME},
      {ANS, 2, 2, SAME},
      {FAIL, 3, 3, DOWN}},
     5},
    {"time limits of a server that answers nobody count double",
     &live,
     {{MUTE, 1, 1, SAME}, {MUTE, 2, 2, DOWN}},
     2},
    {"... with other failures", &live, {{MUTE, 1, 1, SAME}, {BAD, 2, 2, DOWN}}, 2},
    {"... but not behind an answer",
     &live,
     {{MUTE, 1, 1, SAME}, {ANS, 2, 2, SAME}, {MUTE, 3, 3, SAME}},
     3},
    {"... and not where checks say that it is only busy",
     &checked,
     {{MUTE, 1, 1, SAME}, {MUTE, 2, 2, SAME}, {MUTE, 3, 3, SAME}, {BAD, 4, 4, SAME}},
     4},
    {"a trial that nobody answers",
     &live,
     {{OFTN, 1, 1, DOWN},
      {TRYS, 1002, 1002, TRIED},
      {MUTE, 1002, 1500, SAME},
      {TRYS, 2600, 2600, SAME},
      {TRYS, 3500, 3500, TRIED},
      {ANS, 3500, 3501, CAME}},
     6},
    {"too many failures of a window, whatever the last one was",
     &live,
     {{ANS, 1, 1, SAME}, {OFTN, 2, 2, DOWN}, {OFTN, 3, 3, SAME}, {TRYS, 900, 900, SAME}},
     4},
    {"a check that is good does not hide one that fails",
     &twice,
     {{GOOD, 1, 1, SAME},
      {BAD2, 2, 2, SAME},
      {GOOD, 3, 3, SAME},
      {GOOD, 4, 4, SAME},
      {BAD2, 5, 5, DOWN}},
     5},
    {"each counts for itself",
     &twice,
     {{FAIL, 1, 1, SAME},
      {BAD2, 2, 2, SAME},
      {FAIL, 3, 3, SAME},
      {GOD2, 4, 4, SAME},
      {FAIL, 5, 5, DOWN}},
     5},
    {"to come back all must be good, in any order",
     &twice,
     {{BAD2, 1, 1, SAME},
      {BAD2, 2, 2, DOWN},
      {GOOD, 3, 3, SAME},
      {GOOD, 4, 4, SAME},
      {GOOD, 5, 5, SAME},
      {BAD2, 6, 6, SAME},
      {GOD2, 7, 7, CAME}},
     7},
    {"... each of them in a row",
     &twice,
     {{BAD2, 1, 1, SAME},
      {BAD2, 2, 2, DOWN},
      {GOD2, 3, 3, SAME},
      {GOOD, 4, 4, SAME},
      {FAIL, 5, 5, SAME},
      {GOOD, 6, 6, SAME},
      {GOOD, 7, 7, CAME}},
     7},
    {"live failures: all checks bring it back",
     &twice,
     {{BAD, 1, 1, SAME},
      {BAD, 2, 2, SAME},
      {BAD, 3, 3, DOWN},
      {GOOD, 4, 4, SAME},
      {GOOD, 5, 5, SAME},
      {GOD2, 6, 6, CAME}},
     6},
};

START_TEST(test_story)
{
    fpmp_health word = 0;
    for (int i = 0; i < stories[_i].count; i++) {
        const step *at = &stories[_i].steps[i];
        fpmp_health_change change = FPMP_HEALTH_SAME;
        word = fpmp_health_next(word, at->event, stories[_i].rules, at->began, at->now, &change);
        ck_assert_msg(change == at->change, "%s: step %d: %d, not %d", stories[_i].what, i, change,
                      at->change);
    }
}
END_TEST

START_TEST(test_well_is_nothing)
{
    fpmp_health_change change = FPMP_HEALTH_SAME;
    fpmp_health word = fpmp_health_next(0, BAD, &live, 1, 1, &change);
    ck_assert(word != 0);
    ck_assert(fpmp_health_next(word, ANS, &live, 2, 2, &change) == 0);
    ck_assert_int_eq(fpmp_health_state_of(0), FPMP_HEALTH_UP);
}
END_TEST

START_TEST(test_longest_pause)
{
    fpmp_health_change change = FPMP_HEALTH_SAME;
    fpmp_health word = 0;
    uint64_t now = 0;
    for (int i = 0; i < 3; i++) {
        word = fpmp_health_next(word, BAD, &live, now, now, &change);
    }
    for (int i = 0; i < 100; i++) {
        now += 61000;
        ck_assert(fpmp_health_may_try(word, &live, now));
        word = fpmp_health_next(word, TRYS, &live, now, now, &change);
        ck_assert_int_eq(fpmp_health_state_of(word), FPMP_HEALTH_TRYING);
        word = fpmp_health_next(word, BAD, &live, now, now, &change);
        ck_assert_int_eq(fpmp_health_state_of(word), FPMP_HEALTH_DOWN);
    }
    ck_assert(!fpmp_health_may_try(word, &live, now + 59000));
    ck_assert(fpmp_health_may_try(word, &live, now + 60000));
}
END_TEST

/* ---- many at once ---------------------------------------------------------------------------- */

static _Atomic(uint64_t) shared;
static _Atomic(int) downs;

static void *fail_often(void *unused)
{
    for (uint64_t i = 0; i < 20000; i++) {
        if (fpmp_health_report(&shared, BAD, &live, 5, 5) == FPMP_HEALTH_WENT_DOWN) {
            atomic_fetch_add(&downs, 1);
        }
    }
    return unused;
}

START_TEST(test_one_sees_the_change)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fail_often, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(atomic_load(&downs), 1);
}
END_TEST

/* The next check comes sooner only for the kind that changes. */
START_TEST(test_changing)
{
    fpmp_health_change change = FPMP_HEALTH_SAME;
    fpmp_health word = fpmp_health_next(0, BAD2, &twice, 1, 1, &change);
    ck_assert(!fpmp_health_is_changing(word, 0));
    ck_assert(fpmp_health_is_changing(word, 1));
    word = fpmp_health_next(word, GOD2, &twice, 2, 2, &change);
    ck_assert(word == 0);
    ck_assert_int_eq(fpmp_health_checked(0, 1), GOOD);
    ck_assert_int_eq(fpmp_health_checked(1, 0), BAD2);
    uint64_t late = UINT64_C(1) << 39; /* 17 years of uptime */
    for (int i = 0; i < 3; i++) {
        word = fpmp_health_next(word, BAD, &twice, late, late, &change);
    }
    ck_assert(fpmp_health_since(word) == late);
}
END_TEST

/* "." is an answer, "x" a failure, "X" one that counts double, "-" a second without requests, "!" a
 * failure that is one too many. A digit: as often what stands behind it. */
static const char *const windows[] = {
    "....................",
    "xxxxxxxxxxxxxxxxxxx!",
    "x9.x8.x",               /* 3 of 20 */
    "x.x.x.x.x.x.x.x.x.x.!", /* more than half, only behind 20 */
    "xx.x.x.x.x.x.x.x.x.!",
    "x9x--------9.9.9.9x",    /* not more than half of all of them */
    "9x9x---------------9xx", /* the window is over */
    "9x9x---------x!",        /* it is not */
    "XX.X.XX..X.X......X.",   /* 9 of 20, double */
    "XX.X.XX..X.X.X....X.",   /* 9 */
    "XXXXX..........X.X.!.",
    "xxxxxxxxxxxxxxxxxxx!xxxxxxxxxxxxxxxxxxx!", /* then it begins anew */
};

START_TEST(test_window)
{
    fpmp_health_window word = 0;
    uint64_t now = 5000;
    for (const char *at = windows[_i]; *at; at++) {
        int times = *at >= '2' && *at <= '9' ? *at++ - '0' : 1;
        for (int i = 0; i < times; i++) {
            int is_often = 0;
            now += *at == '-' ? 1000 : 1;
            if (*at != '-') {
                word = fpmp_health_count(word,
                                         *at == '.'   ? 0
                                         : *at == 'X' ? 2
                                                      : 1,
                                         &live, now, &is_often);
            }
            ck_assert_msg(is_often == (*at == '!'), "%s at %d", windows[_i],
                          (int)(at - windows[_i]));
        }
    }
}
END_TEST

START_TEST(test_window_is_cheap_and_bounded)
{
    static const fpmp_health_rules never = {.fails = 3, .rate = 0, .window = 10000};
    static const fpmp_health_rules rarely = {.fails = 3, .rate = 99, .window = 86400000};
    int is_often = 0;
    ck_assert(fpmp_health_count(0, 0, &live, 1, &is_often) == 0);
    ck_assert(fpmp_health_count(0, 1, &never, 1, &is_often) == 0);
    fpmp_health_window word = 0;
    for (uint64_t i = 0; i < 100000; i++) { /* the share stays what it is */
        word = fpmp_health_count(word, i % 4 ? 1 : 0, &rarely, 1000 + i, &is_often);
        ck_assert(!is_often);
    }
    for (uint64_t i = 0; !is_often && i < 100000; i++) {
        word = fpmp_health_count(word, 2, &rarely, 101000 + i, &is_often);
    }
    ck_assert(is_often);
}
END_TEST

static Suite *health_suite(void)
{
    Suite *suite = suite_create("fpmp_health");
    TCase *cases = tcase_create("health");
    tcase_add_loop_test(cases, test_story, 0, (int)(sizeof(stories) / sizeof(stories[0])));
    tcase_add_test(cases, test_well_is_nothing);
    tcase_add_test(cases, test_longest_pause);
    tcase_add_test(cases, test_one_sees_the_change);
    tcase_add_test(cases, test_changing);
    tcase_add_loop_test(cases, test_window, 0, (int)(sizeof(windows) / sizeof(windows[0])));
    tcase_add_test(cases, test_window_is_cheap_and_bounded);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(health_suite)
